"""The demo's config, to be changed at one place."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tacolab import config
from tacolab.errors import UserError

CONFIG = Path(__file__).parents[2] / "config"
COMMITTED = ["study.yaml", "demo.yaml", "mini.yaml"]
DEMO = yaml.safe_load((CONFIG / "demo.yaml").read_text())
# The numbers that messages below repeat; the demo may choose others.
DEMO |= {
    "lambdas": ["0.0016", "0.015"],
    "codec": {"N": 32, "M": 48, "groups": [4, 4, 8, 8, 24]},
    "training": {"dataset": "photos-train", "epochs": 60, "crop": 128},
}
DEMO["arms"] = {name: DEMO["arms"][name] for name in ("taco", "image-only")}
DEMO["datasets"]["kodak"] = {"kind": "folder", "images": "k", "list": "k/S", "min_side": 128}
DEMO["captions"]["released"] = {"kind": "published", "files": {"kodak": "k/captions.json"}}
DEMO["captions"]["shuffled"] = {"kind": "shuffled"}
DEMO["token_weights"] = {"tfidf": False, "noun_heads": False, "entities": False}
GONE = object()


def changed(path: str, value: Any) -> dict[str, Any]:
    """The demo with one place changed, `/` between keys; GONE removes it."""
    study = copy.deepcopy(DEMO)
    *parents, last = path.split("/")
    place: Any = study
    for key in parents:
        place = place[key]
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return study


def problem(study: Any) -> str:
    """The one line that a wrong study gives."""
    with pytest.raises(UserError) as caught:
        config.validate(study, "my.yaml")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("my.yaml: ")
    assert "function-" not in message  # pydantic's own names are nobody's
    return message.removeprefix("my.yaml: ")
