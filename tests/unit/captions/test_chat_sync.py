"""Captions asked one by one: nothing is paid twice, whatever the server does."""

from collections.abc import Callable

import pyarrow.parquet as pq
import pytest

from chat_study import ChatStudy
from mock_openai import MockOpenAI
from tacolab.captions.table import SCHEMA

Server = tuple[MockOpenAI, str]
Chat = Callable[..., ChatStudy]


def test_every_caption_is_asked_for_once(server: Server, chat: Chat) -> None:
    study = chat(12)
    artefact = study.run()
    rows = pq.read_table(artefact.path)
    assert rows.schema.equals(SCHEMA)
    assert rows["image_id"].to_pylist() == [f"{n:03}.jpg" for n in range(12) for _ in range(2)]
    assert rows["index"].to_pylist() == 12 * [0, 1]
    assert len(set(rows["caption"].to_pylist())) == 24
    assert server[0].requests["POST /chat/completions"] == 24
    artefact.path.unlink()
    study.run()
    assert server[0].requests["POST /chat/completions"] == 24
