"""Where a stage computes, and whether this build of torch has code for the GPU at all."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Literal

import torch

from tacolab.errors import UserError

WHEELS = "https://download.pytorch.org/whl/cu126"
OLD_CARDS = f"take torch 2.14 from its CUDA 12.6 wheels, which have it ({WHEELS})"


def pick_device(name: Literal["auto", "cpu", "cuda"], threads: int | None = None) -> torch.device:
    """`auto` is a GPU where there is one. Ask first of all: what fails here fails in seconds.

    threads: of torch on the CPU, from now on.

    Raises UserError for a GPU that this build of torch cannot use, and where a GPU was given or
    asked for and torch sees none: days on the CPU would be no help.
    """
    if threads:
        torch.set_num_threads(threads)
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        given = gpu_given(os.environ)
        if name == "auto" and not given:
            return torch.device("cpu")
        what = "SLURM gave this job a GPU" if given else "execution.device = cuda"
        raise UserError(
            f"{what}, but torch sees none: {why_none()}; `tacolab doctor` on that machine tells "
            "more. To compute on the CPU all the same, set execution.device: cpu"
        )
    problem = unusable(
        torch.cuda.get_device_name(),
        torch.cuda.get_device_capability(),
        torch.cuda.get_arch_list(),
        torch.version.cuda,
    )
    if problem:
        raise UserError(problem)
    return torch.device("cuda")


def unusable(
    name: str, capability: tuple[int, int], arch_list: Sequence[str], cuda: str | None
) -> str | None:
    """Why torch cannot compute on a GPU, with the remedy; None when it can.

    capability: (major, minor), like (7, 0) for a V100. arch_list: what torch was compiled for:
    machine code `sm_XY` runs on the same major from that minor on, `compute_XY` (PTX) on all from
    it on; with an `a` only on that very one. cuda: version of that build; None: for CPUs only.
    """
    arches = [
        (match[1], (int(match[2]), int(match[3])), match[4])
        for arch in arch_list
        if (match := re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", arch))
    ]
    for kind, built, only in arches:
        if only == "a":
            runs = capability == built
        elif kind == "compute" and not only:
            runs = capability >= built
        else:
            runs = capability[0] == built[0] and capability[1] >= built[1]
        if runs:
            return None
    card = f"{name} (sm_{capability[0]}{capability[1]})"
    if not arches:  # AMD's architectures are called gfx...: nothing is known of these
        return (
            None
            if arch_list
            else f"{card}: this torch is built for CPUs only; install one for CUDA"
        )
    newest, oldest = max(built for _, built, _ in arches), min(built for _, built, _ in arches)
    remedy = OLD_CARDS if capability < oldest else "take a torch that is built for a newer CUDA"
    return (
        f"{card}: this torch, built for CUDA {cuda}, has code for sm_{oldest[0]}{oldest[1]} to "
        f"sm_{newest[0]}{newest[1]} and none for this card: every kernel would fail; {remedy}"
    )


def advice(capability: tuple[int, int]) -> str:
    """What is right for a card of this generation, beside plain fp32."""
    if capability >= (8, 0):
        return "bf16 is right for it"
    if capability >= (7, 0):
        return "fp16 is right for it (it has no bf16)"
    return "plain fp32 without torch.compile is right for it (slow fp16, too old for Triton)"


def gpu_given(environment: Mapping[str, str]) -> bool:
    """Whether SLURM gave a GPU to the job with this environment.

    CUDA_VISIBLE_DEVICES does not say: a job without GPU inherits that of the shell that queued it.
    """
    listed = environment.get("SLURM_JOB_GPUS") or environment.get("SLURM_STEP_GPUS")
    return bool(listed) or environment.get("SLURM_GPUS_ON_NODE", "0") not in ("", "0")


def why_none() -> str:
    """The likely reason why torch sees no GPU."""
    if torch.version.cuda is None:
        return "it is built for CPUs only"
    return f"the driver is absent, or too old for its CUDA {torch.version.cuda}"
