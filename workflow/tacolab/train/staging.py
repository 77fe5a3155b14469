"""The packed data on the node's own disk: a shared file system is slow when many jobs read it."""

import logging
import os
import shutil
import tempfile
from pathlib import Path

log = logging.getLogger(__name__)

_RESERVE = 2**30  # bytes left free for others on the node


def staged(folder: Path, disk: str) -> Path:
    """A copy of `folder` on `disk` (a folder; `$TMPDIR` is expanded), made now or by another job.

    Where it does not fit, or cannot be written, `folder` itself with a warning: slower, not worse.
    """
    root = Path(os.path.expandvars(disk))
    # The last part of the path is the data's key, so a copy is never one of other data.
    copy = root / f"tacolab-{os.getuid()}-{folder.parent.name}-{folder.name}"
    size = sum(path.stat().st_size for path in folder.rglob("*"))
    try:
        if not copy.is_dir():
            free = shutil.disk_usage(root).free
            if size + _RESERVE > free:
                log.warning(
                    "%s: %.1f GiB do not fit there (%.1f GiB free); reading from %s",
                    root,
                    size / 2**30,
                    free / 2**30,
                    folder,
                )
                return folder
            log.info("copying %s (%.1f GiB) to %s", folder, size / 2**30, root)
            with tempfile.TemporaryDirectory(dir=root, prefix=copy.name) as temporary:
                shutil.copytree(folder, Path(temporary) / "copy")
                (Path(temporary) / "copy").rename(copy)
    except OSError as error:
        if not copy.is_dir():  # else another job of this node was faster
            log.warning("%s: no copy there (%s); reading from %s", root, error, folder)
            return folder
    if copy.stat().st_uid != os.getuid():
        log.warning("%s belongs to somebody else; reading from %s", copy, folder)
        return folder
    return copy
