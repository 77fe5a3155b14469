"""Batches that go wrong: what they brought is kept, and nothing is paid twice."""

from typing import Any

import pytest
from chat_study import ChatStudy, Server, by_request, created

from tacolab.errors import Interrupted, StageError, UserError
from tacolab.readers.caption_table import CaptionTable
from tacolab.stages.captions.chat import batch


def test_unreadable_answers_count_as_paid(
    server: Server, batched: ChatStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock, _ = server
    monkeypatch.setattr(mock, "complete", lambda *_: (200, "oops"))
    with pytest.raises(StageError, match="the last 3 batches brought no answer"):
        batched.run()
    assert [row["outcome"] for row in batched.stored()] == 3 * 20 * ["lost"]
    with pytest.raises(UserError, match=r"with \$0\.16 spent on this table before"):
        batched.run(max_cost=0.1)


@pytest.mark.parametrize(
    ("fault", "batches"),
    [("mixed", 1), ("expired", 2), ("cancelled", 2), ("half", 2), ("lost", 1), ("full", 3)],
)
def test_a_batch_that_goes_wrong(
    server: Server, batched: ChatStudy, fault: str, batches: int
) -> None:
    """What it brought is kept, the rest is asked for again; a full queue takes smaller ones."""
    mock, _ = server
    mock.batch_faults = [fault]
    assert len(CaptionTable(batched.run().path)) == 20
    assert (created(mock), by_request(mock)) == (batches, 20 * [1])


@pytest.mark.parametrize("path", ["POST /files", "POST /batches", "GET /batches/ID"])
@pytest.mark.parametrize("trouble", [500, 429, "cut"])
def test_trouble_at_a_step_repeats_the_step(
    server: Server, batched: ChatStudy, path: str, trouble: Any
) -> None:
    mock, _ = server
    mock.step_faults = {path: [trouble, trouble]}
    assert len(CaptionTable(batched.run().path)) == 20
    assert (created(mock), by_request(mock)) == (1, 20 * [1])


def test_results_that_are_cut_are_fetched_again(server: Server, batched: ChatStudy) -> None:
    server[0].step_faults = {"GET /files/ID/content": ["cut", 500]}
    assert len(CaptionTable(batched.run().path)) == 20
    assert by_request(server[0]) == 20 * [1]


@pytest.mark.parametrize("no_file", ["", None])
@pytest.mark.parametrize("fault", ["", "nothing", "expired"])
def test_a_file_without_a_name_is_no_file(
    server: Server, batched: ChatStudy, no_file: str | None, fault: str
) -> None:
    mock, _ = server
    mock.no_file, mock.batch_faults = no_file, [fault]
    assert len(CaptionTable(batched.run().path)) == 20
    assert by_request(mock) == 20 * [1]


GARBAGE = [404, b"<html>502</html>", b"", b"[" * 100_000, b"\xff\xfe\x00", b"{}\n[1]\n"]


@pytest.mark.parametrize("wrong", GARBAGE, ids=range(len(GARBAGE)))
@pytest.mark.parametrize("first", [True, False])
def test_whatever_is_wrong_with_one_file_the_answers_of_the_other_are_stored(
    server: Server, batched: ChatStudy, wrong: Any, first: bool
) -> None:
    """And the batch is remembered: its answers are paid for."""
    mock, _ = server
    mock.batch_faults = ["split"]
    mock.step_faults = {"GET /files/ID/content": [wrong, None] if first else [None, wrong]}
    with pytest.raises((UserError, StageError), match=r"Remove .*json to ask \(and pay\) again"):
        batched.run()
    assert len(batched.stored()) == 10
    assert len(CaptionTable(batched.run().path)) == 20
    assert (created(mock), by_request(mock), len(batched.stored())) == (1, 20 * [1], 20)


def test_lines_that_are_damaged_or_missing_are_looked_for_again(
    server: Server, batched: ChatStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock, _ = server
    whole = mock.answer

    async def torn(method: str, path: str, *rest: Any) -> Any:
        status, headers, content = await whole(method, path, *rest)
        return status, headers, content[:-500] if path.endswith("/content") else content

    monkeypatch.setattr(mock, "answer", torn)
    with pytest.raises(StageError, match="nothing readable of 1 requests"):
        batched.run()
    assert len(batched.stored()) == 19
    monkeypatch.setattr(mock, "answer", whole)
    assert len(CaptionTable(batched.run().path)) == 20
    assert (created(mock), by_request(mock)) == (1, 20 * [1])


@pytest.mark.parametrize("wrong", GARBAGE, ids=range(len(GARBAGE)))
def test_a_file_of_errors_that_cannot_be_had_stops_nobody(
    server: Server, batched: ChatStudy, wrong: Any
) -> None:
    """What failed was not paid for and is asked for again."""
    mock, _ = server
    mock.batch_faults = ["half"]
    mock.step_faults = {"GET /files/ID/content": [None, wrong]}
    assert len(CaptionTable(batched.run().path)) == 20
    assert (created(mock), by_request(mock)) == (2, 20 * [1])


def test_whatever_is_wrong_with_one_batch_the_answers_of_the_others_are_stored(
    server: Server, batched: ChatStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock, _ = server
    monkeypatch.setattr(batch, "MOST_REQUESTS", 10)
    mock.batch_seconds, mock.step_faults = 0.0, {"GET /files/ID/content": [404]}
    with pytest.raises(UserError, match=r"the output file of batch .* is gone"):
        batched.run()
    assert len(batched.stored()) == 10
    assert len(CaptionTable(batched.run().path)) == 20
    assert (created(mock), by_request(mock)) == (2, 20 * [1])


@pytest.mark.parametrize("id_", ["POST /files", "POST /batches"])
def test_a_reply_without_an_id_is_looked_for(server: Server, batched: ChatStudy, id_: str) -> None:
    mock, _ = server
    mock.step_faults = {id_: [b'{"id": ""}']}
    with pytest.raises(StageError, match="gives no id"):
        batched.run()
    assert len(CaptionTable(batched.run().path)) == 20
    assert by_request(mock) == 20 * [1]


def test_a_batch_that_never_ends_is_left_after_its_day(
    server: Server, batched: ChatStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock, _ = server
    mock.batch_seconds = 1000
    monkeypatch.setattr(batch, "DAY", 0.0)
    batched.api["patience_minutes"] = 0.01
    with pytest.raises(Interrupted, match=r"should have ended .*execution\.api\.patience_minutes"):
        batched.run()
    mock.finish()
    assert len(CaptionTable(batched.run().path)) == 20
    assert (created(mock), by_request(mock)) == (1, 20 * [1])


@pytest.mark.parametrize("fault", [429, 503, 500])
@pytest.mark.parametrize("step", ["POST /batches", "GET /batches/ID"])
def test_a_server_that_only_has_trouble_is_left_after_a_while(
    server: Server, batched: ChatStudy, step: str, fault: int
) -> None:
    mock, _ = server
    mock.step_faults = {step: 1000 * [fault]}
    batched.api["patience_minutes"] = 0.01
    with pytest.raises(Interrupted, match=rf"no answer for 0\.01 minutes.*HTTP {fault}"):
        batched.run()
    mock.step_faults.clear()
    assert len(CaptionTable(batched.run().path)) == 20
    assert (created(mock), by_request(mock)) == (1, 20 * [1])
