"""Captions by batches: what is sent, what it costs, and what a server does not take."""

import json

import pyarrow.parquet as pq
import pytest
from chat_study import Chat, ChatStudy, Server, by_request, created, stopped_while_waiting
from PIL import Image

import mock_openai
from tacolab.errors import StageError, UserError
from tacolab.readers.caption_table import CaptionTable
from tacolab.stages.captions.chat import batch


def test_one_batch_and_nothing_left_behind(server: Server, batched: ChatStudy) -> None:
    mock, _ = server
    artefact = batched.run()
    rows = pq.read_table(artefact.path)
    assert rows["image_id"].to_pylist() == [f"{n:03}.jpg" for n in range(10) for _ in range(2)]
    assert len(set(rows["caption"].to_pylist())) == 20
    assert (created(mock), by_request(mock)) == (1, 20 * [1])
    assert mock.requests["POST /chat/completions"] == 0
    assert not list((batched.folder / "data/answers").glob("*/batches/*"))
    artefact.path.unlink()
    batched.run()
    assert created(mock) == 1


def test_sync_and_batch_share_their_answers(server: Server, batched: ChatStudy) -> None:
    batched.run()
    batched.api["mode"] = "sync"
    batched.source["per_image"] = {"set": 3}
    assert len(CaptionTable(batched.run().path)) == 30
    assert server[0].requests["POST /chat/completions"] == 10


def test_captions_with_characters_that_end_a_line_elsewhere(
    server: Server, batched: ChatStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock, _ = server
    strange = "a dog\u2028and\u2029a\x85cat\x1c\r\n, both asleep"
    monkeypatch.setattr(mock_openai, "caption", lambda *_: strange)
    captions = {caption for *_, caption in CaptionTable(batched.run().path)}
    assert captions == {strange}
    assert by_request(mock) == 20 * [1]


def test_numbers_of_batches_that_a_server_gives_twice(server: Server, batched: ChatStudy) -> None:
    mock, _ = server
    batched.run()
    mock.restart()
    batched.source["per_image"] = {"set": 3}
    assert len(CaptionTable(batched.run().path)) == 30
    assert set(by_request(mock)) == {1}


def test_a_server_without_batches(server: Server, batched: ChatStudy) -> None:
    mock, url = server
    mock.step_faults = {"POST /files": [404]}
    with pytest.raises(UserError, match=f"{url} has no Batch API; set execution.api.mode: sync"):
        batched.run()
    batched.api["mode"] = "sync"
    assert len(CaptionTable(batched.run().path)) == 20


def test_it_waits_for_room_that_another_table_takes(
    server: Server, batched: ChatStudy, chat: Chat
) -> None:
    """The queue is full with a batch of another table of the same question."""
    mock, _ = server
    batched.api["queued_tokens"] = 2500  # all 20 requests of it
    stopped_while_waiting(batched, mock)
    (batched.folder / "data/more").mkdir()
    Image.new("RGB", (64, 64), "red").save(batched.folder / "data/more/red.jpg")
    (batched.folder / "data/list.json").write_text(json.dumps(["red.jpg"]))
    batched.images = "more"
    mock.batch_seconds = 1
    mock.finish(1)
    assert len(CaptionTable(batched.run().path)) == 2
    assert by_request(mock) == 22 * [1]


def test_bad_answers_of_a_batch_are_tried_again_in_another(
    server: Server, batched: ChatStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock, _ = server
    whole, bad = (
        mock.complete,
        iter(["refusal", "blank", "length", "filter", "no choices", "words"]),
    )
    monkeypatch.setattr(mock, "complete", lambda request: whole(request, next(bad, None)))
    assert len(CaptionTable(batched.run().path)) == 20
    assert (created(mock), mock.uploads, sum(by_request(mock))) == (2, [20, 6], 26)


def test_a_config_that_the_server_refuses_is_held_against_no_image(
    server: Server, batched: ChatStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock, _ = server
    batched.run()
    batched.source["per_image"] = {"set": 3}
    whole = mock.complete
    body = {"error": {"message": "no_db_connection"}}
    monkeypatch.setattr(mock, "complete", lambda *_: (400, body))
    for _ in range(2):
        with pytest.raises(StageError, match="refuses these requests: HTTP 400: no_db_connection"):
            batched.run()
    assert len(batched.stored()) == 20
    monkeypatch.setattr(mock, "complete", whole)
    assert len(CaptionTable(batched.run().path)) == 30


def test_an_image_that_the_server_never_takes(server: Server, batched: ChatStudy) -> None:
    mock, _ = server
    batched.run()
    mock.bad = {next(name for name in mock.paid if name.count("-") == 0)}
    batched.source |= {"temperature": 0.7, "allowed_failures": 0.1, "attempts": 5}
    artefact = batched.run()
    assert len(CaptionTable(artefact.path).ids) == 9
    assert json.loads(artefact.files[1].read_text())["outcomes"] == {"stop": 18, "rejected": 10}


def test_parts_by_requests_bytes_and_queued_tokens(
    server: Server, batched: ChatStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock, _ = server
    monkeypatch.setattr(batch, "MOST_REQUESTS", 8)
    batched.run()
    assert mock.uploads == [8, 8, 4]
    monkeypatch.setattr(batch, "MOST_BYTES", 4000)
    batched.source["prompt"] = "Why?"
    batched.run()
    assert sum(mock.uploads[3:]) == 20 and 1 < max(mock.uploads[3:]) < 8
    assert max(mock.bytes[3:]) <= 4000
    mock.most_tokens_queued = 0
    batched.source["prompt"] = "Why not?"
    batched.api["queued_tokens"] = 700  # 99 and a few each
    batched.run()
    assert 600 < mock.most_tokens_queued <= 700


def test_batches_that_cannot_go(server: Server, batched: ChatStudy) -> None:
    mock, _ = server
    batched.api["queued_tokens"] = 50
    with pytest.raises(StageError, match=r"more than execution\.api\.queued_tokens = 50"):
        batched.run()
    batched.api["queued_tokens"] = 90_000
    mock.batch_faults = ["failed"]
    with pytest.raises(StageError, match="the server refuses it: is failed"):
        batched.run()
    mock.batch_faults = 3 * ["nothing"]
    with pytest.raises(StageError, match="last 3 batches brought no answer"):
        batched.run()
    assert by_request(mock) == []
    batched.run()
    assert by_request(mock) == 20 * [1]


def test_a_batch_at_another_server_is_not_forgotten(
    server: Server, batched: ChatStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock, url = server
    stopped_while_waiting(batched, mock)
    batched.api["base_url"] = "http://127.0.0.1:9/v1"
    with pytest.raises(UserError, match=f"20 requests are on their way at {url}; set execution"):
        batched.run()
    batched.api["base_url"] = url
    monkeypatch.setattr(mock, "batches", {})
    with pytest.raises(UserError, match="belong to another account"):
        batched.run()


def test_the_limit_of_costs(server: Server, batched: ChatStudy) -> None:
    """A request costs $0.00085 as assumed, and $0.00265 at most."""
    mock, _ = server
    with pytest.raises(UserError, match=r"\$0\.02 \(batch\) for 20 requests"):
        batched.run(max_cost=0.01)
    assert mock.uploads == []
    batched.run(max_cost=0.025)  # in small batches, since a long answer would cost more
    assert mock.uploads[0] <= 0.025 / 0.00265
    assert by_request(mock) == 20 * [1]


def test_what_is_on_its_way_is_collected_where_no_more_is_allowed(
    server: Server, batched: ChatStudy
) -> None:
    mock, _ = server
    stopped_while_waiting(batched, mock)
    mock.finish()
    batched.source["per_image"] = {"set": 3}
    with pytest.raises(UserError, match="more than --max-cost"):
        batched.run(max_cost=0.01)
    assert len(batched.stored()) == 20
    assert created(mock) == 1
