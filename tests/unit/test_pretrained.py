"""A model that is not there is one line, at once: also where nothing answers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tacolab.errors import UserError
from tacolab.text import pretrained

LOAD = """
from transformers import AutoTokenizer
from tacolab.errors import UserError
from tacolab.text.pretrained import pretrained
try:
    pretrained(AutoTokenizer, "nobody/nothing")
except UserError as error:
    print(error)
"""


def test_without_a_hub_it_is_asked_once(tmp_path: Path) -> None:
    """transformers would ask six times, in 23 seconds, and say so each time."""
    hub = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD], env=os.environ | hub, capture_output=True, text=True
    )
    assert done.stdout.startswith("nobody/nothing: cannot be loaded (the hub does not answer")
    assert done.stdout.count("\n") == 1 and "`tacolab data --prefetch`" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["no/model/of/the/hub", "two words"])
def test_what_no_model_can_be_called_is_not_there(name: str) -> None:
    assert not pretrained.cached(name)
    with pytest.raises(UserError, match=r"not in the hub's cache .*, and no folder"):
        pretrained.folder(name)
