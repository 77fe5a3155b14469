"""The link `report/latest`."""

import os
from pathlib import Path

from tacolab.errors import UserError


def link(folder: Path) -> None:
    """Points it at this report, its neighbour, at one stroke. Raises UserError: it is no link."""
    latest = folder.with_name("latest")
    if latest.exists() and not latest.is_symlink():
        raise UserError(f"{latest} is no link; move it away, the newest report is linked there")
    temporary = latest.with_name(f".{os.getpid()}.tmp.{latest.name}")
    temporary.symlink_to(folder.name, target_is_directory=True)
    temporary.replace(latest)
