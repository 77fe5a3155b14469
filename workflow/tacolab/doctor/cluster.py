"""The cluster of a SLURM profile: its commands, its controller, partitions, GPUs."""

import shutil
import subprocess
from collections.abc import Callable
from functools import partial

from tacolab import head, slurm
from tacolab.doctor.finding import Finding
from tacolab.keys import LAYOUT, Plan
from tacolab.profile import Profile

LOOKS = 180  # seconds: the longest time between two looks of Snakemake's executor at its jobs

# Compute capability of cards, by what clusters call them (sinfo --format=%G).
CARDS = {
    "p100": (6, 0),
    "1080": (6, 1),
    "v100": (7, 0),
    "2080": (7, 5),
    "a100": (8, 0),
    "3090": (8, 6),
    "a40": (8, 6),
    "4090": (8, 9),
    "l40": (8, 9),
    "h100": (9, 0),
    "h200": (9, 0),
}


def checks(plan: Plan, profile: Profile) -> list[tuple[str, Callable[[], Finding]]]:
    """One for the commands, the controller and each partition; a single word without SLURM."""
    if not profile.uses_slurm:
        return [("SLURM", lambda: Finding.left_out(f"not looked at: {profile.folder} is without"))]
    wanted: dict[head.Asked, list[str]] = {}
    gpus: dict[tuple[str, int], None] = {}  # partition and GPUs of a job
    for rule in LAYOUT:
        resources = profile.resources(rule)
        if asked := head.Asked.of(resources):
            wanted.setdefault(asked, []).append(rule)
            if number := int(resources.get("gpu", 0)):
                gpus[asked.partition, number] = None
    device = plan.study.execution.device
    return [
        ("SLURM", _commands),
        ("controller", _controller),
        ("job states", partial(_states, profile.options.get("slurm-status-command", "sacct"))),
        *(
            (f"partition {w.partition}", partial(_partition, w, rules))
            for w, rules in wanted.items()
        ),
        *((f"GPUs of {name}", partial(_gpus, name, number, device)) for name, number in gpus),
    ]


def _commands() -> Finding:
    wanted = ("sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
    missing = [command for command in wanted if shutil.which(command) is None]
    if missing:
        return Finding.failure(
            f"not on the PATH: {', '.join(missing)}",
            "start it on a login node (module load slurm), or use profiles/local",
        )
    return Finding.ok(f"{', '.join(wanted)} are there")


def _controller() -> Finding:
    """Raises UserError when it does not answer."""
    return Finding.ok(f"answers; partitions {', '.join(sorted(slurm.partitions()))}")


def _states(command: str) -> Finding:
    """The command with which the head asks for the states of its jobs."""
    query = [command, "--noheader"]
    try:
        asked = subprocess.run(query, capture_output=True, text=True, timeout=slurm.SECONDS)
        problem = asked.stderr.strip() if asked.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        problem = str(error)
    if problem:
        other = "squeue" if command == "sacct" else "sacct"
        return Finding.failure(
            f"{command}: {' '.join(problem.split())}",
            f"put slurm-status-command: {other} into the profile",
        )
    age = slurm.min_job_age()
    if command == "squeue" and age is not None and age <= LOOKS:
        return Finding.warning(
            f"squeue forgets a job {age} s after its end, and a head looks only every {LOOKS} s",
            "put slurm-status-command: sacct into the profile; after scancel a head then waits "
            "for ever: end it and start it again",
        )
    return Finding.ok(f"{command} answers")


def _partition(wanted: head.Asked, rules: list[str]) -> Finding:
    """Raises UserError where it does not exist, ends jobs earlier or has too little memory."""
    head.check_limits({wanted: rules})
    return Finding.ok(
        f"takes jobs of {wanted.runtime} minutes and {wanted.mem_mb} MB ({', '.join(rules)})"
    )


def _gpus(partition: str, number: int, device: str) -> Finding:
    """Whether its nodes have as many GPUs as a job asks for, and torch has code for these."""
    found = slurm.gpus(partition)
    listed = ", ".join(f"{count} x {name or 'GPU'}" for name, count in found)
    if not any(count >= number for _, count in found):
        return Finding.failure(
            f"its nodes have {listed or 'none'}; a job asks for {number}",
            "name a partition with GPUs, or lower gpu, in the profile",
        )
    if device == "cpu":
        return Finding.ok(f"{listed} in a node; execution.device is cpu")
    import torch

    from tacolab.device import advice, unusable

    known: list[str] = []
    for name, _ in found:
        card = next((card for card in CARDS if card in name.lower()), None)
        if card is None:
            continue
        problem = unusable(name, CARDS[card], torch.cuda.get_arch_list(), torch.version.cuda)
        if problem:
            what, _, remedy = problem.rpartition("; ")
            return Finding.failure(what, remedy)
        known.append(f"{name}: {advice(CARDS[card])}")
    return Finding.ok("; ".join([f"{listed} in a node", *known]))
