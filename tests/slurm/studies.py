"""Small studies in folders of their own: a head on the cluster, faults that wait for a step."""

import atexit
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import yaml

import small_training

ROOT = Path(__file__).parents[2]
# A Snakemake that asks SLURM more often, and the rest of this environment.
BIN = [Path(__file__).parent / "bin", Path(sys.executable).parent]
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("SLURM_")},
    "PATH": os.pathsep.join([*map(str, BIN), os.environ["PATH"]]),
    "PYTHONPATH": str(ROOT / "workflow"),
    "OMP_NUM_THREADS": "1",
}

# Epochs of five steps each. A shorter training is the beginning of a longer one, to the bit.
FEW, STEPS, PER_EPOCH = 50, 100, 5
LIMIT = 30  # minutes of a job
MINUTES = 40  # until anything that is waited for counts as lost; a busy machine is no failure
STEP_LINES = 10  # steps between two lines of train.jsonl

_preparing = threading.Lock()
_prepared: list[Path] = []  # results of the first study that was prepared


class Study:
    """A study of one arm in `folder`, and its head."""

    def __init__(
        self,
        folder: Path,
        steps: int = STEPS,
        lambdas: tuple[str, ...] = ("0.01",),
        warning: int | None = 10,
        runtime: int = LIMIT,
        retries: int = 1,
        gpus: int = 1,
        options: str = "",
        own_code: bool = False,
        **execution: Any,
    ) -> None:
        """runtime: minutes. warning: seconds before the time limit at which SLURM sends SIGURG;
        None: never. options: of sbatch, for the training. own_code: a checkout that no other
        study runs."""
        self.folder, self.lambdas, self.steps = folder, lambdas, steps
        self.noted: Any = None  # by a scenario, on its way
        folder.mkdir(exist_ok=True)
        self.checkout = folder / "checkout" if own_code else ROOT
        for name in ("Snakefile", "workflow", "envs") if own_code else ():
            source, copy = ROOT / name, self.checkout / name
            copy.parent.mkdir(exist_ok=True)
            shutil.copytree(source, copy) if source.is_dir() else shutil.copy(source, copy)
        self.environment = ENVIRONMENT | {"PYTHONPATH": str(self.checkout / "workflow")}
        study = small_training.study(
            training={
                "epochs": steps // PER_EPOCH if gpus == 1 else steps,
                "batch": 1 if gpus == 1 else 4,  # five captions: five steps per epoch, or one
                "milestones": [],
                "export_epochs": [FEW // PER_EPOCH] if steps > FEW else [],
            },
            execution={
                "device": "cpu",
                "gpus": gpus,
                "workers": 0,
                "log_every": STEP_LINES,
                "validate_every": FEW // PER_EPOCH if gpus == 1 else FEW,
                "checkpoint_minutes": 0.02,
                "margin_seconds": None,
                "lease_seconds": 12,
                **execution,
            },
            lambdas=list(lambdas),
            arms={"image-only": {"text": None, "captions": "human"}},
        )
        study["protocol"]["baseline"] = "image-only"
        (folder / "study.yaml").write_text(yaml.safe_dump(study))
        (folder / "profile").mkdir(exist_ok=True)
        profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
        train = profile["set-resources"]["train"]
        train |= {"runtime": runtime, "slurm_partition": "long", "mem_mb": 1000, "gpu": gpus}
        signal_option = f"--signal=URG@{warning} " if warning else ""
        train["slurm_extra"] = f"'{options}{signal_option}--open-mode=append'"
        profile["default-resources"] |= {"runtime": 5, "mem_mb": 1000}
        profile["set-resources"]["captions"]["runtime"] = 5
        profile["set-threads"]["train"] = 1
        profile |= {
            "retries": retries,
            "latency-wait": 5,
            "slurm-init-seconds-before-status-checks": 5,
        }
        (folder / "profile/config.yaml").write_text(yaml.safe_dump(profile))

    def head(self, until: str = "train") -> subprocess.Popen[bytes]:
        """The command that a person types, in the background; its words go to head.log."""
        with (self.folder / "head.log").open("ab") as log:
            head = subprocess.Popen(
                [
                    *("snakemake", "--snakefile", str(self.checkout / "Snakefile")),
                    *("--profile", "profile"),
                    *("--until", until, "--configfile", "study.yaml"),
                ],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        atexit.register(head.kill)  # also of a scenario that failed
        return head

    def run(self, until: str = "train") -> int:
        """A head until its end; its exit code."""
        return self.finish(self.head(until))

    def finish(self, head: subprocess.Popen[bytes]) -> int:
        """Wait for the end of a head; its exit code."""
        try:
            return head.wait(MINUTES * 60)
        finally:
            head.kill()

    def tacolab(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["tacolab", *command, "-c", "study.yaml"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
        )

    def prepare(self) -> None:
        """Data and captions, without SLURM. All studies have the same: the first one makes them."""
        with _preparing:
            if _prepared:
                for name in ("data", "captions"):
                    shutil.copytree(_prepared[0] / name, self.folder / "results" / name)
                return
            for command in (("data", "set"), ("captions", "set", "human")):
                done = self.tacolab(*command)
                assert done.returncode == 0, done.stderr
            _prepared.append(self.folder / "results")

    def train_here(self) -> None:
        """The whole training without SLURM, in one go."""
        self.prepare()
        done = self.tacolab("train", "image-only", self.lambdas[0], "--threads", "1")
        assert done.returncode == 0, done.stderr

    def model(self, lmbda: str = "") -> Path:
        """The folder of the one model of this lambda."""
        found = self.folder.glob(f"results/models/image-only/{lmbda or self.lambdas[0]}/100/*")
        (folder,) = (path for path in found if path.is_dir())
        return folder

    @property
    def state(self) -> Path:
        return self.model() / "state"

    def segments(self) -> list[dict[str, Any]]:
        lines = (self.state / "segments.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def starts(self) -> list[dict[str, Any]]:
        return [line for line in self.segments() if line["event"] == "start"]

    def ends(self) -> list[dict[str, Any]]:
        """Of the segments that ended in order; none before the first has begun."""
        try:
            return [line for line in self.segments() if line["event"] == "end"]
        except (OSError, ValueError):
            return []

    def jobs(self, rule: str = "train") -> list[int]:
        """SLURM jobs of a rule, in the order in which they were submitted."""
        text = (self.folder / "head.log").read_text()
        submitted = re.findall(r"SLURM jobid (\d+) \(log: (\S+)\)", text)
        return [int(job) for job, log in submitted if f"rule_{rule}" in log]

    def queue(self, partition: str = "") -> dict[int, str]:
        """State of each job of this folder that SLURM has not ended yet."""
        option = [f"--partition={partition}"] if partition else []
        lines = slurm("squeue", "--noheader", "--format=%i %T %Z", *option).splitlines()
        jobs = (line.split(maxsplit=2) for line in lines)
        return {int(job): state for job, state, folder in jobs if folder == str(self.folder)}

    def wait_for_step(self, step: int, after: int = 0) -> None:
        """Until train.jsonl holds this step, written by a generation above `after`."""

        def reached() -> bool:
            try:
                history = self.state / "train.jsonl"
                generation = int(history.readlink().stem.split("-")[1])
                lines = history.read_text().splitlines()
            except (OSError, ValueError):
                return False
            steps = [json.loads(line).get("step", 0) for line in lines if line.endswith("}")]
            return generation > after and max(steps, default=0) >= step

        wait(f"step {step} in {self.folder.name}", reached)

    def trainer(self) -> int:
        """Process of the present trainer."""
        newest = max(self.state.glob("lease-*.json"))
        pid: int = json.loads(newest.read_text())["pid"]
        return pid

    def runner(self, job: int) -> psutil.Process:
        """The Snakemake in a SLURM job that starts its step and judges it; waits for it."""
        found: list[psutil.Process] = []

        def look() -> bool:
            for process in psutil.process_iter(["cmdline", "environ"]):
                command, environment = process.info["cmdline"], process.info["environ"] or {}
                if (
                    "slurm-jobstep" in (command or [])
                    and environment.get("SLURM_JOB_ID") == f"{job}"
                ):
                    found.append(process)
            return bool(found)

        wait(f"Snakemake in job {job}", look)
        return found[0]

    @contextmanager
    def frozen(self) -> Iterator[int]:
        """The present trainer, stopped meanwhile."""
        trainer = self.trainer()
        os.kill(trainer, signal.SIGSTOP)
        try:
            yield trainer
        finally:
            with suppress(ProcessLookupError):
                os.kill(trainer, signal.SIGCONT)

    def asked(self) -> bool:
        """Whether a newcomer has asked the present trainer for its folder."""
        return any(self.state.glob("handover-*"))

    def log(self) -> str:
        """What heads, SLURM's jobs and trainers said."""
        parts = [self.folder / "head.log", *self.folder.glob("results/logs/**/*.log")]
        parts += self.folder.glob("results/models/**/train.log")
        return "\n".join(f"--- {path}\n{path.read_text()}" for path in parts if path.exists())

    def assert_equal(self, reference: "Study", lmbda: str = "") -> None:
        """Weights and history are those of the undisturbed training, to the bit."""
        from safetensors.torch import load_file

        model = self.model(lmbda)
        ours = load_file(model / "model.safetensors")
        whole = self.steps == reference.steps
        name = "model.safetensors" if whole else f"epoch-{self.steps // PER_EPOCH}.safetensors"
        theirs = load_file(reference.model() / name)
        assert ours.keys() == theirs.keys()
        assert all(ours[key].equal(theirs[key]) for key in ours)
        history = (model / "state/train.jsonl").read_bytes()
        assert (reference.state / "train.jsonl").read_bytes().startswith(history)
        lines = [json.loads(line) for line in history.splitlines()]
        steps = [line["step"] for line in lines if "step" in line]
        assert steps == list(range(STEP_LINES, self.steps + 1, STEP_LINES))


def wait(what: str, happened: Callable[[], object]) -> None:
    """Look twice a second; fails loudly rather than for ever."""
    end = time.monotonic() + MINUTES * 60
    while not happened():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.5)


def slurm(*command: str) -> str:
    """The output of one of SLURM's commands."""
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout.strip()


def limit(job: int, minutes: int | None = None) -> None:
    """Set the time limit of a job; None: about a minute from now.

    A scenario does so once the job is at work: on a busy machine loading alone may last longer
    than any limit that would be short enough for a test.
    """
    if minutes is None:
        ran = slurm("squeue", "--noheader", f"--jobs={job}", "--format=%M").split(":")
        minutes = int(ran[-2]) + (1 if int(ran[-1]) < 15 else 2)
    update = ("scontrol", "update", f"jobid={job}", f"timelimit={minutes}")
    # Refused while a job that is queued again is still being ended.
    wait(
        f"another limit of job {job}",
        lambda: not subprocess.run(update, env=ENVIRONMENT, capture_output=True).returncode,
    )


def roused(pid: int) -> bool:
    """Whether a signal has come to a stopped process. SLURM itself lets it go on then."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True
    stopped = re.search(r"^State:\tT", status, re.M)
    return not stopped or bool(re.search(r"^(Sig|Shd)Pnd:\t.*[1-9a-f]", status, re.M))


def job_state(job: int) -> str:
    """As in SLURM's accounts: COMPLETED, TIMEOUT, CANCELLED ..."""
    text = slurm("sacct", "-X", "-n", "-P", "-j", str(job), "-o", "State")
    return text.split()[0] if text else ""


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
