"""A packed data set of samples and a study with every caption source."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_study import KEY, ChatStudy

from mock_openai import MockOpenAI, serving
from tacolab import config
from tacolab.plan import Artefact, Plan
from tacolab.stages import captions, data
from tacolab.stages.captions.chat import batch, batch_server, rate_limits, sync

PHOTOS = ["china", "flower", "rocket", "coffee"]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Artefact]:
    """make(source, **captions of the study): the caption table of `source` on the samples."""
    monkeypatch.chdir(tmp_path)

    def run_stage(source: str, photos: list[str] = PHOTOS, **sources: Any) -> Artefact:
        study = {
            "title": "test",
            "data_root": str(tmp_path),
            "lambdas": ["0.01"],
            "datasets": {"set": {"kind": "samples", "photos": photos, "min_side": 64}},
            "captions": {"human": {"kind": "human"}} | sources,
            "encoders": {"text": {"kind": "clip"}},
            "training": {"dataset": "set", "crop": 64},
            "arms": {"taco": {"text": "text", "captions": "human"}},
            "protocol": {"baseline": "taco", "datasets": {"set": {"controls": list(sources)}}},
        }
        plan = Plan(config.validate(study, "test.yaml"))
        packed = plan.find("data", dataset="set")
        if not packed.done:
            data.run(plan, packed)
        of_network = sources.get(source, {}).get("kind") in ("ofa", "hf")
        stage = "describe" if of_network else "captions"
        artefact = plan.find(stage, dataset="set", source=source)
        for wanted in [*artefact.inputs.values(), artefact]:
            if wanted.stage.name in ("captions", "describe"):
                captions.run(plan, wanted)
        return artefact

    return run_stage


@pytest.fixture
def sha256() -> Callable[[Path], str]:
    return lambda path: hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def server() -> Iterator[tuple[MockOpenAI, str]]:
    with serving() as found:
        yield found


@pytest.fixture
def chat(
    server: tuple[MockOpenAI, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., ChatStudy]:
    """chat(count, **source): a study whose captions the server writes; quick to try again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    # Where no server has a certificate, the system's need not be read by each client anew.
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setattr(rate_limits, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(sync, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(batch_server, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(batch, "FIRST_WAIT", 0.1)
    monkeypatch.setattr(batch, "CROWDED_WAIT", 0.1)
    monkeypatch.setattr(batch, "LOOK_AGAIN", 0.1)
    return lambda count, **source: ChatStudy(tmp_path, server[1], count, **source)


@pytest.fixture
def batched(chat: Callable[..., ChatStudy]) -> ChatStudy:
    """Ten pictures, two captions each, by batches."""
    found = chat(10)
    found.api["mode"] = "batch"
    return found
