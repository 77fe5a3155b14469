"""Puts the trained small models into the package, in half the size.

    python workflow/small_models/bundle.py --set data_root=data

Reads the models that `config/small.yaml` means below `results/`. Writes them with weights in fp16
and coding tables that are made of these, their descriptions, `SHA256SUMS`, and beside this file the
losses of their trainings with a figure.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from matplotlib.figure import Figure
from safetensors.torch import load_file, save
from torch import Tensor

from tacolab import config
from tacolab.codec import Elic, Taco, bundled
from tacolab.files import atomic, intact
from tacolab.plan import Artefact, Plan
from tacolab.plan.stages import TRAIN

HERE = Path(__file__).parent
RATES = dict(zip(("0.002", "0.008", "0.03"), bundled.RATES, strict=True))  # by lambda


def halved(weights: dict[str, Tensor], kind: type[Elic]) -> dict[str, Tensor]:
    """Parameters in fp16, with the coding tables of what they have become.

    Buffers stay: 1e-9, the least likelihood, would be 0.
    """
    network = kind.from_state_dict(weights)
    parameters = {name for name, _ in network.named_parameters()}
    rounded = {n: value.half() if n in parameters else value for n, value in weights.items()}
    exported = kind.from_state_dict(rounded).exported()
    return {n: value.half() if n in parameters else value for n, value in exported.items()}


def bundle(name: str, model: Artefact) -> None:
    """Write the model file and its description."""
    told = json.loads(model.path.with_name("model.json").read_text(encoding="utf-8"))
    kind = Taco if told["text"]["spec"]["text"] else Elic
    target = bundled.MODELS / name / "model.safetensors"
    target.parent.mkdir(parents=True, exist_ok=True)
    weights = halved(load_file(model.path), kind)
    atomic.write_bytes(target, save(weights, {"made_by": f"{model}, in fp16"}))
    told |= {"name": name, "sha256": intact.sha256(target)}
    for private in ("host", "command"):  # of whoever trained it
        told["provenance"].pop(private)
    atomic.write_json(target.with_name("model.json"), told)


def draw(losses: dict[str, Path], path: Path) -> None:
    """The loss of each training by its step."""
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    for name, history in losses.items():
        lines = [json.loads(line) for line in history.read_text().splitlines()]
        steps = [line for line in lines if "step" in line]
        axes.plot([s["step"] for s in steps], [s["loss"] for s in steps], linewidth=1, label=name)
    axes.set(xlabel="step", ylabel="training loss", yscale="log")
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=Path("config/small.yaml"))
    parser.add_argument("--set", default="data_root=data", help="data_root=FOLDER")
    parser.add_argument("--only", nargs="+", choices=[*bundled.RATES, bundled.TEXT])
    given = parser.parse_args()
    plan = Plan(config.load(given.config, [given.set]))
    losses = {}
    for model in plan.every(TRAIN):
        text = plan.study.arms[model.names["arm"]].text
        name = bundled.TEXT if text else RATES[model.names["lmbda"]]
        if given.only and name not in given.only:
            continue
        bundle(name, model)
        losses[name] = HERE / "losses" / f"{name}.jsonl"
        losses[name].parent.mkdir(exist_ok=True)
        shutil.copy(model.folder / "state/train.jsonl", losses[name])
        print(f"{bundled.path(name)}: {bundled.path(name).stat().st_size / 1e6:.2f} MB")
    draw(losses, HERE / "losses.svg")
    files = sorted(bundled.MODELS.glob("*/model.safetensors"))
    sums = [f"{bundled.sha256(file.parent.name)}  {file.parent.name}/{file.name}" for file in files]
    content = "\n".join(sums) + "\n"
    atomic.write_bytes(bundled.MODELS / "SHA256SUMS", content.encode())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
