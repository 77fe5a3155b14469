"""One file from its source, as `downloads.csv` names it: resumed, verified, unpacked."""

from __future__ import annotations

import csv
import fcntl
import hashlib
import logging
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import httpx2

from tacolab.errors import StageError, UserError
from tacolab.files import disk
from tacolab.files.atomic import sync
from tacolab.files.progress import progress, transferred

TABLE = Path(__file__).with_name("downloads.csv")
ATTEMPTS = 6  # in a row that bring nothing, before it is given up
WITHOUT_ANSWER = 3  # the same for a server that never answered: mostly there is no internet
PAUSE = 1.0  # seconds after the first of them, twice as many after each further one
TIMEOUT = 60.0  # seconds without a byte
BLOCK = 2**20

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Download:
    """A row of the table.

    folder: below data_root. files: the name that the file gets there, or which files (a glob)
    of an archive are unpacked there. bytes, sha256: of what the URL gives.
    """

    folder: Path
    files: str
    url: str
    bytes: int
    sha256: str
    licence: str

    @property
    def archive(self) -> bool:
        return self.url.endswith(".zip")

    @property
    def path(self) -> Path:
        """The file that is downloaded, below data_root."""
        return self.folder / (PurePosixPath(self.url).name if self.archive else self.files)

    def gives(self, path: Path) -> bool:
        """Whether `path`, below data_root, comes from here."""
        return path.parent == self.folder and fnmatchcase(path.name, self.files)


def table() -> list[Download]:
    """The package's table."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        return [
            Download(Path(folder), files, url, int(n_bytes), sha256, licence)
            for folder, files, url, n_bytes, sha256, licence in list(csv.reader(file))[1:]
        ]


def part(path: Path) -> Path:
    """What a download that has not ended lies in. Not named by `atomic`: a later call goes on."""
    return path.with_name(path.name + ".part")


def fetch(download: Download, root: Path) -> Path:
    """The verified file of `download`, below `root`; goes on where an earlier call was stopped.

    Somebody may have put the file there by hand. Raises StageError when the source fails or gives
    other bytes than the table says; these are kept as `.wrong`.
    """
    path = root / download.path
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        _verify(path, download)
        return path
    with disk.writing(path, download.bytes), _alone(part(path)) as file:
        _transfer(download, file)
    _verify(part(path), download)
    sync(part(path))
    part(path).replace(path)
    sync(path.parent)
    return path


def unpack(archive: Path, files: str) -> None:
    """The files of a zip whose names match the glob `files`, beside it; folders in it are dropped.

    A file appears whole, its checksum verified. A file that is there with its size is kept.
    """
    try:
        with zipfile.ZipFile(archive) as content:
            members = [m for m in content.infolist() if _wanted(m, files)]
            for member in progress(members, len(members), f"unpacking {archive.name}"):
                path = archive.with_name(PurePosixPath(member.filename).name)
                if path.exists() and path.stat().st_size == member.file_size:
                    continue
                # Nor here: what a killed call has left is written over.
                temporary = part(path)
                writing = disk.writing(path, member.file_size)
                with writing, content.open(member) as source, temporary.open("wb") as target:
                    while block := source.read(BLOCK):  # raises BadZipFile at a wrong checksum
                        target.write(block)
                temporary.replace(path)  # not synced one by one: stage `data` decodes them all
    except zipfile.BadZipFile as error:
        raise StageError(
            f"{archive}: a damaged archive ({error}); remove it and start again"
        ) from (None)


def _wanted(member: zipfile.ZipInfo, files: str) -> bool:
    # Only the last part of a name is used, so no name leads out of the folder. macOS puts files
    # that start with a dot beside the real ones.
    name = PurePosixPath(member.filename).name
    return not member.is_dir() and not name.startswith(".") and fnmatchcase(name, files)


@contextmanager
def _alone(path: Path) -> Iterator[BinaryIO]:
    """`path`, open at its end; a second download of it at the same time is refused."""
    path.touch()
    with path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{path}: another process is loading it; wait for that one") from None
        except OSError as error:  # Lustre, for one, may be mounted without locks
            log.warning("%s: no lock there (%s): load it once at a time", path, error.strerror)
        file.seek(0, os.SEEK_END)
        try:
            yield file
        finally:
            if file.tell() == 0:  # nothing came: leave no trace
                path.unlink()


def _transfer(download: Download, file: BinaryIO) -> None:
    """Append to `file` until it has all bytes."""
    failures, limit = 0, WITHOUT_ANSWER
    with transferred(download.path.name, download.bytes) as show:
        while (have := file.tell()) < download.bytes:
            try:
                _request(download, file, show)
                reason = "the connection ended early"
            except httpx2.HTTPStatusError as error:
                limit = ATTEMPTS
                code = error.response.status_code
                reason = f"HTTP {code} {error.response.reason_phrase}"
                if code < 500 and code not in (408, 429):
                    raise StageError(_give_up(download, reason)) from None
            except httpx2.HTTPError as error:
                reason = f"{type(error).__name__}: {error}"
            if file.tell() >= download.bytes:
                return
            if file.tell() > have:
                failures, limit = 0, ATTEMPTS
            failures += 1
            if failures == limit:
                raise StageError(_give_up(download, reason))
            log.info("%s: %s; trying again", download.url, reason)
            time.sleep(PAUSE * 2 ** (failures - 1))


def _request(download: Download, file: BinaryIO, show: Callable[[int], None]) -> None:
    """One request for what `file` lacks; what comes is appended."""
    have = file.tell()
    # A compressed transfer could not be continued in the middle.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with httpx2.stream(
        "GET", download.url, headers=headers, follow_redirects=True, timeout=TIMEOUT
    ) as response:
        response.raise_for_status()
        # bytes FIRST-LAST/TOTAL; a server that cannot continue sends all of it without.
        span, _, total = response.headers.get("Content-Range", "").rpartition("/")
        if have and not span.startswith(f"bytes {have}-"):
            file.seek(0)
            file.truncate()
        total = total or response.headers.get("Content-Length", "")
        if total.isdigit() and int(total) != download.bytes:
            raise StageError(_give_up(download, f"it has {total} bytes, not {download.bytes}"))
        for block in response.iter_raw():  # as it comes: a cut then loses nothing that came
            file.write(block)
            file.flush()  # a killed process loses nothing that came
            show(file.tell())


def _give_up(download: Download, reason: str) -> str:
    return (
        f"{download.url}: {reason}; start again later, or put the file from elsewhere at "
        f"{download.path} below data_root: it is verified and used"
    )


def _verify(path: Path, download: Download) -> None:
    """Raises StageError, and keeps the file as `.wrong`, unless it is what the table says."""
    if download.archive:  # it takes a while
        log.info("verifying %s", path)
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual == download.sha256:
        return
    wrong = path.with_name(download.path.name + ".wrong")
    path.replace(wrong)
    raise StageError(
        f"{wrong}: not the file that was expected from {download.url} (sha256 {actual[:12]}..., "
        f"not {download.sha256[:12]}...); look at it, or start again"
    )
