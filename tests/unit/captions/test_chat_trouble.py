"""A server that misbehaves: what goes wrong costs one more request, and nothing is paid twice."""

import json
import time
from typing import Any

import httpx2
import pytest
from chat_study import Chat, Server, answered, asked

from tacolab.errors import Interrupted
from tacolab.readers.caption_table import CaptionTable
from tacolab.stages.captions.chat import client, sync

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
