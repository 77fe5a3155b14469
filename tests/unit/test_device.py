"""A GPU that torch has no code for is named before any work; a GPU that was given is used."""

import os
from typing import Any

import pytest
import torch

from tacolab.cluster.device import advice, gpu_given, pick_device, unusable
from tacolab.errors import UserError

CUDA13 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]  # torch 2.14 from PyPI
CUDA126 = ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"]  # its cu126 wheels

V100, GTX1080TI = ("Tesla V100-SXM2-32GB", (7, 0)), ("NVIDIA GeForce GTX 1080 Ti", (6, 1))
A100, H100 = ("NVIDIA A100-SXM4-40GB", (8, 0)), ("NVIDIA H100 80GB HBM3", (9, 0))
RTX4090, B200 = ("NVIDIA GeForce RTX 4090", (8, 9)), ("NVIDIA B200", (10, 0))


@pytest.mark.parametrize("card", [V100, GTX1080TI])
def test_old_cards_need_the_cuda_12_6_wheels(card: tuple[str, tuple[int, int]]) -> None:
    problem = unusable(*card, CUDA13, "13.0")
    assert problem is not None
    assert problem.startswith(card[0]) and "\n" not in problem
    assert "CUDA 13.0" in problem and "https://download.pytorch.org/whl/cu126" in problem
    assert unusable(*card, CUDA126, "12.6") is None


@pytest.mark.parametrize("card", [A100, H100, RTX4090])
@pytest.mark.parametrize(("arches", "cuda"), [(CUDA13, "13.0"), (CUDA126, "12.6")])
def test_newer_cards_run_with_both(
    card: tuple[str, tuple[int, int]], arches: list[str], cuda: str
) -> None:
    assert unusable(*card, arches, cuda) is None


def test_a_card_newer_than_the_build_needs_a_newer_one_unless_ptx_is_in_it() -> None:
    problem = unusable(*B200, CUDA126, "12.6")
    assert problem is not None and "newer CUDA" in problem and "cu126" not in problem
    assert unusable(*B200, [*CUDA126, "compute_90"], "12.6") is None


@pytest.mark.parametrize(
    ("capability", "arch", "runs"),
    [
        ((8, 6), "sm_80", True),  # the same major, a later minor
        ((8, 0), "sm_86", False),  # not an earlier one
        ((9, 0), "sm_80", False),  # not another major
        ((9, 0), "compute_80", True),  # but PTX is compiled for later ones
        ((7, 5), "compute_80", False),
        ((9, 0), "sm_90a", True),  # `a`: for this one alone
        ((10, 3), "sm_100a", False),
        ((10, 3), "sm_100f", True),  # `f`: for its family
        ((12, 0), "compute_100f", False),
    ],
)
def test_what_runs_where(capability: tuple[int, int], arch: str, runs: bool) -> None:
    assert (unusable("card", capability, [arch], "13.0") is None) is runs


def test_a_build_for_cpus_only_is_called_that() -> None:
    assert "built for CPUs only" in (unusable(*A100, [], None) or "")
    assert unusable("AMD Instinct MI300X", (9, 4), ["gfx90a", "gfx942"], None) is None


def test_number_formats_by_generation() -> None:
    assert "fp16" in advice(V100[1])
    assert "without torch.compile" in advice(GTX1080TI[1])
    assert all("bf16 is right" in advice(card[1]) for card in (A100, H100, RTX4090))


@pytest.mark.parametrize(
    ("environment", "given"),
    [
        ({}, False),
        ({"SLURM_JOB_ID": "7", "SLURM_GPUS_ON_NODE": "0"}, False),
        ({"CUDA_VISIBLE_DEVICES": "0"}, False),  # of the shell that queued the job
        ({"SLURM_JOB_GPUS": "0,1"}, True),
        ({"SLURM_STEP_GPUS": "0"}, True),
        ({"SLURM_GPUS_ON_NODE": "1"}, True),
    ],
)
def test_what_slurm_gave(environment: dict[str, str], given: bool) -> None:
    assert gpu_given(environment) is given


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without GPU")
@pytest.mark.parametrize(
    ("device", "job", "answer"),
    [
        ("auto", {}, "cpu"),
        ("auto", {"SLURM_JOB_ID": "7"}, "cpu"),
        ("auto", {"SLURM_JOB_ID": "7", "SLURM_GPUS_ON_NODE": "1"}, "SLURM gave this job a GPU"),
        ("cpu", {"SLURM_JOB_ID": "7", "SLURM_GPUS_ON_NODE": "1"}, "cpu"),
        ("cuda", {}, "execution.device = cuda, but torch sees none"),
    ],
)
def test_a_job_with_a_gpu_never_falls_back_to_the_cpu(
    monkeypatch: pytest.MonkeyPatch, device: Any, job: dict[str, str], answer: str
) -> None:
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    for name, value in job.items():
        monkeypatch.setenv(name, value)
    if answer == "cpu":
        assert pick_device(device) == torch.device("cpu")
    else:
        with pytest.raises(UserError, match=answer):
            pick_device(device)
