"""Image to caption table by a network with random weights, killed and resumed; nonsense, but whole.

The weights are random and the folder's name says so: no caption here describes anything.
"""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import random_ofa
from tacolab import cli, config
from tacolab.config import Ofa
from tacolab.errors import UserError
from tacolab.files.parts import Part, Parts
from tacolab.plan import Artefact, Plan, leftovers
from tacolab.stages import captions, data
from tacolab.stages.captions.network import describe, ofa
from tacolab.stages.captions.network.describe import BATCH
from tacolab.stages.captions.table import SCHEMA

COUNT = BATCH + 1
RANDOM = "random-weights-ofa"
SIDE = 96  # of pictures as the network sees them: a fifth of the published one


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config, its images (packed) and a random OFA; the working folder is theirs."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for i in range(COUNT):
        noise = rng.integers(0, 256, (3 + i, 4, 3), dtype=np.uint8)  # coarse: large areas of colour
        picture = Image.fromarray(noise).resize((80 + i, 64), Image.Resampling.NEAREST)
        picture.save(tmp_path / f"images/{i:02}.png")
    (tmp_path / "list.json").write_text(json.dumps([f"{i:02}.png" for i in range(COUNT)]))
    random_ofa.save(tmp_path / RANDOM)
    content = {
        "title": "random weights",
        "data_root": str(tmp_path),
        "lambdas": ["0.01"],
        "datasets": {
            "set": {"kind": "folder", "images": "images", "list": "list.json", "min_side": 64}
        },
        "captions": {"ofa": {"kind": "ofa", "model": f"./{RANDOM}"}},
        "encoders": {"text": {"kind": "clip"}},
        "training": {"dataset": "set", "crop": 64},
        "arms": {"taco": {"text": "text", "captions": "ofa"}},
        "protocol": {"baseline": "taco", "datasets": {"set": {}}},
        "execution": {"device": "cpu"},
    }
    path = tmp_path / "study.json"
    path.write_text(json.dumps(content))
    plan = Plan(config.load(path))
    data.run(plan, plan.find("data", dataset="set"))
    return path


def artefact() -> Artefact:
    return Plan(config.load(Path("study.json"))).find("describe", dataset="set", source="ofa")


KILLED = f"""
import killing
from tacolab import cli
from tacolab.stages.captions.network import describe, ofa
from tacolab.files.parts import Parts
from tacolab.stages.captions.network import ofa

ofa.SIDE = {SIDE}
describe.PART = describe.BATCH
save = Parts.save

def killed(self, *work):
    save(self, *work)
    killing.die()

Parts.save = killed
cli.main()
"""
COMMAND = ["captions", "set", "ofa", "--config", "study.json", "--threads", "1"]


@pytest.mark.slow
def test_the_command_goes_on_after_sigkill_to_the_same_table(
    study: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = artefact()
    monkeypatch.setattr(describe, "PART", BATCH)
    died = subprocess.run(
        [sys.executable, "-c", KILLED, *COMMAND],
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])},
        capture_output=True,
        timeout=600,
    )
    assert died.returncode == -signal.SIGKILL
    assert not wanted.path.exists()
    monkeypatch.setattr(ofa, "SIDE", SIDE)
    caplog.set_level(logging.INFO)
    cli.app(COMMAND, standalone_mode=False)
    assert "1 of 2 parts are already there" in caplog.text
    assert wanted.begun == []
    table = pq.read_table(wanted.path)
    wanted.path.unlink()
    caplog.clear()
    cli.app(COMMAND, standalone_mode=False)
    assert "already there" not in caplog.text
    assert pq.read_table(wanted.path).equals(table)

    assert table.schema.equals(SCHEMA)
    assert table["image_id"].to_pylist() == [f"{i:02}.png" for i in range(COUNT)]
    assert set(table["model"].to_pylist()) == {f"./{RANDOM}"}
    assert len(set(table["caption"].to_pylist())) == COUNT  # else an order would not show
    summary = json.loads(wanted.files[1].read_text())
    assert list(summary["weights_sha256"]) == ["pytorch_model.bin"]


def test_whichever_parts_a_kill_leaves_the_table_is_the_same(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ofa, "SIDE", SIDE)
    monkeypatch.setattr(describe, "PART", BATCH)
    plan, wanted = Plan(config.load(study)), artefact()
    kept = Path("kept")
    with monkeypatch.context() as patch:
        patch.setattr(leftovers, "forget", lambda artefact: artefact.state.rename(kept))
        captions.run(plan, wanted)
    table = wanted.path.read_bytes()
    for left in ([], [0], [1], [0, 1]):
        wanted.path.unlink()
        shutil.copytree(kept, wanted.state)
        for n, path in enumerate(sorted(wanted.state.glob("*/*.zip"))):
            if n not in left:
                path.unlink()
        captions.run(plan, wanted)
        assert wanted.path.read_bytes() == table
        assert wanted.begun == []


def test_a_batch_changes_no_caption(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ofa, "SIDE", SIDE)
    captioner = describe.build(Ofa(kind="ofa"), Path(RANDOM), torch.device("cpu"))
    images = [np.asarray(Image.open(path)) for path in sorted(Path("images").iterdir())]
    together = captioner(images)
    assert together == [captioner([image])[0] for image in images]
    assert len(set(together)) == COUNT


def test_other_weights_do_not_go_on_with_a_begun_table(study: Path) -> None:
    wanted = artefact()
    Parts(wanted.state, [range(1)], "other").save(range(1), Part([{"caption": "a cat"}]))
    with pytest.raises(UserError, match=r"\.state/other: begun with other weights"):
        captions.run(Plan(config.load(study)), wanted)


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "pytorch_model.bin"
    weights = torch.load(path, weights_only=True)
    edit(weights)
    torch.save(weights, path)


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "a missing file": (
        lambda folder: (folder / "merges.txt").unlink(),
        r"merges\.txt: is missing; OFA's authors give config\.json, pytorch_model\.bin, v.*base-c",
    ),
    "a weight too few": (
        lambda folder: change(folder, lambda w: w.pop("encoder.layers.0.fc1.weight")),
        r"pytorch_model\.bin: lacks 1 of \d+ weights, first encoder\.layers\.0\.fc1\.weight; give",
    ),
    "all names different": (
        lambda folder: torch.save({"model.x": torch.ones(1)}, folder / "pytorch_model.bin"),
        r"pytorch_model\.bin: lacks \d+ of \d+ weights, first encoder\.embed_tokens\.weight; give",
    ),
    "a layer too many": (
        lambda folder: change(
            folder, lambda w: w.update({"encoder.layers.1.fc1.weight": torch.ones(2)})
        ),
        r"has foreign 1 of \d+ weights, first encoder\.layers\.1\.fc1\.weight",
    ),
    "another width": (
        lambda folder: change(folder, lambda w: w.update({"encoder.pos_ln.bias": torch.ones(33)})),
        r"misfits 1 of \d+ weights, first encoder\.pos_ln\.bias",
    ),
    "words that are not tied": (
        lambda folder: change(
            folder, lambda w: w.update({"decoder.output_projection.weight": torch.ones(3)})
        ),
        r"decoder\.embed_tokens\.weight and decoder\.output_projection\.weight differ",
    ),
    "code instead of weights": (
        lambda folder: torch.save(random_ofa.save, folder / "pytorch_model.bin"),
        r"pytorch_model\.bin: holds more than weights \(random_ofa\.save\), which could run code",
    ),
    "a torn file": (
        lambda folder: os.truncate(folder / "pytorch_model.bin", 10_000),
        r"pytorch_model\.bin: is not a whole file of torch\.save",
    ),
    "another config": (
        lambda folder: (folder / "config.json").write_text('{"model_type": "blip"}'),
        r"config\.json: no OFA: 'resnet_type' is missing",
    ),
    "another function": (
        lambda folder: (folder / "config.json").write_text(
            json.dumps(random_ofa.config(9460) | {"attn_scale_factor": 1.0})
        ),
        r"config\.json: no OFA that can be computed: attn_scale_factor is 1\.0, and only 2\.0",
    ),
    "another vocabulary": (
        lambda folder: (folder / "config.json").write_text(json.dumps(random_ofa.config(59457))),
        r"vocab\.json: with <code_\*> and <bin_\*> it has 9456 tokens, .* says 59457",
    ),
    "no vocabulary": (
        lambda folder: (folder / "vocab.json").write_text("[]"),
        r"vocab\.json: no byte-pair vocabulary \(",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, what: str) -> None:
    folder = random_ofa.save(tmp_path / RANDOM)
    spoil, message = WRONG[what]
    spoil(folder)
    with pytest.raises(UserError, match=message) as raised:
        describe.build(Ofa(kind="ofa", model=str(folder)), folder, torch.device("cpu"))
    assert "\n" not in str(raised.value)


def test_a_model_that_is_not_there(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", "hub")
    content = json.loads(study.read_text())
    for model, message in {
        "./nowhere": r"\./nowhere: no such folder",
        "OFA-Sys/none": r"OFA-Sys/none: not in the hub's cache .*`tacolab data --prefetch`",
    }.items():
        content["captions"]["ofa"]["model"] = model
        study.write_text(json.dumps(content))
        with pytest.raises(UserError, match=message):
            captions.run(Plan(config.load(study)), artefact())
