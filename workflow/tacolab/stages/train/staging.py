"""The packed data on the node's own disk: a shared file system is slow when many jobs read it."""

import fcntl
import logging
import os
import shutil
from pathlib import Path

from tacolab.config import expand

log = logging.getLogger(__name__)

_RESERVE = 2**30  # bytes left free for others on the node


def staged(folder: Path, disk: str) -> Path:
    """A copy of `folder` on `disk` (a folder, also `$TMPDIR` or `~/x`), made now or by another job.

    Where it does not fit, or cannot be written, `folder` itself with a warning: slower, not worse.
    """
    try:
        root = Path(expand(disk))
    except ValueError as error:
        log.warning("no copy on a disk of this node (%s); reading from %s", error, folder)
        return folder
    # The last part of the path is the data's key, so a copy is never one of other data.
    copy = root / f"tacolab-{os.getuid()}-{folder.parent.name}-{folder.name}"
    files = _sizes(folder)
    size = sum(files.values())
    try:
        # A local disk, so a lock is reliable: jobs and ranks of one node copy once. It goes with
        # its process, so what a killed one has left is known to be nobody's.
        with copy.with_name(copy.name + ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if copy.is_dir() and copy.stat().st_uid == os.getuid() and _sizes(copy) == files:
                return copy
            # Not by `atomic.workspace`: under the lock one name is enough.
            partial = copy.with_name(copy.name + ".partial")
            for old in (copy, partial):  # interrupted, or thinned out by who cleans the disk
                if old.exists():
                    shutil.rmtree(old)
            free = shutil.disk_usage(root).free
            if size + _RESERVE > free:
                log.warning(
                    "%s: %.1f GiB do not fit there (%.1f GiB free); reading from %s",
                    root, size / 2**30, free / 2**30, folder,
                )  # fmt: skip
                return folder
            log.info("copying %s (%.1f GiB) to %s", folder, size / 2**30, root)
            try:
                shutil.copytree(folder, partial)
            except OSError:
                shutil.rmtree(partial, ignore_errors=True)
                raise
            partial.rename(copy)
    except OSError as error:
        log.warning("%s: no copy there (%s); reading from %s", root, error, folder)
        return folder
    return copy


def _sizes(folder: Path) -> dict[Path, int]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder): path.stat().st_size for path in files}
