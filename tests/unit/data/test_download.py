"""A download ends with the right bytes or with none, and never loads a byte twice without need."""

import fcntl
import hashlib
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fileserver import FileServer, serving
from tacolab.errors import StageError, UserError
from tacolab.stages.data import download
from tacolab.stages.data.download import Download, fetch, part, unpack

CONTENT = bytes(range(256)) * 12_000  # 3 MB


URL = "/some/file.bin"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr(download, "PAUSE", 0.01)
    with serving({URL: CONTENT}) as server:
        yield server


def row(server: FileServer, url: str = URL) -> Download:
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    return Download(Path("set"), "file.bin", server.url + url, len(CONTENT), sha256, "none")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("url", [URL, "/moved" + URL])
def test_a_download_is_whole_and_loaded_once(server: FileServer, tmp_path: Path, url: str) -> None:
    path = fetch(row(server, url), tmp_path)
    assert path == tmp_path / "set" / "file.bin"
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == ["file.bin"]
    assert fetch(row(server, url), tmp_path) == path
    assert (len(server.requests), server.sent) == (1, len(CONTENT))


def test_a_cut_connection_is_continued_where_it_was_cut(server: FileServer, tmp_path: Path) -> None:
    server.behave = ["cut", 503, "cut"]
    path = fetch(row(server), tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.sent == len(CONTENT)  # not a byte twice
    starts = [int(asked[6:-1]) for _, asked in server.requests[1:]]
    assert starts[0] == starts[1] > 0  # the first cut, then the 503
    assert starts[1] < starts[2] < len(CONTENT)


def test_a_server_that_cannot_continue_sends_all_of_it_again(
    server: FileServer, tmp_path: Path
) -> None:
    server.ranges = False
    server.behave = ["cut"]
    assert fetch(row(server), tmp_path).read_bytes() == CONTENT
    assert server.sent == len(CONTENT) // 2 + len(CONTENT)


def test_what_a_stopped_call_loaded_is_not_loaded_again(server: FileServer, tmp_path: Path) -> None:
    """Ctrl-C in a real process while the server stalls, then the same call."""
    server.behave = ["stall"]
    code = (
        "from pathlib import Path\nfrom tacolab.stages.data.download import Download, fetch\n"
        f"fetch(Download(Path('set'), 'file.bin', '{server.url}{URL}', {len(CONTENT)}, '', ''), "
        "Path('.'))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE)
    partial = part(tmp_path / "set" / "file.bin")
    while not partial.exists() or partial.stat().st_size < len(CONTENT) // 4:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert b"KeyboardInterrupt" in process.communicate(timeout=60)[1]
    have, before = partial.stat().st_size, server.sent
    assert fetch(row(server), tmp_path).read_bytes() == CONTENT
    assert server.requests[1:] == [(URL, f"bytes={have}-")]
    assert server.sent - before == len(CONTENT) - have


@pytest.mark.parametrize(
    ("behave", "message", "requests"),
    [
        ([404], "HTTP 404 Not Found; start again later, or put the file from elsewhere", 1),
        ([500] * 99, "HTTP 500 Internal Server Error", download.ATTEMPTS),
    ],
)
def test_a_source_that_fails_is_named(
    server: FileServer, tmp_path: Path, behave: list[int], message: str, requests: int
) -> None:
    server.behave = list(behave)
    with pytest.raises(StageError, match=message) as error:
        fetch(row(server), tmp_path)
    assert row(server).url in str(error.value)
    assert len(server.requests) == requests
    assert names(tmp_path / "set") == []


def test_a_server_that_is_not_there_is_named_soon(server: FileServer, tmp_path: Path) -> None:
    nowhere = Download(Path("set"), "f", "http://127.0.0.1:9/f", 3, "0" * 64, "")
    with pytest.raises(StageError, match=r"http://127\.0\.0\.1:9/f: ConnectError"):
        fetch(nowhere, tmp_path)


def test_wrong_bytes_are_refused_and_kept_aside(server: FileServer, tmp_path: Path) -> None:
    server.files[URL] = CONTENT[:-1] + b"x"
    with pytest.raises(StageError, match=r"file\.bin\.wrong: not the file that was expected"):
        fetch(row(server), tmp_path)
    assert names(tmp_path / "set") == ["file.bin.wrong"]
    server.files[URL] = CONTENT
    assert fetch(row(server), tmp_path).read_bytes() == CONTENT


def test_a_source_of_another_size_is_refused_before_it_is_loaded(
    server: FileServer, tmp_path: Path
) -> None:
    server.files[URL] = b"<html>moved</html>"
    with pytest.raises(StageError, match=f"it has 18 bytes, not {len(CONTENT)}"):
        fetch(row(server), tmp_path)
    assert names(tmp_path / "set") == []


def test_a_file_put_there_by_hand_is_verified_and_used(server: FileServer, tmp_path: Path) -> None:
    path = tmp_path / "set" / "file.bin"
    path.parent.mkdir()
    path.write_bytes(b"wrong")
    with pytest.raises(StageError, match=r"file\.bin\.wrong: not the file that was expected"):
        fetch(row(server), tmp_path)
    path.write_bytes(CONTENT)
    fetch(row(server), tmp_path)
    assert server.requests == []


def test_two_calls_at_once_do_not_write_one_file(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with part(tmp_path / "set" / "file.bin").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as another call holds it
        file.write(b"other")
        file.flush()
        with pytest.raises(UserError, match="another process is loading it"):
            fetch(row(server), tmp_path)
    assert part(tmp_path / "set" / "file.bin").read_bytes() == b"other"


def test_unpacking_takes_what_is_named_and_leads_out_of_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "set"
    folder.mkdir(parents=True)
    archive = folder / "set.zip"
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("top/", "")
        content.writestr("top/a.png", b"a")
        content.writestr("../../../evil.png", b"e")
        content.writestr("/tmp/absolute.png", b"t")
        content.writestr("__MACOSX/top/._a.png", b"mac")
        content.writestr("top/readme.txt", b"text")
    unpack(archive, "*.png")
    assert names(folder) == ["a.png", "absolute.png", "evil.png", "set.zip"]
    assert names(tmp_path) == ["deep"]
    kept = (folder / "a.png").stat().st_mtime_ns
    unpack(archive, "*.png")
    assert (folder / "a.png").stat().st_mtime_ns == kept


def test_a_damaged_archive_leaves_no_damaged_file(tmp_path: Path) -> None:
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("a.png", b"first picture")
        content.writestr("b.png", b"second picture")
    damaged = archive.read_bytes().replace(b"second picture", b"secand picture")
    archive.write_bytes(damaged)
    with pytest.raises(StageError, match=r"set\.zip: a damaged archive \(Bad CRC-32.*b\.png"):
        unpack(archive, "*.png")
    assert (tmp_path / "a.png").read_bytes() == b"first picture"
    assert not (tmp_path / "b.png").exists()
