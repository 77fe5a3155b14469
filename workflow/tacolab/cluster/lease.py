"""One writer per folder, on any file system, without comparing clocks.

A lease is a file `lease-{generation}.json`, created with O_EXCL, so that each generation has one
owner. The holder touches it as a sign of life; a reader only watches *whether* it changes, on its
own clock. The highest generation owns the folder. A holder that was taken for dead and wakes up
finds a higher one and leaves; what it may still write carries its lower generation in the name.

What a newcomer does is written in one table, `_ACTIONS`.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from tacolab.cluster import slurm
from tacolab.files import atomic, process
from tacolab.files.process import slurm_job

log = logging.getLogger(__name__)

SECONDS = 120.0  # without a sign of life: longer than NFS hides a change from its clients
_NAME = re.compile(r"lease-(\d{6})\.json")
_REPLACED = (errno.ENOENT, errno.ESTALE)  # by another process, since the folder was listed

Life = Literal["seen", "unknown", "gone"]
Action = Literal["take", "ask", "wait", "leave"]
# What a newcomer does: by how the holder is that it finds, and by whose the folder is to be. A
# folder without a holder is taken.
#
# take: the next generation. ask: the holder for a hand-over, and wait. leave: raise NotOurs.
#
# mine: the newcomer may ask for the folder. newer job: the holder is a SLURM job of a higher id,
# to which the folder belongs, so that jobs of several heads do not take it from each other for
# ever. if free: the newcomer asks nobody.
#
# gone: the holder released it, is dead, or was silent too long. queued: it is gone, but SLURM will
# start its newer job again. seen: it gave a sign of life. unknown: it gave none yet.
_ACTIONS: dict[str, dict[str, Action]] = {
    "gone": {"mine": "take", "newer job": "take", "if free": "take"},
    "queued": {"newer job": "leave"},
    "seen": {"mine": "ask", "newer job": "leave", "if free": "leave"},
    "unknown": {"mine": "ask", "newer job": "wait", "if free": "wait"},
}


class NotOurs(Exception):  # noqa: N818 - nothing is wrong: another process does this work
    """The folder belongs to another process; the message says to which."""


@dataclass(frozen=True)
class Holder:
    """Who holds a generation. In one boot and PID namespace pid and start name a process."""

    generation: int
    host: str
    boot: str
    pid: int
    start: str
    job: int | None = None
    released: bool = False

    @classmethod
    def me(cls, generation: int) -> Holder:
        pid, host = os.getpid(), socket.gethostname()
        return cls(generation, host, process.boot(), pid, process.start(pid), slurm_job())

    def __str__(self) -> str:
        job = f"SLURM job {self.job}, " if self.job else ""
        return f"{job}process {self.pid} on {self.host}"


class Lease:
    """A held lease; a thread shows signs of life and looks for what others want."""

    def __init__(
        self, folder: Path, me: Holder, seconds: float, on_loss: Callable[[], object] | None
    ) -> None:
        self.folder, self.me, self._seconds, self._on_loss = folder, me, seconds, on_loss
        self.asked: str | None = None  # who wants the folder, once somebody does
        self.lost = False
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True, name="lease")
        self._thread.start()

    @property
    def generation(self) -> int:
        return self.me.generation

    def check(self) -> None:
        """Raises NotOurs when another process has taken the folder; ask before writing."""
        owner = newest(self.folder)
        if owner and owner.generation > self.generation:
            self.lost = True
            raise NotOurs(f"{self.folder}: was taken over by {owner}; nothing more is written here")

    def release(self) -> None:
        """Let the next one in at once. Does nothing after a takeover or a second time."""
        self._done.set()
        self._thread.join()
        if not self.lost:
            path = _path(self.folder, self.generation)
            try:
                atomic.write_json(path, asdict(self.me) | {"released": True})
            except OSError as error:  # a full disk; others will see that this process is gone
                log.warning("%s: could not be released: %s", path, error)

    def _live(self) -> None:
        path, request = _path(self.folder, self.generation), _request(self.folder, self.generation)
        while not self._done.wait(self._seconds / 12):
            try:
                owner = newest(self.folder)
                self.lost = owner is not None and owner.generation > self.generation
                if self.lost:
                    if self._on_loss:
                        self._on_loss()
                    return
                os.utime(path)
                if request.exists():
                    self.asked = request.read_text(encoding="utf-8") or "a newcomer"
            except OSError as error:
                log.warning("%s: no sign of life could be given: %s", path, error)


def acquire(
    folder: Path,
    seconds: float = SECONDS,
    ask: bool = True,
    give_up: Callable[[], object] | None = None,
    on_loss: Callable[[], object] | None = None,
) -> Lease | None:
    """Own `folder`, after waiting for a hand-over if need be; None once `give_up()` is true.

    ask: for a hand-over; else whoever comes when the holder has gone may have the folder. on_loss:
    called (in a thread) when another process has taken over. Raises NotOurs when the folder belongs
    to a newer SLURM job, and with `ask` false when its holder lives.
    """
    folder.mkdir(parents=True, exist_ok=True)
    watch = Watch(seconds)
    warned = 0  # generation
    while True:
        owner = newest(folder)
        me = Holder.me(owner.generation + 1 if owner else 1)
        action: Action = "take"
        if owner:
            whose = _whose(owner, me, ask)
            found: str = watch.life(folder, owner, me)
            if found == "gone" and whose == "newer job" and _in_queue(owner):
                found = "queued"
            action = _ACTIONS[found][whose]

        if owner is None or action == "take":
            try:
                _write(_path(folder, me.generation), me)
            except FileExistsError:
                continue  # another newcomer was faster
            _forget(folder, me.generation)
            return Lease(folder, me, seconds, on_loss)
        if action == "leave":
            how = "a newer job that is in the queue" if found == "queued" else "which lives"
            raise NotOurs(f"{folder}: belongs to {owner}, {how}")

        request = _request(folder, owner.generation)
        if give_up and give_up():
            # Nobody is to leave for one who has gone; whoever else waits asks again.
            request.unlink(missing_ok=True)
            return None
        if found == "unknown" and warned != owner.generation:
            warned = owner.generation
            log.warning(
                "%s: %s may still work there; waiting at most %.0f s for a sign of life",
                folder, owner, seconds,
            )  # fmt: skip
        # A lease without a name is being written this instant: by a newer job, perhaps.
        if action == "ask" and owner.pid and not request.exists():
            request.write_text(str(me), encoding="utf-8")
            log.info("%s: %s works there; asked it to save and leave", folder, owner)
        time.sleep(min(1.0, seconds / 24))


def _whose(owner: Holder, me: Holder, ask: bool) -> str:
    """To whom the folder is to belong: a column of `_ACTIONS`."""
    if not ask:
        return "if free"
    return "newer job" if (owner.job or 0) > (me.job or 0) else "mine"


def _in_queue(owner: Holder) -> bool:
    """Whether SLURM has the holder's job, and will let it ask for the folder."""
    return slurm.state(owner.job or 0) not in (None, "GONE")


def newest(folder: Path) -> Holder | None:
    """The holder of the highest generation, living or not; None in an untouched folder."""
    while generations := _generations(folder):
        generation = max(generations)
        try:
            return Holder(**json.loads(_path(folder, generation).read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            # Created this instant, or its writer died before the last byte.
            return Holder(generation, "?", "", 0, "")
        except OSError as error:
            if error.errno not in _REPLACED:
                raise
            # Look again, for a newer one is there: the folder is not untouched.
            time.sleep(0.1)
    return None


class Watch:
    """Whether a holder lives, as one reader sees it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._first = self._last = (0, 0)  # generation, time stamp: compared for change only
        self._since = self._asked_slurm = -float("inf")

    def life(self, folder: Path, holder: Holder, me: Holder) -> Life:
        """seen: it gave a sign since the first look; gone: known to be dead, or silent too long."""
        if holder.released or (
            holder.boot == me.boot and process.start(holder.pid) != holder.start
        ):
            return "gone"
        now = time.monotonic()
        if holder.job and holder.job != me.job and now - self._asked_slurm > 10:
            self._asked_slurm = now
            if slurm.state(holder.job) not in {None, *slurm.RUNNING}:
                return "gone"
        try:
            sign = (holder.generation, _path(folder, holder.generation).stat().st_mtime_ns)
        except OSError as error:
            if error.errno not in _REPLACED:
                raise
            return "unknown"
        if sign[0] != self._first[0]:
            self._first = sign
        if sign != self._last:
            self._last, self._since = sign, now
        if now - self._since > self._seconds:
            return "gone"
        return "seen" if sign != self._first else "unknown"


def _generations(folder: Path) -> list[int]:
    matches = (_NAME.fullmatch(path.name) for path in folder.glob("lease-*.json"))
    return [int(match[1]) for match in matches if match]


def _path(folder: Path, generation: int) -> Path:
    return folder / f"lease-{generation:06d}.json"


def _request(folder: Path, generation: int) -> Path:
    """A newcomer's wish, addressed to one generation."""
    return folder / f"handover-{generation:06d}"


def _write(path: Path, holder: Holder) -> None:
    """Raises FileExistsError when somebody else was faster, OSError with nothing left behind."""
    with path.open("x", encoding="utf-8") as file:
        try:
            json.dump(asdict(holder), file)
            file.flush()
        except OSError:  # a full disk; without a name others would have to wait for its death
            path.unlink(missing_ok=True)
            raise


def _forget(folder: Path, generation: int) -> None:
    for old in _generations(folder):
        if old < generation:
            _request(folder, old).unlink(missing_ok=True)
            _path(folder, old).unlink(missing_ok=True)
            atomic.clear(_path(folder, old))  # of a holder that was killed when it let go
