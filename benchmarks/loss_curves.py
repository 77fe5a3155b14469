"""Loss curves of short real trainings in fp32 and in 16 bits, three seeds each.

    python benchmarks/loss_curves.py DATA --plot docs/figures/training-precision.svg

DATA holds `coco/train2014/` and `coco/annotations/captions_train2014.json` (a part of COCO is
enough). The trainings are the pipeline's own, `tacolab make` one after the other, in a folder of
their own; some minutes on two cores. What is asked: does a precision lie within the spread of the
seeds of the other?
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from tacolab import config
from tacolab.plan import Plan
from tacolab.plan.stages import TRAIN

LMBDA, SEEDS, LOG_EVERY = "0.009", (100, 101, 102), 20
COLOURS = {"fp32": "#0072b2", "bf16": "#d55e00", "fp16": "#009e73"}


def study(data: Path, precisions: list[str], epochs: int) -> dict[str, Any]:
    """An arm per precision, a third of the published widths, crops of 128 pixels."""
    arm = {"text": None, "captions": "human", "extra_seeds": {LMBDA: [*SEEDS[1:]]}}
    return {
        "title": "precision",
        "data_root": str(data.resolve()),
        "lambdas": [LMBDA],
        "datasets": {
            "coco": {
                "kind": "coco",
                "images": "coco/train2014",
                "annotations": "coco/annotations/captions_train2014.json",
                "min_side": 128,
            }
        },
        "captions": {"human": {"kind": "human"}},
        "codec": {"N": 64, "M": 96, "groups": [8, 24, 64]},
        "training": {
            "dataset": "coco",
            "epochs": epochs,
            "crop": 128,
            "learning_rate": 5e-4,
            "milestones": [epochs - 1] if epochs > 1 else [],
            "joint_weight": 0,
            "validation_images": 20,
        },
        "arms": {name: arm | {"training": {"precision": name}} for name in precisions},
        "protocol": {"baseline": precisions[0], "datasets": {}},
        "execution": {"device": "auto", "log_every": LOG_EVERY},
    }


def trained(plan: Plan) -> dict[str, list[list[dict[str, Any]]]]:
    """By precision the histories of its seeds; trains them in the present folder."""
    found: dict[str, list[list[dict[str, Any]]]] = {}
    for model in plan.every(TRAIN):
        for artefact in [*model.inputs.values(), model]:
            command = [sys.executable, "-c", "from tacolab.cli import main; main()", "make"]
            command += [str(artefact.path), "--config", "study.yaml"]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        lines = (model.folder / "state/train.jsonl").read_text().splitlines()
        found.setdefault(model.names["arm"], []).append([json.loads(line) for line in lines])
        print(f"{model}: trained", file=sys.stderr)
    return found


def plot(found: dict[str, list[list[dict[str, Any]]]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    plt.rcParams["svg.hashsalt"] = "tacolab"
    figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
    for precision, seeds in found.items():
        for number, history in enumerate(seeds):
            # The last line is the mean of fewer steps than the others.
            steps = [line for line in history if line.get("step", 1) % LOG_EVERY == 0]
            label = precision if number == 0 else None
            axes.plot(
                [line["step"] for line in steps],
                [line["loss"] for line in steps],
                color=COLOURS[precision],
                linewidth=1,
                label=label,
            )
    axes.set(xlabel="step", ylabel="training loss", yscale="log")
    for axis in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        axis("{x:g}")
    axes.legend(frameon=False, title="three seeds each")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"], choices=[*COLOURS])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--plot", type=Path, help="an SVG file")
    given = parser.parse_args()
    content = study(given.data, given.precisions, given.epochs)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("study.yaml").write_text(yaml.safe_dump(content))
        found = trained(Plan(config.load(Path("study.yaml"))))
    if given.plot:
        plot(found, given.plot)
    print("| precision | validation loss of each seed | mean | last training losses |")
    print("| --- | --- | --- | --- |")
    for precision, seeds in found.items():
        last = [[x["validation"]["loss"] for x in h if "validation" in x][-1] for h in seeds]
        training = [[line["loss"] for line in h if "step" in line][-1] for h in seeds]
        print(
            f"| {precision} | {', '.join(f'{value:.4f}' for value in last)} | "
            f"{statistics.mean(last):.4f} | {', '.join(f'{value:.3f}' for value in training)} |"
        )


if __name__ == "__main__":
    main()
