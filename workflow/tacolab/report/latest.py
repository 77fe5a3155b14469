"""The link `report/latest`."""

from pathlib import Path

from tacolab import atomic
from tacolab.errors import UserError


def link(folder: Path) -> None:
    """Points it at this report, its neighbour, at one stroke. Raises UserError: it is no link."""
    latest = folder.with_name("latest")
    if latest.exists() and not latest.is_symlink():
        raise UserError(f"{latest} is no link; move it away, the newest report is linked there")
    temporary = atomic.temporary(latest)
    temporary.symlink_to(folder.name, target_is_directory=True)
    temporary.replace(latest)
