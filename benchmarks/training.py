"""One training step of the published way against ours: time and peak memory, in turns.

    python benchmarks/training.py                       a table, some minutes on two cores
    python benchmarks/training.py --joint --batch 4     with L_joint: CLIP of its size, random
    python benchmarks/training.py --device cuda --batch 8 16 32 --ours fp32 fp16

The published way is re-created here: eager fp32 with the channels first, captions through the text
tower twice, every network in the graph, an optimiser that is not fused, and each step waited for.
Both take the same samples, noise and first weights; their losses over the first steps are compared.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from tacolab.codec import Elic, Taco
from tacolab.codec.precision import train_in
from tacolab.config import Training
from tacolab.stages.train.losses import Joint, RateDistortion
from tacolab.stages.train.samples import StepNoise

SIDE, TOKENS, LMBDA = 256, 38, 0.009


def towers() -> Any:
    """CLIP ViT-B/32 in its real size, with random weights."""
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(1)
    vision = {"patch_size": 32, "hidden_size": 768, "num_hidden_layers": 12, "image_size": 224}
    vision |= {"num_attention_heads": 12, "intermediate_size": 3072}
    return CLIPModel(CLIPConfig(vision_config=vision))


@dataclass
class Batch:
    """Photo-like noise in [0, 1], captions as tokens, hidden states of a text encoder."""

    x: Tensor
    ids: Tensor
    mask: Tensor

    @classmethod
    def made(cls, step: int, size: int, device: torch.device) -> Batch:
        torch.manual_seed(step)
        coarse = torch.rand(size, 3, SIDE // 16, SIDE // 16)
        x = nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic").clamp(0, 1)
        ids = torch.randint(1, 49000, (size, TOKENS))
        ids[:, -1] = 49407
        return cls(x.to(device), ids.to(device), torch.ones_like(ids).to(device))


class Side:
    """A network, its losses and optimisers, and a step of them."""

    def __init__(self, name: str, device: torch.device, joint: bool, n: int) -> None:
        self.name, self.device, self.published = name, device, name == "published"
        precision = "fp32" if self.published else name
        recipe = Training.model_validate(
            {"dataset": "set", "joint_weight": 0, "precision": precision}
        )
        torch.manual_seed(0)
        groups = (16, 16, 32, 64, 192) if n == 192 else (n // 12, n // 12, n // 6, n // 3, n)
        self.net: Elic = Taco(n, sum(groups), groups) if joint else Elic(n, sum(groups), groups)
        self.net = self.net.to(device)
        self.criterion = RateDistortion(recipe, LMBDA).to(device)
        self.recipe = recipe
        if joint:
            clip = towers().to(device)
            self.criterion.joint = Joint(clip, recipe.joint_distance_weight, self.criterion.dtype)
            self.clip = clip
            if self.published:
                clip.requires_grad_(True)
        self.joint = joint
        named = list(self.net.named_parameters())
        aux = [p for name, p in named if name.endswith(".quantiles")]
        self.main = [p for name, p in named if not name.endswith(".quantiles")]
        if not self.published:
            self.net = self.net.to(memory_format=torch.channels_last)
            train_in(self.net, recipe.precision)
        fused = not self.published
        self.optimizer = torch.optim.Adam(self.main, lr=1e-4, fused=fused or None)
        self.aux_optimizer = torch.optim.Adam(aux, lr=1e-3, fused=fused or None)
        self.scaler = torch.amp.GradScaler(device.type, enabled=name == "fp16")
        self.step_number = 0

    def step(self, batch: Batch) -> Tensor:
        """The loss terms, on the device."""
        noise = StepNoise(100, self.step_number, range(len(batch.x)))
        self.step_number += 1
        x, hidden, joint = batch.x, None, None
        if not self.published:
            x = x.contiguous(memory_format=torch.channels_last)
        if self.joint:
            tower = self.clip.text_model
            with torch.set_grad_enabled(self.published):
                hidden = tower(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state
            text = hidden.detach()
            out = self.net(x, text, noise)
            known = None if self.published else hidden
            assert self.criterion.joint is not None
            joint, self.criterion.joint = self.criterion.joint, None
            losses = self.criterion(out, x, [], hidden=None)
            self.criterion.joint = joint
            extra = joint(x, out["x_hat"], batch.ids, batch.mask, hidden=known)
            total = losses.total + 0.0025 * extra
        else:
            out = self.net(x, None, noise)
            losses = self.criterion(out, x, [])
            total = losses.total
        self.optimizer.zero_grad()
        self.scaler.scale(total).backward()
        self.scaler.unscale_(self.optimizer)
        norm = clip_grad_norm_(self.main, 1.0)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.aux_optimizer.zero_grad()
        aux = self.net.aux_loss()
        aux.backward()
        self.aux_optimizer.step()
        terms = torch.stack([total.detach(), losses.bpp.detach(), losses.mse.detach(), norm])
        if self.published:
            terms.tolist()
        return terms


def timed(side: Side, batch: Batch) -> float:
    started = time.perf_counter()
    side.step(batch)
    if side.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def peak(name: str, given: argparse.Namespace, size: int) -> float:
    """MiB that a process of its own needs at most for three steps, libraries included.

    What is freed goes back to the system at once: else this would measure glibc's hoarding.
    """
    command = [sys.executable, __file__, "--peak-of", name, "--batch", str(size)]
    command += ["--device", given.device, "--channels", str(given.channels)]
    command += ["--joint"] if given.joint else []
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return float(done.stdout.splitlines()[-1])


def print_peak(name: str, given: argparse.Namespace) -> None:
    device = torch.device(given.device)
    side = Side(name, device, given.joint, given.channels)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far was that of the parent
    for step in range(3):
        side.step(Batch.made(step, given.batch[0], device))
    if device.type == "cuda":
        print(torch.cuda.max_memory_allocated() / 2**20)
    else:
        status = dict(
            line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines()
        )
        print(int(status["VmHWM"].split()[0]) / 1024)  # "1234 kB"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--batch", type=int, nargs="+", default=[8])
    parser.add_argument("--ours", nargs="+", default=["fp32", "bf16"], help="precisions")
    parser.add_argument("--joint", action="store_true", help="text adapter and L_joint")
    parser.add_argument("--rounds", type=int, default=5, help="steps of each, in turns")
    parser.add_argument("--channels", type=int, default=192, help="N; smaller for a quick look")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peak_of:
        print_peak(given.peak_of, given)
        return
    device = torch.device(given.device)
    names = ["published", *given.ours]
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads")
    for size in given.batch:
        sides = [Side(name, device, given.joint, given.channels) for name in names]
        losses: dict[str, list[float]] = {side.name: [] for side in sides}
        for step in range(5):  # the first of them also warm up
            batch = Batch.made(step, size, device)
            for side in sides:
                losses[side.name].append(side.step(batch)[0].item())
        seconds: dict[str, list[float]] = {side.name: [] for side in sides}
        for step in range(5, 5 + given.rounds):
            batch = Batch.made(step, size, device)
            for side in sides:
                seconds[side.name].append(timed(side, batch))
        del sides, side
        gc.collect()
        memory = {name: peak(name, given, size) for name in names}
        base = seconds["published"]
        print(f"\nbatch {size}{', with L_joint' if given.joint else ''}")
        print("| way | s per step | times as fast | samples/s | peak MiB | of published | loss |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for name in names:
            ratios = [a / b for a, b in zip(base, seconds[name], strict=True)]
            median = statistics.median(seconds[name])
            differs = max(
                abs(a / b - 1) for a, b in zip(losses[name], losses["published"], strict=True)
            )
            print(
                f"| {name} | {median:.3f} | {statistics.median(ratios):.2f} "
                f"({min(ratios):.2f}-{max(ratios):.2f}) | {size / median:.2f} | "
                f"{memory[name]:.0f} | {memory[name] / memory['published']:.0%} | "
                f"{differs:.1e} off at most |"
            )


if __name__ == "__main__":
    main()
