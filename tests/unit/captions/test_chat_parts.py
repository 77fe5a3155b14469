"""The store of answers, prices, and how fast a server may be asked."""

import asyncio
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from tacolab.config import Api, Gpt4o
from tacolab.stages.captions.chat.answers import Answers
from tacolab.stages.captions.chat.prices import estimate, prompt_tokens
from tacolab.stages.captions.chat.question import Answer, Question
from tacolab.stages.captions.chat.rate_limits import Pace, duration, retry_after

QUESTION = Question.of(Gpt4o(kind="gpt4o").model_dump())
IMAGES = ["a" * 64, "b" * 64]


def completion(
    text: str | None = "A cat.", reason: str | None = "stop", **message: Any
) -> dict[str, Any]:
    choice = {"message": {"content": text, **message}, "finish_reason": reason}
    usage = {"prompt_tokens": 120, "completion_tokens": 9}
    return {"id": "x", "created": 1, "model": "m", "choices": [choice], "usage": usage}


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (completion(), "stop"),
        (completion("cut off in the mid", "length"), "length"),
        (completion("A", "content_filter"), "content_filter"),
        (completion(None, refusal="no"), "refusal"),
        (completion("I\u2019m sorry, I can\u2019t help with that."), "refusal"),
        (completion("Sorry, but I cannot assist with identifying people."), "refusal"),
        (completion("I'm unable to see the image. " + 60 * "But it shows a dog. "), "stop"),
        (completion("A sorry sight: I can see a broken bicycle."), "stop"),
        (completion("I'm not able to help with that."), "refusal"),
        (completion("Unfortunately, I can't assist with this image."), "refusal"),
        (completion("I apologize, but I won\u2019t describe this person."), "refusal"),
        (completion("The picture shows a", "error"), "unfinished"),
        (completion("A cat.", "eos"), "stop"),
        (completion("A cat.", None), "stop"),
        (completion(" \n "), "empty"),
        (completion(None), "empty"),
        ({"choices": []}, "empty"),
        ({"choices": [None], "usage": None}, "empty"),
        ({"error": "?"}, None),
        (["choices"], None),
    ],
)
def test_what_an_answer_is_worth(body: Any, outcome: str | None) -> None:
    answer = Answer.of(body)
    assert (answer and answer.outcome) == outcome


def test_what_no_table_could_hold_is_left_out() -> None:
    body = completion() | {"created": 10**30, "model": "half \ud800", "id": 7}
    body["usage"] = {"prompt_tokens": 2**33, "completion_tokens": True}
    answer = Answer.of(body)
    assert answer == Answer("stop", "A cat.", "half ?", None, None, None, None)
    assert Answer.rejected("bad \ud83d").text == "bad ?"


def store(folder: Path) -> Answers:
    answers = Answers(folder, QUESTION, IMAGES, 2)
    answers.prepare()
    return answers


def line(answers: Answers, place: tuple[int, int], text: str, mode: str = "sync") -> dict[str, Any]:
    answer = Answer.of(completion(text))
    assert answer
    return answers.line(place, answer, mode, "http://server")


def test_answers_of_several_runs_torn_and_damaged_lines(tmp_path: Path) -> None:
    first, second = store(tmp_path), store(tmp_path)
    first.append(line(first, (0, 0), "half a surrogate \ud800, an umlaut ü, a line\nand more"))
    second.append(line(second, (1, 0), " "))
    second.append(line(second, (1, 0), "two"))
    first.append(line(first, (0, 0), "paid again by a copy of the folder"))
    for answers in (first, second):
        answers.close()
    files = sorted(first.folder.glob("*.jsonl"))
    assert len(files) == 2
    with files[0].open("ab") as file:
        whole = line(first, (1, 1), "whole")
        strange = ({"index": "0"}, {"mode": "x"}, {"text": None}, {"prompt_tokens": -1})
        strange += ({"created": True}, {"prompt_tokens": 2**31}, {"created": 10**30})
        file.write(b"\0\0\0\n[1]\n" + json.dumps(whole).encode() + b"\n")
        file.writelines(json.dumps(whole | one).encode() + b"\n" for one in strange)
        file.write(b"{")
    (first.folder / f".1.tmp.{files[0].name}").write_bytes(files[0].read_bytes())  # of a kill
    again = store(tmp_path)
    assert list(again.missing(attempts=1)) == [(0, 1)]
    assert again.usage["sync"].answers == 5
    assert dict(again.outcomes) == {"stop": 4, "empty": 1}
    stored, rows = again.captions()
    texts = [stored["text"][int(row)].as_py() for row in (rows[0, 0], rows[1, 0], rows[1, 1])]
    assert texts == ["half a surrogate ?, an umlaut ü, a line\nand more", "two", "whole"]
    assert rows[0, 1] == -1


def test_a_batch_is_added_whole_and_once(tmp_path: Path) -> None:
    answers = store(tmp_path)
    lines = [line(answers, (n, k), f"{n} {k}", "batch") for n in (0, 1) for k in (0, 1)]

    def cut() -> Any:
        yield lines[0]
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        answers.add_batch("b", cut())
    assert answers.done == store(tmp_path).done == 0
    for _ in range(2):
        answers.add_batch("b", lines)
    assert answers.done == store(tmp_path).done == 4
    assert answers.usage["batch"].answers == 4


def test_captions_of_ms_coco_cost_what_the_plan_says() -> None:
    found = estimate(QUESTION, Api(), 82_783 * 5)
    assert found.usd("sync") == pytest.approx(740, rel=0.02)
    assert found.usd("batch") == pytest.approx(370, rel=0.02)
    assert "$745.05 sync, $372.52 batch" in str(found) and "pricing in 2026-11" in str(found)


def test_an_image_in_tokens() -> None:
    text = prompt_tokens(QUESTION) - 85
    high = replace(QUESTION, detail="high")
    large = replace(QUESTION, detail="high", image_side=1024)
    assert prompt_tokens(high) == 85 + 170 + text
    assert prompt_tokens(large) == 85 + 4 * 170 + text
    mini = replace(QUESTION, model="gpt-4o-mini")
    assert prompt_tokens(mini) == 2833 + text


def test_a_price_of_ones_own_and_none() -> None:
    llava = replace(QUESTION, model="llava")
    assert estimate(llava, Api(), 10).usd("sync") is None
    assert estimate(QUESTION, Api(base_url="http://here"), 10).usd("sync") is None
    own = estimate(llava, Api(base_url="http://here", price=(1, 2)), 1_000_000)
    assert own.usd("sync") == pytest.approx(own.prompt + 2 * 150)


def test_the_mean_is_of_answers_that_cost_something(tmp_path: Path) -> None:
    answers = store(tmp_path)
    for answer in (
        *20 * [Answer("stop", "a", None, None, 1000, 200, None)],
        *80 * [Answer.rejected("no")],
        *100 * [Answer.lost("cut")],
    ):
        answers.append(answers.line((0, 0), answer, "sync", "http://server"))
    answers.close()
    found = estimate(QUESTION, Api(), 1, answers)
    assert (found.prompt, found.completion) == (1000, 200)
    assert found.worst("sync", answers.longest) == pytest.approx((2.5 * 1000 + 10 * 500) / 1e6)


def test_times_that_servers_name() -> None:
    assert duration("6m0s") == 360 and duration("20ms") == 0.02
    assert duration("1h2m3.5s") == 3723.5 and duration("7") == 7 and duration("soon") == 0
    assert retry_after({"retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert retry_after({"retry-after": "3"}) == 3
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60))
    assert retry_after({"retry-after": date}) == pytest.approx(60, abs=2)
    assert retry_after({}) is None and retry_after({"retry-after": "soon"}) is None


def test_refusals_halve_the_pace_once_and_answers_restore_it() -> None:
    async def scene() -> None:
        pace = Pace(10)
        for _ in range(10):
            await pace.enter()
        for _ in range(5):  # were in flight together
            pace.refused({"retry-after": "0.05"})
        assert pace.limit == pytest.approx(7)
        for _ in range(10):
            pace.leave()
        began = time.monotonic()
        for _ in range(7):
            await pace.enter()
        assert time.monotonic() - began >= 0.05
        eighth = asyncio.create_task(pace.enter())
        await asyncio.sleep(0.05)
        assert not eighth.done()
        for _ in range(30):
            pace.answered({})
        assert pace.limit == 10
        pace.leave()
        await eighth
        assert pace.in_flight == 7

    asyncio.run(scene())
