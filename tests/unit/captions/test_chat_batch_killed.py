"""Batches of a run that is stopped or killed: none is created twice, and no answer is lost."""

import json
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from chat_study import KEY, ChatStudy, Server, by_request, created

from killing import nth
from tacolab.files import atomic
from tacolab.files.process import Process
from tacolab.readers.caption_table import CaptionTable
from tacolab.stages.captions.chat import order
from tacolab.stages.captions.chat.order import Order, State


@pytest.mark.slow
def test_stopped_while_it_waits_it_goes_on_in_either_mode(
    server: Server, batched: ChatStudy
) -> None:
    """What a batch asks for is paid; sync asks only for the third captions."""
    mock, _ = server
    mock.batch_seconds = 1000
    process = batched.start()
    while mock.requests["GET /batches/ID"] == 0:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 75, errors
    assert "the same command goes on" in errors and KEY not in errors
    mock.finish(0.5)
    batched.api["mode"] = "sync"
    batched.source["per_image"] = {"set": 3}
    assert len(CaptionTable(batched.run().path)) == 30
    assert (created(mock), by_request(mock)) == (1, 20 * [1])
    assert mock.requests["POST /chat/completions"] == 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("when", "request_"),
    [
        ("after", "POST /files"),
        ("before", "POST /batches"),
        ("after", "POST /batches"),
        ("after", "GET /batches/ID"),
        ("after", "GET /files/ID/content"),
        ("before", "DELETE /files/ID"),
    ],
)
def test_killed_at_any_step_no_batch_is_made_twice(
    server: Server, batched: ChatStudy, when: str, request_: str
) -> None:
    """SIGKILL when the server has the request, or has obeyed it and the reply is on its way."""
    mock, _ = server
    killed: list[int] = []

    def kill() -> None:
        process.kill()
        killed.append(process.wait())

    getattr(mock, when)[request_] = kill
    process = batched.start()
    process.communicate(timeout=60)
    assert killed == [-signal.SIGKILL]
    assert len(CaptionTable(batched.run().path)) == 20
    assert (created(mock), mock.uploads, by_request(mock)) == (1, [20], 20 * [1])
    assert not list((batched.folder / "data/answers").glob("*/batches/*"))


class Cut(BaseException):
    """The end of a process, as far as the files go."""


def test_cut_at_any_write_of_a_file_no_batch_is_made_twice(
    server: Server, batched: ChatStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the rename of every file that a run writes, and after it."""
    mock, _ = server
    real = atomic.sync
    for moment in range(1, 1000):
        batched.source["prompt"] = f"What is this, for the {moment}. time?"
        here = nth(moment)

        def sync(path: Path, here: Callable[[], bool] = here) -> None:
            real(path)
            if here():
                # A process that is killed leaves its temporary files.
                if ".tmp." in path.name:
                    dead = replace(Process.me(), pid=2**22 + 1)
                    name = path.name.replace(str(Process.me()), str(dead))
                    shutil.copy(path, path.with_name(name))
                raise Cut

        batches, uploads = created(mock), len(mock.uploads)
        monkeypatch.setattr(atomic, "sync", sync)
        try:
            batched.run()
            break
        except Cut:
            pass
        monkeypatch.setattr(atomic, "sync", real)
        assert len(CaptionTable(batched.run().path)) == 20
        assert (created(mock), len(mock.uploads)) == (batches + 1, uploads + 1)
    assert moment > 10
    assert set(by_request(mock)) == {1}
    # A lease that was cut when it was let go, with all answers there, is taken by nobody again.
    left = (batched.folder / "data/answers").glob("*/**/.*.tmp.*")
    assert {path.name.partition(".tmp.")[2] for path in left} <= {"lease-000001.json"}


OLD = {
    State.PREPARED: {"file": None, "batch": None, "creating": False},
    State.UPLOADED: {"file": "f", "batch": None, "creating": False},
    State.CREATING: {"file": "f", "batch": None, "creating": True},
    State.CREATED: {"file": "f", "batch": "b", "creating": False},
}


@pytest.mark.parametrize("state", State)
def test_what_an_older_version_had_ordered_is_known(tmp_path: Path, state: State) -> None:
    """Its files said how far a batch is by what they lacked."""
    path = tmp_path / "tacolab-0.json"
    common = {"name": "tacolab-0", "server": "s", "tokens": 9, "max_tokens": 5}
    path.write_text(json.dumps(common | {"requests": [["a", 0]]} | OLD[state]))
    found = order.read(path)
    assert found == Order("tacolab-0", "s", 9, 5, [("a", 0)], state, found.file, found.batch)
    assert (found.file, found.batch) == (OLD[state]["file"], OLD[state]["batch"])
    orders = order.Orders(tmp_path)
    orders.note(found)
    assert [*order.Orders(tmp_path)] == [found]
