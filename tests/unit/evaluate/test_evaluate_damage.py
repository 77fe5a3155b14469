"""A damaged file of an earlier stage ends a step with one line that names it and the remedy."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import small_evaluation
import torch
from safetensors.torch import load_file, save_file

from running import run_stage
from tacolab.errors import UserError


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def change(path: Path) -> None:
    """A bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def take_out(path: Path) -> None:
    """The last member of an archive."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()[:-1]}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def deepen(path: Path) -> None:
    """Brackets within brackets, more than a parser goes down."""
    path.write_text('{"text": ' + "[" * 100_000)


def other_json(path: Path) -> None:
    path.write_text("[]")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def refused(path: Path, step: Callable[[], object]) -> None:
    with pytest.raises(UserError, match=r"(damaged|JSON).*delete .* again") as raised:
        step()
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *(("streams.zip", damage) for damage in (cut, change, take_out, empty)),
        *(("codes.parquet", damage) for damage in (cut, change, empty)),
        *(("codes.json", damage) for damage in (cut, deepen, other_json)),
    ],
)
def test_a_coding_that_is_damaged(
    undisturbed: Path, monkeypatch: pytest.MonkeyPatch, name: str, damage: Callable[[Path], None]
) -> None:
    monkeypatch.chdir(undisturbed)
    plan = small_evaluation.plan()
    metrics = small_evaluation.find(plan, "metrics")
    path = metrics.inputs["codes"].folder / name
    before = path.read_bytes()
    damage(path)
    try:
        refused(path, lambda: run_stage(plan, metrics, threads=1))
    finally:
        path.write_bytes(before)


def test_a_model_with_other_numbers_than_were_trained(folder: Path) -> None:
    """Neither safetensors nor the codec would notice."""
    plan = small_evaluation.plan()
    code = small_evaluation.find(plan, "code")
    path = code.inputs["model"].path
    weights = load_file(path)
    name = next(name for name, weight in weights.items() if weight.dtype == torch.float32)
    weights[name][0] += 1
    save_file(weights, path)
    refused(path, lambda: run_stage(plan, code, threads=1))
