"""Hundreds of random kills: every training ends with the bits of the undisturbed one.

`make campaign MINUTES=30`; prints the kills per place and stops at the first difference.
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

import small_training
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    numbers = random.Random(arguments.seed)
    kills: Counter[str] = Counter()
    trainings = 0
    end = time.monotonic() + arguments.minutes * 60
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        (work / "prepared").mkdir()
        prepare(work / "prepared")
        undisturbed = small_training.copy_inputs(work / "prepared", work / "undisturbed")
        assert small_training.finish(undisturbed) == 0
        while time.monotonic() < end:
            folder = small_training.copy_inputs(work / "prepared", work / f"{trainings}")
            disturb(folder, numbers, kills)
            assert_equal(
                small_training.model_folder(folder), small_training.model_folder(undisturbed)
            )
            trainings += 1
            print(f"{trainings} trainings, {kills.total()} kills: {dict(kills)}", flush=True)
        os.chdir("/")


if __name__ == "__main__":
    main()
