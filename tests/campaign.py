"""What is too long for every day: kills by the hundred, and damaged files by the hundred thousand.

`make campaign`, or one part of it: `make campaign KILLS=0 DAMAGED=0 MINUTES=30`. Prints counts and
stops at the first difference or fault; docs/reliability.md has those of the last one.

- trainings, killed for MINUTES at known places and by the clock: the same bits in the end;
- whole studies, killed KILLS times at random moments: the same results in the end;
- DAMAGED files: read rightly or refused.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "unit"))
sys.path.insert(0, str(Path(__file__).parent / "unit" / "train"))

import fuzz
import small_training
import whole_runs
from equality import assert_equal
from tacolab import config
from tacolab.plan import Plan
from tacolab.stages import captions, data


def prepare(folder: Path) -> None:
    """Packed photos and captions of the small study."""
    os.chdir(folder)
    plan = Plan(config.validate(small_training.study(), "campaign"))
    data.run(plan, plan.find("data", dataset="set"))
    captions.run(plan, plan.find("captions", dataset="set"))


def disturb(folder: Path, numbers: random.Random, kills: Counter[str]) -> None:
    """Train to the end, killed a few times on the way: at known places and by the clock."""
    for _ in range(numbers.randint(1, 12)):
        if numbers.random() < 0.3:
            process = small_training.start(folder)
            process.join(numbers.uniform(0.5, 4))
            process.kill()
            process.join()
            place = "by the clock"
        else:
            place, n = small_training.random_place(numbers)
            process = small_training.start(folder, sabotage=(place, n))
            process.join(240)
        if process.exitcode == -signal.SIGKILL:
            kills[place] += 1
        elif process.exitcode == 0:
            return  # the training was over before that pass of the place
        else:
            raise SystemExit(f"{place}: the training failed with {process.exitcode} in {folder}")
    if small_training.finish(folder) != 0:
        raise SystemExit(f"the training failed in {folder}")


def trainings(minutes: float, numbers: random.Random, work: Path) -> None:
    """Trainings that are killed and continued, for some minutes."""
    kills: Counter[str] = Counter()
    done = 0
    end = time.monotonic() + minutes * 60
    (work / "prepared").mkdir()
    prepare(work / "prepared")
    undisturbed = small_training.copy_inputs(work / "prepared", work / "undisturbed")
    if small_training.finish(undisturbed) != 0:
        raise SystemExit("the undisturbed training failed")
    while time.monotonic() < end:
        folder = small_training.copy_inputs(work / "prepared", work / f"{done}")
        disturb(folder, numbers, kills)
        assert_equal(small_training.model_folder(folder), small_training.model_folder(undisturbed))
        done += 1
        print(f"{done} trainings, {kills.total()} kills: {dict(kills)}", flush=True)
    os.chdir("/")


def studies(kills: int, numbers: random.Random, work: Path) -> None:
    """Whole studies, each killed some ten times, until there have been as many kills."""
    undisturbed = whole_runs.prepare(work / "whole", whole_runs.STUDY)
    whole_runs.finish(undisturbed)
    killed: Counter[str] = Counter()
    done = 0
    while killed.total() < kills:
        folder = whole_runs.prepare(work / f"whole-{done}", whole_runs.STUDY)
        whole_runs.disturb(folder, min(17, kills - killed.total()), numbers, killed)
        whole_runs.finish(folder)
        if differing := whole_runs.difference(folder, undisturbed):
            raise SystemExit(f"{folder}: not as undisturbed: {', '.join(differing)}")
        done += 1
        print(f"{done} studies, {killed.total()} kills: {dict(killed)}", flush=True)


def damaged(count: int, seed: int) -> None:
    """Files of every kind."""
    found = fuzz.run(seed, count)
    print(found.table(), *found.faults, sep="\n", flush=True)
    if found.faults:
        raise SystemExit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--damaged", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    numbers = random.Random(arguments.seed)
    print(f"seed {arguments.seed}", flush=True)
    if arguments.damaged:
        damaged(arguments.damaged, arguments.seed)
    with tempfile.TemporaryDirectory() as work:
        if arguments.kills:
            studies(arguments.kills, numbers, Path(work))
        if arguments.minutes:
            trainings(arguments.minutes, numbers, Path(work))


if __name__ == "__main__":
    main()
