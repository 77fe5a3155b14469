"""Commands on a disk that is full or read-only: one line, and once there is room all goes on."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from small_disk import mounted, remount
from tacolab import cli

STUDY = """
title: test
lambdas: ["0.015"]
datasets:
  photos: {kind: samples, photos: [chelsea, coffee], min_side: 64}
captions:
  human: {kind: human}
codec: {N: 8, M: 8, groups: [2, 6]}
training: {dataset: photos, crop: 64, joint_weight: 0, validation_images: 1, epochs: 1,
  milestones: [], batch: 1}
arms:
  image-only: {text: null, captions: human}
protocol:
  baseline: image-only
  datasets: {photos: {crop: 64}}
  anchors: {jpeg: [50]}
"""


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """`results/` of a study, a disk of its own that is full."""
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(STUDY)
    with mounted(tmp_path / "results", "size=8k") as place:
        yield place


def tacolab(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *command: str
) -> tuple[int, list[str]]:
    """Exit code, and the lines that are for the reader."""
    monkeypatch.setattr(sys, "argv", ["tacolab", *command, "--config", "study.yaml"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    lines = capsys.readouterr().err.splitlines()
    return int(end.value.code or 0), [line for line in lines if line.startswith("tacolab: ")]


def fill(place: Path) -> None:
    """To the last byte."""
    with (place / "full").open("wb", buffering=0) as file, pytest.raises(OSError, match="space"):
        while file.write(bytes(4096)):
            pass


def test_every_stage_says_it_in_one_line_and_goes_on(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (
        ["data", "photos"],
        ["captions", "photos", "human"],
        ["anchors", "photos", "jpeg"],
        ["train", "image-only", "0.015"],
        ["evaluate", "image-only", "0.015", "photos"],
        ["report"],
    ):
        fill(results)
        code, lines = tacolab(monkeypatch, capsys, *command)
        assert code == 1 and len(lines) == 1
        assert lines[0].startswith("tacolab: results/")
        assert "the disk or the quota is full: " in lines[0]
        assert lines[0].endswith("make room, and the same command goes on")
        remount(results, "size=100m")
        (results / "full").unlink()
        assert tacolab(monkeypatch, capsys, *command) == (0, [])


def test_a_read_only_disk_is_named(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    remount(results, "ro")
    code, lines = tacolab(monkeypatch, capsys, "data", "photos")
    assert code == 1 and len(lines) == 1
    assert "results/data: the disk is read-only; mount it for writing" in lines[0]
