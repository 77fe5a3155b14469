"""Rows of work already done, appended one by one, so that a killed run goes on at the next."""

import json
import logging
import os
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


class Ledger:
    """An append-only file of JSON rows; a last line torn by a kill is dropped."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.rows: list[dict[str, Any]] = []
        whole = 0
        if path.exists():
            with path.open("rb") as file:
                for line in file:
                    if not line.endswith(b"\n"):  # else the next row would go on in this line
                        break
                    try:
                        self.rows.append(json.loads(line))
                    except ValueError:
                        break
                    whole += len(line)
        self._file = path.open("ab")
        self._file.truncate(whole)
        if self.rows:
            log.info("%s: %d rows are already there", path, len(self.rows))

    def add(self, *rows: dict[str, Any]) -> None:
        """The disk holds the rows when this returns."""
        lines = [json.dumps(row, allow_nan=False).encode() + b"\n" for row in rows]
        self._file.write(b"".join(lines))
        self._file.flush()
        os.fsync(self._file.fileno())
        self.rows += rows

    def close(self) -> None:
        self._file.close()

    def remove(self) -> None:
        """Before anything that the rows speak of is removed: a kill in between starts anew."""
        self._file.close()
        self.path.unlink(missing_ok=True)
