"""segments.jsonl: when, where and under which code a training ran, from one start to the next.

For people, the guard against endless restarts, and `tacolab status`; nothing that is trained
depends on it.
"""

import json
import logging
import os
import socket
import time
from itertools import groupby
from pathlib import Path
from typing import Any

from tacolab.errors import StageError
from tacolab.files import json_lines
from tacolab.files.process import slurm_job
from tacolab.plan import snapshots

log = logging.getLogger(__name__)


class SegmentLog:
    """A line when a segment starts, a line when it ends in order; a kill leaves the first alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._generation = self._first = 0
        self.saved = 0  # step of the newest checkpoint
        self.steps = 0  # of the whole training

    def start(self, generation: int, step: int, steps: int) -> None:
        """`step`: of the checkpoint from which this segment goes on to `steps`."""
        self._generation, self._first, self.saved, self.steps = generation, step, step, steps
        code, before = snapshots.code(), self.codes()
        if before and before[-1] != code:
            log.warning("goes on under other code (%s) than before (%s)", code, before[-1])
        self._add("start", steps=steps, code=code, host=socket.gethostname(), pid=os.getpid())

    @property
    def gained(self) -> int:
        """Steps that this segment has brought into a checkpoint."""
        return self.saved - self._first

    def end(self, why: str, cancelled: bool = False, failed: bool = False) -> None:
        """cancelled: by a person, so that no retry may revive it. failed: by an error."""
        log.info("segment ends, saved at step %d of %d: %s", self.saved, self.steps, why)
        try:
            self._add("end", gained=self.gained, why=why, cancelled=cancelled, failed=failed)
        except OSError as error:  # a full disk; the checkpoint is there, the job may go on
            log.warning("%s: could not be written: %s", self.path, error)

    def check_retry(self) -> None:
        """Raises StageError where an automatic retry could only harm."""
        lines = self.lines()
        if not lines or lines[-1]["event"] != "end" or lines[-1]["job"] == slurm_job():
            return
        end = lines[-1]
        if end["cancelled"]:
            # One that waited for the folder has no step of its own.
            step = max(line["step"] for line in lines)
            raise StageError(
                f"{self.path.parent}: job {end['job']} was cancelled at step {step}, and "
                "saved; a retry does not revive it. Start the workflow again to go on"
            )
        if end["gained"] == 0:
            raise StageError(
                f"{self.path.parent}: the last segment gained no step ({end['why']}), so a retry "
                "would not either. Mend that, then start the workflow again to go on"
            )

    def codes(self) -> list[str]:
        """The codes that have run, as of plan/snapshots.py, one after the other."""
        starts = (line for line in self.lines() if line["event"] == "start" and "code" in line)
        return [code for code, _ in groupby(line["code"] for line in starts)]

    def count(self) -> int:
        return sum(line["event"] == "start" for line in self.lines())

    def lines(self) -> list[dict[str, Any]]:
        """All lines; one torn by a kill is left out."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            return [line.content for line in json_lines.read(file) if line.content]

    def _add(self, event: str, **more: Any) -> None:
        line = {
            "event": event,
            "generation": self._generation,
            "job": slurm_job(),
            "step": self.saved,
            "time": round(time.time()),
            **more,
        }
        with self.path.open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read() != b"\n":  # torn by a full disk; this line is not to end like it
                    file.write(b"\n")
            file.write(json.dumps(line).encode() + b"\n")
