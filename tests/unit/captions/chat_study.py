"""A study whose captions a chat model writes, on small pictures, and its real command."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from mock_openai import MockOpenAI
from tacolab import config
from tacolab.errors import Interrupted
from tacolab.plan import Artefact, Options, Plan
from tacolab.stages import captions, data

TACOLAB = Path(sys.executable).with_name("tacolab")
KEY = "sk-secret-0123456789abcdef"


def pictures(folder: Path, count: int) -> None:
    """`count` JPEGs of different colours, and their list."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = np.random.default_rng(0)
    for n in range(count):
        pixels = numbers.integers(0, 256, (4, 5, 3), np.uint8).repeat(16, 0).repeat(16, 1)
        Image.fromarray(pixels).save(folder / f"{n:03}.jpg")
    names = [f"{n:03}.jpg" for n in range(count)]
    (folder.parent / "list.json").write_text(json.dumps(names))


def asked(mock: MockOpenAI) -> int:
    return mock.requests["POST /chat/completions"]


def answered(mock: MockOpenAI) -> int:
    """Answers that the server would charge for."""
    return sum(mock.paid.values())


class ChatStudy:
    """In `folder`, with a data set `set` of `count` pictures and a caption source `gpt`."""

    def __init__(self, folder: Path, url: str, count: int, **source: Any) -> None:
        self.folder = folder
        self.source: dict[str, Any] = {"kind": "gpt4o", "per_image": {"set": 2}} | source
        self.api: dict[str, Any] = {"mode": "sync", "base_url": url, "price": [2.5, 10]}
        self.images = "images"
        pictures(folder / "data/images", count)

    @property
    def plan(self) -> Plan:
        study = {
            "title": "test",
            "data_root": "data",
            "lambdas": ["0.01"],
            "datasets": {
                "set": {
                    "kind": "folder",
                    "images": self.images,
                    "list": "list.json",
                    "min_side": 64,
                }
            },
            "captions": {"gpt": self.source, "empty": {"kind": "empty"}},
            "encoders": {"text": {"kind": "clip"}},
            "training": {"dataset": "set", "crop": 64, "validation_images": 1},
            "arms": {"taco": {"text": "text", "captions": "gpt"}},
            "protocol": {"baseline": "taco", "datasets": {"set": {}}},
            "execution": {"api": self.api},
        }
        (self.folder / "study.yaml").write_text(yaml.safe_dump(study))
        plan = Plan(config.load(self.folder / "study.yaml"))
        packed = plan.find("data", dataset="set")
        if not packed.done:
            data.run(plan, packed)
        return plan

    @property
    def table(self) -> Artefact:
        return self.plan.find("captions", source="gpt")

    def run(self, max_cost: float | None = None, blame_images: bool = False) -> Artefact:
        """In this process."""
        plan = self.plan
        artefact = plan.find("captions", source="gpt")
        captions.run(plan, artefact, Options(max_cost=max_cost, blame_images=blame_images))
        return artefact

    def start(self, *options: str, **environment: str) -> subprocess.Popen[str]:
        """As a process of its own."""
        self.plan  # noqa: B018 - writes the config and packs the data
        return subprocess.Popen(
            [str(TACOLAB), "captions", "set", "gpt", "-c", "study.yaml", *options],
            cwd=self.folder,
            env=os.environ | {"OPENAI_API_KEY": KEY} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def stored(self) -> list[dict[str, Any]]:
        """Every whole answer on the disk."""
        return [
            json.loads(line)
            for path in sorted((self.folder / "data/answers").glob("*/*.jsonl"))
            for line in path.read_bytes().decode().splitlines(keepends=True)
            if line.endswith("\n")
        ]


def created(mock: MockOpenAI) -> int:
    """Batches."""
    return len(mock.batches)


def by_request(mock: MockOpenAI) -> list[int]:
    """How often each request of a batch was answered."""
    return [count for name, count in mock.paid.items() if name.count("-") == 2]


def stopped_while_waiting(study: ChatStudy, mock: MockOpenAI) -> None:
    """A run that asks how far a batch is, and is told to end by then."""
    mock.batch_seconds = 1000
    mock.before["GET /batches/ID"] = lambda: os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Interrupted, match="the same command goes on"):
        study.run()


Server = tuple[MockOpenAI, str]
Chat = Callable[..., ChatStudy]
