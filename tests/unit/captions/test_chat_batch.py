"""Captions by batches: no batch is created twice, no answer lost, whatever ends or breaks when."""

import itertools
import json
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from chat_study import KEY, ChatStudy
from PIL import Image

import mock_openai
from killing import nth
from mock_openai import MockOpenAI
from tacolab import atomic
from tacolab.captions import batch
from tacolab.captiontable import CaptionTable
from tacolab.errors import StageError, UserError

Server = tuple[MockOpenAI, str]
Chat = Callable[..., ChatStudy]


@pytest.fixture
def study(chat: Chat) -> ChatStudy:
    """Ten pictures, two captions each, by batches."""
    found = chat(10)
    found.api["mode"] = "batch"
    return found


def created(mock: MockOpenAI) -> int:
    return len(mock.batches)


def by_request(mock: MockOpenAI) -> list[int]:
    """How often each request of a batch was answered."""
    return [count for name, count in mock.paid.items() if name.count("-") == 2]


def test_one_batch_and_nothing_left_behind(server: Server, study: ChatStudy) -> None:
    mock, _ = server
    artefact = study.run()
    rows = pq.read_table(artefact.path)
    assert rows["image_id"].to_pylist() == [f"{n:03}.jpg" for n in range(10) for _ in range(2)]
    assert len(set(rows["caption"].to_pylist())) == 20
    assert (created(mock), by_request(mock)) == (1, 20 * [1])
    assert mock.requests["POST /chat/completions"] == 0
    assert not list((study.folder / "data/answers").glob("*/batches/*"))
    artefact.path.unlink()
    study.run()
    assert created(mock) == 1


def test_sync_and_batch_share_their_answers(server: Server, study: ChatStudy) -> None:
    study.run()
    study.api["mode"] = "sync"
    study.source["per_image"] = {"set": 3}
    assert len(CaptionTable(study.run().path)) == 30
    assert server[0].requests["POST /chat/completions"] == 10


def test_captions_with_characters_that_end_a_line_elsewhere(
    server: Server, study: ChatStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock, _ = server
    strange = "a dog\u2028and\u2029a\x85cat\x1c\r\n, both asleep"
    monkeypatch.setattr(mock_openai, "caption", lambda *_: strange)
    captions = {caption for *_, caption in CaptionTable(study.run().path)}
    assert captions == {strange}
    assert by_request(mock) == 20 * [1]


def test_numbers_of_batches_that_a_server_gives_twice(server: Server, study: ChatStudy) -> None:
    mock, _ = server
    study.run()
    mock._ids = itertools.count(1)  # started anew
    mock.batches.clear()
    study.source["per_image"] = {"set": 3}
    assert len(CaptionTable(study.run().path)) == 30
    assert set(by_request(mock)) == {1}


def test_a_server_without_batches(server: Server, study: ChatStudy) -> None:
    mock, url = server
    mock.step_faults = {"POST /files": [404]}
    with pytest.raises(UserError, match=f"{url} has no Batch API; set execution.api.mode: sync"):
        study.run()
    study.api["mode"] = "sync"
    assert len(CaptionTable(study.run().path)) == 20


def test_unreadable_answers_count_as_paid(
    server: Server, study: ChatStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock, _ = server
    monkeypatch.setattr(mock, "complete", lambda *_: (200, "oops"))
    with pytest.raises(StageError, match="the last 3 batches brought no answer"):
        study.run()
    assert [row["outcome"] for row in study.stored()] == 3 * 20 * ["lost"]
    with pytest.raises(UserError, match=r"with \$0\.16 spent on this table before"):
        study.run(max_cost=0.1)


def test_it_waits_for_room_that_another_table_takes(
    server: Server, study: ChatStudy, chat: Chat
) -> None:
    """The queue is full with a batch of another table of the same question."""
    mock, _ = server
    mock.batch_seconds = 1000
    study.api["queued_tokens"] = 2500  # all 20 requests of it
    _stopped_while_waiting(study, mock)
    (study.folder / "data/more").mkdir()
    Image.new("RGB", (64, 64), "red").save(study.folder / "data/more/red.jpg")
    (study.folder / "data/list.json").write_text(json.dumps(["red.jpg"]))
    study.images = "more"
    mock.batch_seconds = 2
    for waiting in mock.batches.values():
        waiting["_ready"] = time.monotonic() + 2
    assert len(CaptionTable(study.run().path)) == 2
    assert by_request(mock) == 22 * [1]


@pytest.mark.parametrize(
    ("fault", "batches"),
    [("mixed", 1), ("expired", 2), ("cancelled", 2), ("half", 2), ("lost", 1), ("full", 3)],
)
def test_a_batch_that_goes_wrong(
    server: Server, study: ChatStudy, fault: str, batches: int
) -> None:
    """What it brought is kept, the rest is asked for again; a full queue takes smaller ones."""
    mock, _ = server
    mock.batch_faults = [fault]
    assert len(CaptionTable(study.run().path)) == 20
    assert (created(mock), by_request(mock)) == (batches, 20 * [1])


def test_bad_answers_of_a_batch_are_tried_again_in_another(
    server: Server, study: ChatStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock, _ = server
    whole, bad = (
        mock.complete,
        iter(["refusal", "blank", "length", "filter", "no choices", "words"]),
    )
    monkeypatch.setattr(mock, "complete", lambda request: whole(request, next(bad, None)))
    assert len(CaptionTable(study.run().path)) == 20
    assert (created(mock), mock.uploads, sum(by_request(mock))) == (2, [20, 6], 26)


@pytest.mark.parametrize("path", ["POST /files", "POST /batches", "GET /batches/ID"])
@pytest.mark.parametrize("trouble", [500, 429, "cut"])
def test_trouble_at_a_step_repeats_the_step(
    server: Server, study: ChatStudy, path: str, trouble: Any
) -> None:
    mock, _ = server
    mock.step_faults = {path: [trouble, trouble]}
    assert len(CaptionTable(study.run().path)) == 20
    assert (created(mock), by_request(mock)) == (1, 20 * [1])


def test_results_that_are_cut_are_fetched_again(server: Server, study: ChatStudy) -> None:
    server[0].step_faults = {"GET /files/ID/content": ["cut", 500]}
    assert len(CaptionTable(study.run().path)) == 20
    assert by_request(server[0]) == 20 * [1]


def test_parts_by_requests_bytes_and_queued_tokens(
    server: Server, study: ChatStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock, _ = server
    monkeypatch.setattr(batch, "MOST_REQUESTS", 8)
    study.run()
    assert mock.uploads == [8, 8, 4]
    monkeypatch.setattr(batch, "MOST_BYTES", 4000)
    study.source["prompt"] = "Why?"
    study.run()
    assert sum(mock.uploads[3:]) == 20 and 1 < max(mock.uploads[3:]) < 8
    assert max(mock.bytes[3:]) <= 4000
    mock.most_tokens_queued = 0
    study.source["prompt"] = "Why not?"
    study.api["queued_tokens"] = 700  # 99 and a few each
    study.run()
    assert 600 < mock.most_tokens_queued <= 700


def test_batches_that_cannot_go(server: Server, study: ChatStudy) -> None:
    mock, _ = server
    study.api["queued_tokens"] = 50
    with pytest.raises(StageError, match=r"more than execution\.api\.queued_tokens = 50"):
        study.run()
    study.api["queued_tokens"] = 90_000
    mock.batch_faults = ["failed"]
    with pytest.raises(StageError, match="the server refuses it: is failed"):
        study.run()
    mock.batch_faults = 3 * ["nothing"]
    with pytest.raises(StageError, match="last 3 batches brought no answer"):
        study.run()
    assert by_request(mock) == []
    study.run()
    assert by_request(mock) == 20 * [1]


def test_a_batch_at_another_server_is_not_forgotten(
    server: Server, study: ChatStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock, url = server
    mock.batch_seconds = 1000
    _stopped_while_waiting(study, mock)
    study.api["base_url"] = "http://127.0.0.1:9/v1"
    with pytest.raises(UserError, match=f"20 requests are on their way at {url}; set execution"):
        study.run()
    study.api["base_url"] = url
    monkeypatch.setattr(mock, "batches", {})
    with pytest.raises(UserError, match="belong to another account"):
        study.run()


def test_the_limit_of_costs(server: Server, study: ChatStudy) -> None:
    """A request costs $0.00085 as assumed, and $0.00265 at most."""
    mock, _ = server
    with pytest.raises(UserError, match=r"\$0\.02 \(batch\) for 20 requests"):
        study.run(max_cost=0.01)
    assert mock.uploads == []
    study.run(max_cost=0.025)  # in small batches, since a long answer would cost more
    assert mock.uploads[0] <= 0.025 / 0.00265
    assert by_request(mock) == 20 * [1]


def test_what_is_on_its_way_is_collected_where_no_more_is_allowed(
    server: Server, study: ChatStudy
) -> None:
    mock, _ = server
    mock.batch_seconds = 1000
    _stopped_while_waiting(study, mock)
    for waiting in mock.batches.values():
        waiting["_ready"] = 0.0
    study.source["per_image"] = {"set": 3}
    with pytest.raises(UserError, match="more than --max-cost"):
        study.run(max_cost=0.01)
    assert len(study.stored()) == 20
    assert created(mock) == 1


# -- stopped and killed --------------------------------------------------------------------------


def _stopped_while_waiting(study: ChatStudy, mock: MockOpenAI) -> None:
    before = created(mock)
    process = study.start()
    while created(mock) == before or mock.requests["GET /batches/ID"] == 0:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 75, errors
    assert "the same command goes on" in errors and KEY not in errors


@pytest.mark.slow
def test_stopped_while_it_waits_it_goes_on_in_either_mode(server: Server, study: ChatStudy) -> None:
    """What a batch asks for is paid; sync asks only for the third captions."""
    mock, _ = server
    mock.batch_seconds = 1000
    _stopped_while_waiting(study, mock)
    for waiting in mock.batches.values():
        waiting["_ready"] = time.monotonic() + 0.5
    study.api["mode"] = "sync"
    study.source["per_image"] = {"set": 3}
    assert len(CaptionTable(study.run().path)) == 30
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
    server: Server, study: ChatStudy, when: str, request_: str
) -> None:
    """SIGKILL when the server has the request, or has obeyed it and the reply is on its way."""
    mock, _ = server
    killed: list[int] = []

    def kill() -> None:
        process.kill()
        killed.append(process.wait())

    getattr(mock, when)[request_] = kill
    process = study.start()
    process.communicate(timeout=60)
    assert killed == [-signal.SIGKILL]
    assert len(CaptionTable(study.run().path)) == 20
    assert (created(mock), mock.uploads, by_request(mock)) == (1, [20], 20 * [1])
    assert not list((study.folder / "data/answers").glob("*/batches/*"))


class Cut(BaseException):
    """The end of a process, as far as the files go."""


def test_cut_at_any_write_of_a_file_no_batch_is_made_twice(
    server: Server, study: ChatStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the rename of every file that a run writes, and after it."""
    mock, _ = server
    real = atomic.sync
    for moment in range(1, 1000):
        study.source["prompt"] = f"What is this, for the {moment}. time?"
        here = nth(moment)

        def sync(path: Path, here: Callable[[], bool] = here) -> None:
            real(path)
            if here():
                # A process that is killed leaves its temporary files.
                process, tmp, name = path.name.removeprefix(".").partition(".tmp.")
                if tmp:
                    shutil.copy(path, path.with_name(f".{process}0.tmp.{name}"))
                raise Cut

        batches, uploads = created(mock), len(mock.uploads)
        monkeypatch.setattr(atomic, "sync", sync)
        try:
            study.run()
            break
        except Cut:
            pass
        monkeypatch.setattr(atomic, "sync", real)
        assert len(CaptionTable(study.run().path)) == 20
        assert (created(mock), len(mock.uploads)) == (batches + 1, uploads + 1)
    assert moment > 10
    assert set(by_request(mock)) == {1}
    assert not list((study.folder / "data/answers").glob("*/**/.*.tmp.*"))
