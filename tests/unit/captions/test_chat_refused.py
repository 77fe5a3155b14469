"""Whose fault a refusal is: the config's and the server's are held against no image."""

import asyncio
import itertools
import json
from typing import Any

import pytest
from chat_study import Chat, ChatStudy, Server, asked

from tacolab.errors import StageError
from tacolab.readers.caption_table import CaptionTable


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
    server: Server, chat: Chat, monkeypatch: pytest.MonkeyPatch
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

    monkeypatch.setattr(mock, "answer", slowly)
    with pytest.raises(StageError, match=r"refuses these requests: .*Authentication"):
        study.run()
    assert len(study.stored()) == 10 and outcomes(study) == {"stop"}
    monkeypatch.setattr(mock, "answer", whole)
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
