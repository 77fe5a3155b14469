"""Captions asked one by one: nothing is paid twice or lost, whatever the server does."""

import asyncio
import hashlib
import itertools
import json
import logging
import signal
import time
from collections.abc import Callable
from typing import Any

import httpx2
import numpy as np
import pyarrow.parquet as pq
import pytest
from chat_study import KEY, ChatStudy
from PIL import Image, ImageOps

from mock_openai import MockOpenAI
from tacolab.captions import client, sync
from tacolab.captions.question import data_url
from tacolab.captions.table import SCHEMA
from tacolab.captiontable import CaptionTable
from tacolab.errors import Interrupted, StageError, UserError

Server = tuple[MockOpenAI, str]
Chat = Callable[..., ChatStudy]


def asked(mock: MockOpenAI) -> int:
    return mock.requests["POST /chat/completions"]


def answered(mock: MockOpenAI) -> int:
    """Answers that the server would charge for."""
    return sum(mock.paid.values())


def test_every_caption_is_asked_for_once_and_never_again(server: Server, chat: Chat) -> None:
    mock, _ = server
    study = chat(12)
    artefact = study.run()
    rows = pq.read_table(artefact.path)
    assert rows.schema.equals(SCHEMA)
    assert rows["image_id"].to_pylist() == [f"{n:03}.jpg" for n in range(12) for _ in range(2)]
    assert rows["index"].to_pylist() == 12 * [0, 1]
    assert len(set(rows["caption"].to_pylist())) == 24
    assert set(rows["model"].to_pylist()) == {"gpt-4o-2024-11-20"}
    assert set(rows["finish_reason"].to_pylist()) == {"stop"}
    assert min(rows["prompt_tokens"].to_pylist()) > 85 and rows["created"].null_count == 0
    assert asked(mock) == answered(mock) == 24 and set(mock.paid.values()) == {2}
    first = artefact.path.read_bytes()
    artefact.path.unlink()
    assert study.run().path.read_bytes() == first
    assert asked(mock) == 24


def test_another_data_set_key_or_number_of_captions_asks_only_for_what_is_new(
    server: Server, chat: Chat
) -> None:
    mock, _ = server
    study = chat(4)
    study.run()
    study.source["per_image"] = {"set": 3}
    study.source["allowed_failures"] = 0.5  # another key, the same question
    assert len(CaptionTable(study.run().path)) == 12
    assert answered(mock) == 12 and set(mock.paid.values()) == {3}


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("model", "other"),
        ("prompt", "Why?"),
        ("temperature", 0.5),
        ("detail", "high"),
        ("image_side", 48),
    ],
)
def test_another_question_shares_no_answer(
    server: Server, chat: Chat, entry: str, value: Any
) -> None:
    mock, _ = server
    study = chat(2)
    study.run()
    study.source[entry] = value
    study.run()
    assert answered(mock) == 8


def test_more_tokens_mend_what_was_cut_off_and_ask_for_nothing_else(
    server: Server, chat: Chat
) -> None:
    mock, _ = server
    study = chat(2)
    study.source["attempts"] = 1
    mock.faults = ["length"]
    with pytest.raises(StageError, match=r"1 of 4 captions .*length 1"):
        study.run()
    study.source["max_tokens"] = 600
    assert len(CaptionTable(study.run().path)) == 4
    assert answered(mock) == 5


def test_the_server_sees_pictures_as_people_do(server: Server, chat: Chat) -> None:
    """Upright; what it said of a picture on its side, when it saw that, is asked anew."""
    mock, _ = server
    study = chat(2)
    path = study.folder / "data/images/001.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(path) as image:
        image.save(path, exif=exif, quality=95)
    study.run()
    plain = hashlib.sha256(path.with_name("000.jpg").read_bytes()).hexdigest()
    stored = {line["image"] for line in study.stored()}
    assert len(stored) == 2 and plain in stored
    assert hashlib.sha256(path.read_bytes()).hexdigest() not in stored
    upright = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    url = data_url(
        Image.fromarray(np.asarray(upright)), study.plan.study.captions["gpt"].image_side
    )
    assert hashlib.sha256(url.encode()).hexdigest() in mock.paid


def test_equal_images_are_one_image(server: Server, chat: Chat) -> None:
    study = chat(3)
    images = study.folder / "data/images"
    (images / "002.jpg").write_bytes((images / "000.jpg").read_bytes())
    table = CaptionTable(study.run().path)
    assert table.for_image("002.jpg") == table.for_image("000.jpg") != table.for_image("001.jpg")
    assert answered(server[0]) == 4


def test_a_study_without_a_price_or_usage_still_gets_its_captions(
    server: Server, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock, _ = server
    whole = mock.complete

    def without(request: Any, fault: Any = None) -> tuple[int, Any]:
        status, body = whole(request, fault)
        return status, {"choices": [{"message": body["choices"][0]["message"]}]}

    monkeypatch.setattr(mock, "complete", without)
    study = chat(2)
    study.api["price"] = None
    rows = pq.read_table(study.run().path)
    assert rows["prompt_tokens"].null_count == rows["created"].null_count == 4
    with pytest.raises(UserError, match=r"nobody knows the price.*execution\.api\.price"):
        study.source["prompt"] = "Why?"
        study.run(max_cost=1)
    assert asked(mock) == 4
    study.api["price"] = [2.5, 10]  # each answer may have been the longest: $0.0053
    with pytest.raises(StageError, match="one more request may cost"):
        study.run(max_cost=0.015)
    assert asked(mock) == 6


# -- a server that misbehaves ---------------------------------------------------------------------

# What goes wrong once, and how many answers the server would charge for besides the good ones.
FAULTS = [
    (429, 0),
    ((429, {"Retry-After": "0.3"}, "rate_limit_exceeded"), 0),
    ((429, {"retry-after-ms": "20"}, "rate_limit_exceeded"), 0),
    (500, 0),
    (503, 0),
    (408, 0),
    ("cut", 0),
    ("malformed", 0),
    ("no choices", 1),
    ("refusal", 1),
    ("words", 1),
    ("blank", 1),
    ("length", 1),
    ("filter", 1),
]


@pytest.mark.parametrize(("fault", "charged"), FAULTS)
def test_trouble_costs_one_more_request_and_nothing_is_asked_twice(
    server: Server, chat: Chat, fault: Any, charged: int
) -> None:
    mock, _ = server
    study = chat(10)
    study.api["concurrency"] = 4
    mock.faults = ["well", "well", fault]
    assert len(CaptionTable(study.run().path)) == 20
    assert (asked(mock), answered(mock)) == (21, 20 + charged)
    study.table.path.unlink()
    study.run()
    assert asked(mock) == 21


def test_much_trouble(server: Server, chat: Chat) -> None:
    mock, _ = server
    study = chat(30)
    mock.faults = 2 * [fault for fault, _ in FAULTS]
    captions = [caption for *_, caption in CaptionTable(study.run().path)]
    assert len(captions) == 60
    assert not any("sorry" in caption for caption in captions)
    assert asked(mock) == 60 + 2 * len(FAULTS)
    assert answered(mock) == 60 + 2 * sum(charged for _, charged in FAULTS)
    outcomes = json.loads(study.table.files[1].read_text())["outcomes"]
    bad = {"refusal": 4, "empty": 4, "length": 2, "content_filter": 2, "lost": 4}
    assert outcomes == {"stop": 60, **bad}


def test_a_server_that_never_answers_one_request_does_not_stop_the_others(
    server: Server, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "TIMEOUT", httpx2.Timeout(0.5))
    mock, _ = server
    mock.faults = ["slow"]
    assert len(CaptionTable(chat(5).run().path)) == 10
    assert asked(mock) == 11


def test_retry_after_is_waited_for_and_fewer_are_sent(server: Server, chat: Chat) -> None:
    mock, _ = server
    study = chat(8)
    mock.latency = 0.05
    mock.faults = [*6 * ["well"], (429, {"Retry-After": "1"}, "rate_limit_exceeded")]
    study.api["concurrency"] = 2
    started = time.monotonic()
    study.run()
    assert time.monotonic() - started > 1
    assert (asked(mock), mock.most) == (17, 2)


def test_headers_that_say_nothing_is_left_pause_the_next_requests(
    server: Server, chat: Chat
) -> None:
    mock, _ = server
    study = chat(2)
    study.api["concurrency"] = 1
    empty = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "700ms"}
    mock.headers = [empty]
    started = time.monotonic()
    study.run()
    assert time.monotonic() - started > 0.7
    assert asked(mock) == 4


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize(
    "fault", [429, 503, (429, {"Retry-After": "3600"}, "rate_limit_exceeded"), "slow"]
)
def test_a_server_that_only_puts_off_is_left_after_a_while(
    server: Server, chat: Chat, monkeypatch: pytest.MonkeyPatch, fault: Any, begun: bool
) -> None:
    monkeypatch.setattr(client, "TIMEOUT", httpx2.Timeout(0.15))
    monkeypatch.setattr(sync, "GRACE", 0.3)
    mock, _ = server
    study = chat(4)
    mock.faults, mock.always = (4 if begun else 0) * ["well"], fault
    key = study.table.key
    study.api["patience_minutes"] = 0.01
    assert study.table.key == key
    with pytest.raises(Interrupted, match=r"no answer for 0\.01 minutes, .*patience_minutes \("):
        study.run()
    assert answered(mock) == (4 if begun else 0)
    mock.always = None
    assert len(CaptionTable(study.run().path)) == 8
    assert answered(mock) == 8


def test_requests_that_are_left_unanswered_count_as_paid(
    server: Server, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "GRACE", 0.1)
    mock, _ = server
    study = chat(2)
    mock.always = "slow"
    study.api["patience_minutes"] = 0.02
    with pytest.raises(Interrupted, match="no answer"):
        study.run()
    assert [row["outcome"] for row in study.stored()] == 4 * ["lost"]


def test_no_more_in_flight_than_allowed(server: Server, chat: Chat) -> None:
    mock, _ = server
    mock.latency = 0.05
    study = chat(12)
    study.api["concurrency"] = 5
    study.run()
    assert mock.most == 5


# -- an end without captions ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        ((401, {}, "invalid_api_key"), UserError, "refused the key .*; check OPENAI_API_KEY"),
        ((404, {}, "model_not_found"), UserError, "does not know model 'gpt-4o-2024-11-20'"),
        ((403, {}, "unsupported_country"), UserError, "will not serve this account"),
        ((429, {}, "insufficient_quota"), StageError, "no money left"),
        ((400, {}, "budget_exceeded"), StageError, "no money left"),
        ((429, {}, "budget_exceeded"), StageError, "no money left"),
    ],
)
def test_what_no_patience_mends_ends_at_once_with_all_answers_kept(
    server: Server, chat: Chat, error: Any, kind: type[Exception], message: str
) -> None:
    mock, _ = server
    study = chat(10)
    study.api["concurrency"] = 2
    mock.faults = [*4 * ["well"], *100 * [error]]
    with pytest.raises(kind, match=message):
        study.run()
    assert asked(mock) <= 6  # one in flight beside it
    assert len(study.stored()) == answered(mock) == 4
    mock.faults = []
    study.run()
    assert answered(mock) == 20


@pytest.mark.parametrize(("status", "message"), [(400, "refuses these requests"), (500, "no answ")])
def test_a_server_that_takes_nothing_is_left_soon(
    server: Server, chat: Chat, status: int, message: str
) -> None:
    mock, _ = server
    mock.faults = 1000 * [status]
    study = chat(10)
    study.api["concurrency"] = 2
    with pytest.raises(StageError, match=message):
        study.run()
    assert asked(mock) <= 2 * sync.WITHOUT_ANSWER
    assert study.stored() == []


def test_no_server_and_no_key(chat: Chat, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    study = chat(2)
    study.api["base_url"] = "http://127.0.0.1:9/v1"
    with pytest.raises(StageError, match=r"127\.0\.0\.1:9/v1: no answers: Connect"):
        study.run()
    study.api["base_url"] = f"https://me:{KEY}@127.0.0.1:9/v1"
    with pytest.raises(UserError, match="base_url holds a name or password") as failure:
        study.run()
    assert KEY not in str(failure.value)
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(UserError, match=r"OPENAI_API_KEY is not set.*export OPENAI_API_KEY=none"):
        study.run()


def test_captions_that_cannot_be_had(server: Server, chat: Chat) -> None:
    mock, _ = server
    study = chat(4, attempts=2)
    study.api["concurrency"] = 1
    mock.faults = ["refusal", "refusal", "well", "well", "well", "length", "blank"]
    with pytest.raises(StageError) as failure:
        study.run()
    assert "2 of 8 captions could not be had in 2 attempts (refusal 1, empty 1)" in str(
        failure.value
    )
    assert "000.jpg 0 (refusal), 002.jpg 0 (empty); raise captions.gpt.attempts" in str(
        failure.value
    )
    assert answered(mock) == 10
    with pytest.raises(StageError):
        study.run()
    assert answered(mock) == 10  # they have used up their attempts
    before = study.table
    study.source["allowed_failures"] = 0.25
    artefact = study.run()
    assert artefact.key == before.key  # the remedy must not train finished models anew
    table = CaptionTable(artefact.path)
    assert (len(table.for_image("000.jpg")), len(table.for_image("002.jpg"))) == (1, 1)
    missing = json.loads(artefact.files[1].read_text())["missing"]
    assert missing[0] == {"image_id": "000.jpg", "index": 0, "outcome": "refusal"}
    assert answered(mock) == 10
    study.source["attempts"] = 3
    assert study.table.key == artefact.key
    assert len(CaptionTable(study.run().path)) == 8
    assert answered(mock) == 12


def test_an_image_that_the_server_never_takes(server: Server, chat: Chat) -> None:
    mock, _ = server
    study = chat(6, allowed_failures=0.2)
    study.run()
    mock.bad = {next(iter(mock.paid))}
    study.source["temperature"] = 0.7
    study.api["concurrency"] = 1
    artefact = study.run()
    outcomes = json.loads(artefact.files[1].read_text())["outcomes"]
    assert outcomes == {"stop": 10, "rejected": 6}
    assert len(CaptionTable(artefact.path).ids) == 5


# -- whose fault a refusal is --------------------------------------------------------------------


def outcomes(study: ChatStudy) -> set[str]:
    return {row["outcome"] for row in study.stored()}


@pytest.mark.parametrize("concurrency", [1, 4, 32])
@pytest.mark.parametrize("images", [1, 12])
def test_a_config_that_the_server_refuses_is_held_against_no_image(
    server: Server, chat: Chat, concurrency: int, images: int
) -> None:
    """Of a table that was begun; the same words, but for the name of the request."""
    mock, _ = server
    study = chat(images, allowed_failures=0.6)
    study.api["concurrency"] = concurrency
    study.run()
    before, requests = study.stored(), asked(mock)
    study.source["per_image"] = {"set": 4}
    for run in range(2):
        mock.faults = [(400, {}, f"no_db_connection, request {run}-{n}") for n in range(1000)]
        with pytest.raises(StageError, match=r"refuses these requests: .*no_db.*OPENAI_API_KEY"):
            study.run()
    assert study.stored() == before
    assert asked(mock) - requests <= 2 * (10 + concurrency)  # of five images, and in flight
    mock.faults = []
    assert len(CaptionTable(study.run().path)) == 4 * images
    assert outcomes(study) == {"stop"}


def test_a_key_that_ends_while_requests_are_in_flight_is_held_against_no_image(
    server: Server, chat: Chat
) -> None:
    """Refusals may overtake the last good answers."""
    mock, _ = server
    whole = mock.answer
    study = chat(30)
    study.api["concurrency"] = 8
    numbers = itertools.count()

    async def slowly(*request: Any) -> Any:
        if next(numbers) < 10:
            reply = await whole(*request)
            await asyncio.sleep(0.2)
            return reply
        return 400, {}, b'{"error": {"message": "Authentication Error"}}'

    mock.answer = slowly  # type: ignore[method-assign]
    with pytest.raises(StageError, match=r"refuses these requests: .*Authentication"):
        study.run()
    assert len(study.stored()) == 10 and outcomes(study) == {"stop"}
    mock.answer = whole  # type: ignore[method-assign]
    assert len(CaptionTable(study.run().path)) == 60


def test_refusals_of_older_versions_are_asked_again(server: Server, chat: Chat) -> None:
    """They were charged whatever the server refused."""
    mock, _ = server
    study = chat(4)
    study.run()
    path = next((study.folder / "data/answers").glob("*/*.jsonl"))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows[:3]:
        row |= {"outcome": "rejected", "text": "HTTP 400: no_db_connection", "prompt_tokens": 0}
        row |= {"completion_tokens": 0}
    path.write_text("".join(json.dumps(row) + "\n" for row in [*3 * rows[:3], *rows[3:]]))
    study.table.path.unlink()
    assert len(CaptionTable(study.run().path)) == 8
    assert asked(mock) == 8 + 3


def test_many_images_in_a_row_that_the_server_never_takes(server: Server, chat: Chat) -> None:
    """A person says that it is not the config."""
    mock, _ = server
    study = chat(8, allowed_failures=0.7)
    study.api["concurrency"] = 1
    study.run()
    mock.bad = set(list(mock.paid)[:5])
    study.source["temperature"] = 0.7
    with pytest.raises(StageError, match="run it once with --blame-images"):
        study.run()
    artefact = study.run(blame_images=True)
    assert len(CaptionTable(artefact.path).ids) == 3
    artefact.path.unlink()
    requests = asked(mock)
    study.run()
    assert asked(mock) == requests


# -- money ---------------------------------------------------------------------------------------


def test_the_limit_of_costs(server: Server, chat: Chat) -> None:
    """97 + 27 tokens in, 150 out as assumed; the longest answer is 500."""
    mock, _ = server
    study = chat(20)
    study.source["attempts"] = 20
    with pytest.raises(UserError, match=r"\$0\.07 \(sync\) for 40 requests.*max-cost 0\.05"):
        study.run(max_cost=0.05)
    assert asked(mock) == 0
    study.api["max_cost"] = 0.08
    mock.faults = 20 * ["length"]  # paid for nothing
    with pytest.raises(StageError, match=r"spent and one more request may cost .*answers are kept"):
        study.run()
    spent = sum(
        2.5 * row["prompt_tokens"] + 10 * row["completion_tokens"] for row in study.stored()
    )
    assert 0.06 < spent / 1e6 <= 0.08
    assert answered(mock) == len(study.stored())
    study.run(max_cost=1)
    assert answered(mock) == 60


@pytest.mark.slow
def test_the_command_shows_what_it_costs_and_refuses_more(server: Server, chat: Chat) -> None:
    mock, _ = server
    study = chat(20)
    output, _ = study.start("--estimate", OPENAI_API_KEY="").communicate(timeout=60)
    assert "40 requests, about 4,800 input and 6,000 output tokens: $0.07 sync" in output
    process = study.start("--max-cost", "0.05")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "more than --max-cost 0.05" in errors.splitlines()[-1]
    assert asked(mock) == 0


def test_an_answer_that_never_came_counts_as_paid_in_later_runs_too(
    server: Server, chat: Chat
) -> None:
    mock, _ = server
    study = chat(4)
    study.api["concurrency"] = 1
    mock.faults = [*3 * ["cut"], "well", *3 * ["cut"], "well", *3 * ["cut"], "well"]
    with pytest.raises(StageError, match="one more request may cost"):
        study.run(max_cost=0.04)
    requests = asked(mock)
    with pytest.raises((StageError, UserError), match="max-cost"):
        study.run(max_cost=0.04)
    assert asked(mock) == requests


def test_the_limit_holds_with_a_server_that_counts_more_tokens(server: Server, chat: Chat) -> None:
    """5,000 of an image that nobody knows, where some 120 were expected."""
    mock, _ = server
    mock.image_tokens = 5000
    study = chat(20, model="mock-vision")
    with pytest.raises(StageError, match="one more request may cost"):
        study.run(max_cost=0.14)
    spent = sum(
        2.5 * row["prompt_tokens"] + 10 * row["completion_tokens"] for row in study.stored()
    )
    # The first requests are in flight before the first count comes back.
    assert 0.1 < spent / 1e6 < 0.14 * 1.3


# -- killed --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_killed_again_and_again_it_pays_only_what_was_in_flight(server: Server, chat: Chat) -> None:
    mock, _ = server
    mock.latency = 0.1
    mock.key = KEY
    study = chat(100)
    study.api["concurrency"] = 4
    kills = 0
    for wanted in (20, 120):
        process = study.start()
        while answered(mock) < wanted:
            time.sleep(0.01)
        process.kill()
        process.wait()
        kills += 1
        stored = [(row["image"], row["index"]) for row in study.stored()]
        assert len(stored) == len(set(stored)) >= answered(mock) - 4 * kills
    file = next((study.folder / "data/answers").glob("*/*.jsonl"))
    with file.open("ab") as torn:
        torn.write(b'{"image": "12')
    process = study.start()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert len(CaptionTable(study.table.path)) == 200
    print(f"{answered(mock)} answers paid for 200 captions, {kills} kills, 4 in flight")
    assert 200 <= answered(mock) <= 200 + 4 * kills
    assert KEY not in errors


@pytest.mark.slow
def test_sigterm_waits_for_what_is_in_flight_and_leaves_with_75(server: Server, chat: Chat) -> None:
    mock, _ = server
    mock.latency = 0.3
    study = chat(100)
    study.api["concurrency"] = 4
    process = study.start()
    while answered(mock) < 20:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 75, errors
    assert "stopped (SIGTERM)" in errors and "Traceback" not in errors
    assert len(study.stored()) == answered(mock) < 200
    mock.latency = 0
    study.run()
    assert answered(mock) == 200


@pytest.mark.slow
def test_two_processes_that_want_the_same_pay_once(server: Server, chat: Chat) -> None:
    mock, _ = server
    mock.latency = 0.2
    study = chat(10)
    processes = [study.start(), study.start()]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert answered(mock) == 20


# -- secrets -------------------------------------------------------------------------------------


def test_the_key_is_in_no_file_log_or_message(
    server: Server, chat: Chat, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server echoes it in an error; httpx2 and openai log all they can."""
    caplog.set_level(logging.DEBUG)
    mock, _ = server
    mock.key = KEY
    mock.faults = [(500, {}, f"Bearer {KEY}"), (429, {}, KEY)]
    study = chat(3)
    study.run()
    monkeypatch.setenv("OPENAI_API_KEY", KEY + "-wrong")
    study.source["prompt"] = "Why?"
    with pytest.raises(UserError, match="refused the key") as failure:
        study.run()
    assert KEY not in str(failure.value)
    ours = [record for record in caplog.records if record.name.startswith("tacolab")]
    assert ours and not any(KEY in record.getMessage() for record in ours)
    assert not any(KEY in record.getMessage() for record in caplog.records if record.levelno >= 20)
    for path in study.folder.rglob("*"):
        assert not (path.is_file() and KEY.encode() in path.read_bytes()), path
