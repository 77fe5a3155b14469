"""Everything that changes during training, and what a checkpoint holds.

Not saved, because they are pure functions of seed, epoch and step: sample order, crops, noise,
learning rate (see samples.py, loop.py).
"""

import json
import logging
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tacolab.codec.elic import Elic
from tacolab.config import Training
from tacolab.errors import UserError
from tacolab.plan import Artefact
from tacolab.stages.train import checkpoint, distributed
from tacolab.stages.train.loss_history import LossHistory

log = logging.getLogger(__name__)


@dataclass
class TrainState:
    """The model, its optimisers, and the counters of the loop."""

    model: Elic
    optimizer: torch.optim.Adam
    aux_optimizer: torch.optim.Adam  # the entropy bottleneck's quantiles
    scaler: torch.amp.GradScaler  # of the loss in fp16, whose small gradients would be 0
    step: int = 0
    skipped: int = 0  # steps in a row whose gradients were too large for fp16
    sums: dict[str, float] = field(default_factory=dict)  # of the terms since the last log line
    summed: int = 0  # steps in the sums
    best: dict[str, float] = field(default_factory=dict)  # best validation: step, loss
    last: dict[str, float] = field(default_factory=dict)  # last validation
    seconds: float = 0.0  # of training, over all segments

    @classmethod
    def fresh(cls, model: Elic, recipe: Training, device: torch.device) -> "TrainState":
        named = list(model.named_parameters())
        aux = [p for name, p in named if name.endswith(".quantiles")]
        main = [p for name, p in named if not name.endswith(".quantiles")]
        return cls(
            model,
            torch.optim.Adam(main, lr=recipe.learning_rate, fused=True),
            torch.optim.Adam(aux, lr=recipe.aux_learning_rate, fused=True),
            torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16"),
        )

    def main_parameters(self) -> list[torch.nn.Parameter]:
        """What the main optimiser moves; its gradient is clipped."""
        parameters: list[torch.nn.Parameter] = self.optimizer.param_groups[0]["params"]
        return parameters

    def save(self, folder: Path, artefact: Artefact, history: LossHistory, generation: int) -> None:
        """Write a checkpoint of this instant; the history becomes durable first."""
        content = {
            "generation": generation,
            "key": artefact.key,
            "recipe": json.dumps(artefact.ingredients, sort_keys=True),
            "history_bytes": history.sync(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "aux_optimizer": self.aux_optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "skipped": self.skipped,
            "sums": self.sums,
            "summed": self.summed,
            "best": self.best,
            "last": self.last,
            "seconds": self.seconds,
            "rng": torch.get_rng_state(),
            **_machine(),
        }
        checkpoint.save(folder, content)
        history.forget(checkpoint.oldest_generation(folder))

    def restore(self, content: dict[str, Any], artefact: Artefact, folder: Path) -> None:
        """Continue from a checkpoint. Raises UserError when it belongs to something else."""
        if content["key"] != artefact.key:
            raise UserError(
                f"{folder}: holds the state of another training "
                f"({_difference(content, artefact)}); move it away to start in an empty folder"
            )
        for name, now in _machine().items():
            if content[name] != now:
                log.warning(
                    "%s was %s when the checkpoint was taken and is %s now: the run goes on, but "
                    "equality to the bit with an uninterrupted one is lost",
                    name,
                    content[name],
                    now,
                )
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.aux_optimizer.load_state_dict(content["aux_optimizer"])
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(content["scaler"])
        self.step, self.skipped = content["step"], content.get("skipped", 0)
        self.sums, self.summed = content["sums"], content["summed"]
        self.best, self.last = content["best"], content["last"]
        self.seconds = content["seconds"]
        torch.set_rng_state(content["rng"])


def _machine() -> dict[str, int | str]:
    """What equality to the bit depends on besides the recipe."""
    return {
        "world_size": distributed.world_size(),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "processor": platform.machine(),
    }


def _difference(content: dict[str, Any], artefact: Artefact) -> str:
    """The first differing part of two recipes, for a message."""
    theirs, ours = json.loads(content["recipe"]), artefact.ingredients
    for part in ("recipe", "spec", "inputs"):
        old, new = theirs.get(part), ours[part]
        if isinstance(old, dict) and isinstance(new, dict):
            for name in sorted(old.keys() | new.keys()):
                if old.get(name) != new.get(name):
                    return f"{part}.{name}: {old.get(name)} there, {new.get(name)} here"
        elif old != new:
            return f"{part}: {old} there, {new} here"
    return f"key {content['key']} there, {artefact.key} here"
