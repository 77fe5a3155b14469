"""Captions asked one by one: nothing is paid twice or lost, whatever the server does."""

import hashlib
import json
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from chat_study import KEY, Chat, Server, answered, asked
from PIL import Image, ImageOps

from tacolab.errors import StageError, UserError
from tacolab.readers.caption_table import CaptionTable
from tacolab.stages.captions.chat import sync
from tacolab.stages.captions.chat.question import data_url
from tacolab.stages.captions.table import SCHEMA


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
