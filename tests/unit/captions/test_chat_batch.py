"""Captions by batches: no batch is created twice, no answer lost, whatever ends or breaks when."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from chat_study import KEY, ChatStudy
from PIL import Image

import mock_openai
from killing import nth
from mock_openai import MockOpenAI
from tacolab.errors import Interrupted, StageError, UserError
from tacolab.files import atomic
from tacolab.files.process import Process
from tacolab.readers.caption_table import CaptionTable
from tacolab.stages.captions.chat import batch

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
    mock.restart()
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
    study.api["queued_tokens"] = 2500  # all 20 requests of it
    stopped_while_waiting(study, mock)
    (study.folder / "data/more").mkdir()
    Image.new("RGB", (64, 64), "red").save(study.folder / "data/more/red.jpg")
    (study.folder / "data/list.json").write_text(json.dumps(["red.jpg"]))
    study.images = "more"
    mock.batch_seconds = 1
    mock.finish(1)
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


@pytest.mark.parametrize("no_file", ["", None])
@pytest.mark.parametrize("fault", ["", "nothing", "expired"])
def test_a_file_without_a_name_is_no_file(
    server: Server, study: ChatStudy, no_file: str | None, fault: str
) -> None:
    mock, _ = server
    mock.no_file, mock.batch_faults = no_file, [fault]
    assert len(CaptionTable(study.run().path)) == 20
    assert by_request(mock) == 20 * [1]


GARBAGE = [404, b"<html>502</html>", b"", b"[" * 100_000, b"\xff\xfe\x00", b"{}\n[1]\n"]


@pytest.mark.parametrize("wrong", GARBAGE, ids=range(len(GARBAGE)))
@pytest.mark.parametrize("first", [True, False])
def test_whatever_is_wrong_with_one_file_the_answers_of_the_other_are_stored(
    server: Server, study: ChatStudy, wrong: Any, first: bool
) -> None:
    """And the batch is remembered: its answers are paid for."""
    mock, _ = server
    mock.batch_faults = ["split"]
    mock.step_faults = {"GET /files/ID/content": [wrong, None] if first else [None, wrong]}
    with pytest.raises((UserError, StageError), match=r"Remove .*json to ask \(and pay\) again"):
        study.run()
    assert len(study.stored()) == 10
    assert len(CaptionTable(study.run().path)) == 20
    assert (created(mock), by_request(mock), len(study.stored())) == (1, 20 * [1], 20)


def test_lines_that_are_damaged_or_missing_are_looked_for_again(
    server: Server, study: ChatStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock, _ = server
    whole = mock.answer

    async def torn(method: str, path: str, *rest: Any) -> Any:
        status, headers, content = await whole(method, path, *rest)
        return status, headers, content[:-500] if path.endswith("/content") else content

    monkeypatch.setattr(mock, "answer", torn)
    with pytest.raises(StageError, match="nothing readable of 1 requests"):
        study.run()
    assert len(study.stored()) == 19
    monkeypatch.setattr(mock, "answer", whole)
    assert len(CaptionTable(study.run().path)) == 20
    assert (created(mock), by_request(mock)) == (1, 20 * [1])


@pytest.mark.parametrize("wrong", GARBAGE, ids=range(len(GARBAGE)))
def test_a_file_of_errors_that_cannot_be_had_stops_nobody(
    server: Server, study: ChatStudy, wrong: Any
) -> None:
    """What failed was not paid for and is asked for again."""
    mock, _ = server
    mock.batch_faults = ["half"]
    mock.step_faults = {"GET /files/ID/content": [None, wrong]}
    assert len(CaptionTable(study.run().path)) == 20
    assert (created(mock), by_request(mock)) == (2, 20 * [1])


def test_whatever_is_wrong_with_one_batch_the_answers_of_the_others_are_stored(
    server: Server, study: ChatStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock, _ = server
    monkeypatch.setattr(batch, "MOST_REQUESTS", 10)
    mock.batch_seconds, mock.step_faults = 0.0, {"GET /files/ID/content": [404]}
    with pytest.raises(UserError, match=r"the output file of batch .* is gone"):
        study.run()
    assert len(study.stored()) == 10
    assert len(CaptionTable(study.run().path)) == 20
    assert (created(mock), by_request(mock)) == (2, 20 * [1])


@pytest.mark.parametrize("id_", ["POST /files", "POST /batches"])
def test_a_reply_without_an_id_is_looked_for(server: Server, study: ChatStudy, id_: str) -> None:
    mock, _ = server
    mock.step_faults = {id_: [b'{"id": ""}']}
    with pytest.raises(StageError, match="gives no id"):
        study.run()
    assert len(CaptionTable(study.run().path)) == 20
    assert by_request(mock) == 20 * [1]


def test_a_batch_that_never_ends_is_left_after_its_day(
    server: Server, study: ChatStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock, _ = server
    mock.batch_seconds = 1000
    monkeypatch.setattr(batch, "DAY", 0.0)
    study.api["patience_minutes"] = 0.01
    with pytest.raises(Interrupted, match=r"should have ended .*execution\.api\.patience_minutes"):
        study.run()
    mock.finish()
    assert len(CaptionTable(study.run().path)) == 20
    assert (created(mock), by_request(mock)) == (1, 20 * [1])


@pytest.mark.parametrize("fault", [429, 503, 500])
@pytest.mark.parametrize("step", ["POST /batches", "GET /batches/ID"])
def test_a_server_that_only_has_trouble_is_left_after_a_while(
    server: Server, study: ChatStudy, step: str, fault: int
) -> None:
    mock, _ = server
    mock.step_faults = {step: 1000 * [fault]}
    study.api["patience_minutes"] = 0.01
    with pytest.raises(Interrupted, match=rf"no answer for 0\.01 minutes.*HTTP {fault}"):
        study.run()
    mock.step_faults.clear()
    assert len(CaptionTable(study.run().path)) == 20
    assert (created(mock), by_request(mock)) == (1, 20 * [1])


def test_a_config_that_the_server_refuses_is_held_against_no_image(
    server: Server, study: ChatStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock, _ = server
    study.run()
    study.source["per_image"] = {"set": 3}
    whole = mock.complete
    body = {"error": {"message": "no_db_connection"}}
    monkeypatch.setattr(mock, "complete", lambda *_: (400, body))
    for _ in range(2):
        with pytest.raises(StageError, match="refuses these requests: HTTP 400: no_db_connection"):
            study.run()
    assert len(study.stored()) == 20
    monkeypatch.setattr(mock, "complete", whole)
    assert len(CaptionTable(study.run().path)) == 30


def test_an_image_that_the_server_never_takes(server: Server, study: ChatStudy) -> None:
    mock, _ = server
    study.run()
    mock.bad = {next(name for name in mock.paid if name.count("-") == 0)}
    study.source |= {"temperature": 0.7, "allowed_failures": 0.1, "attempts": 5}
    artefact = study.run()
    assert len(CaptionTable(artefact.path).ids) == 9
    assert json.loads(artefact.files[1].read_text())["outcomes"] == {"stop": 18, "rejected": 10}


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
    stopped_while_waiting(study, mock)
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
    stopped_while_waiting(study, mock)
    mock.finish()
    study.source["per_image"] = {"set": 3}
    with pytest.raises(UserError, match="more than --max-cost"):
        study.run(max_cost=0.01)
    assert len(study.stored()) == 20
    assert created(mock) == 1


# -- stopped and killed --------------------------------------------------------------------------


def stopped_while_waiting(study: ChatStudy, mock: MockOpenAI) -> None:
    """A run that asks how far a batch is, and is told to end by then."""
    mock.batch_seconds = 1000
    mock.before["GET /batches/ID"] = lambda: os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Interrupted, match="the same command goes on"):
        study.run()


@pytest.mark.slow
def test_stopped_while_it_waits_it_goes_on_in_either_mode(server: Server, study: ChatStudy) -> None:
    """What a batch asks for is paid; sync asks only for the third captions."""
    mock, _ = server
    mock.batch_seconds = 1000
    process = study.start()
    while mock.requests["GET /batches/ID"] == 0:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 75, errors
    assert "the same command goes on" in errors and KEY not in errors
    mock.finish(0.5)
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
                if ".tmp." in path.name:
                    dead = replace(Process.me(), pid=2**22 + 1)
                    name = path.name.replace(str(Process.me()), str(dead))
                    shutil.copy(path, path.with_name(name))
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
    # A lease that was cut when it was let go, with all answers there, is taken by nobody again.
    left = (study.folder / "data/answers").glob("*/**/.*.tmp.*")
    assert {path.name.partition(".tmp.")[2] for path in left} <= {"lease-000001.json"}
