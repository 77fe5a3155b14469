"""The small study on disk, and the artefacts of its token weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_weighting import STUDY, TEST, TRAINING, write_captions

from running import run_stage
from tacolab import config
from tacolab.plan import Artefact, Plan


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plan]:
    """study(**weights of the config): its plan; the caption tables are there."""
    monkeypatch.chdir(tmp_path)

    def make(**weighting: Any) -> Plan:
        content = STUDY | {"token_weights": weighting}
        (tmp_path / "study.yaml").write_text(json.dumps(content))
        plan = Plan(config.validate(content, "study.yaml"))
        write_captions(plan.find("captions", dataset="trainset"), TRAINING)
        write_captions(plan.find("captions", dataset="testset"), TEST)
        return plan

    return make


@pytest.fixture
def made(study: Callable[..., Plan]) -> Callable[..., Artefact]:
    """made(**weights of the config): the token weights of the test set, and what they need."""

    def make(threads: int = 1, **weighting: Any) -> Artefact:
        plan = study(**weighting)
        artefact = plan.find("token_weights", dataset="testset")
        for wanted in [*artefact.inputs.values(), artefact]:
            if wanted.stage.name != "captions":
                run_stage(plan, wanted, threads)
        return artefact

    return make
