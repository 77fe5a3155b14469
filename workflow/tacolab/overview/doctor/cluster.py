"""The cluster of a SLURM profile: its commands, its controller, partitions, GPUs."""

import shutil
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tacolab.cluster import head, slurm
from tacolab.cluster.profile import Profile
from tacolab.errors import UserError
from tacolab.overview.doctor.finding import Finding
from tacolab.plan import Plan
from tacolab.plan.stages import STAGES

# Seconds until Snakemake's executor first looks at its jobs, and the longest between two looks.
FIRST_LOOK, LOOKS = 40, 180

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
    """Of the profile, and with SLURM of the commands, the controller and each partition."""
    wanted: dict[head.Asked, list[str]] = {}
    gpus: dict[tuple[str, int, str], None] = {}  # partition, GPUs of a job, their kind
    problems: list[str] = []
    for rule, jobs in rules(plan).items():
        try:
            each = jobs if jobs and profile.asks_by_wildcards else [{}]
            asked = [profile.resources(rule, wildcards=job) for job in each]
        except UserError as error:
            problems.append(str(error))
            continue
        for resources in asked:
            if which := head.Asked.of(resources):
                wanted.setdefault(which, []).append(rule)
                if gpu := _gpu(resources):
                    gpus[which.partition, *gpu] = None
    first = ("profile", partial(_profile, profile, problems, list(rules(plan))))
    if not profile.uses_slurm:
        found = f"not looked at: {profile.folder} is without"
        return [first, ("SLURM", lambda: Finding.left_out(found))]
    device = plan.study.execution.device
    return [
        first,
        ("SLURM", _commands),
        ("controller", _controller),
        ("job states", lambda: _states(*_status_options(profile))),
        *(
            (f"partition {w.partition}", partial(_partition, w, list(dict.fromkeys(names))))
            for w, names in wanted.items()
        ),
        *((f"GPUs of {gpu[0]}", partial(_gpus, *gpu, device)) for gpu in gpus),
    ]


def rules(plan: Plan) -> dict[str, list[dict[str, str]]]:
    """Every rule that submits jobs, with the wildcards of those that the config means."""
    found: dict[str, list[dict[str, str]]] = {stage.name: [] for stage in STAGES}
    for artefact in plan:
        found[artefact.stage.name].append(artefact.names | {"key": artefact.key})
    return found


def _gpu(resources: Mapping[str, Any]) -> tuple[int, str] | None:
    """Number and kind ("" for any) of the GPUs that a job asks SLURM for."""
    if number := resources.get("gpu", 0):
        return number, str(resources.get("gpu_model", ""))
    return next(((n, kind) for kind, n in slurm.gres_gpus(str(resources.get("gres", "")))), None)


def _profile(profile: Profile, problems: list[str], known: list[str]) -> Finding:
    """Whether Snakemake and sbatch take what it asks for."""
    if problems:
        what, write, how = problems[0].partition(": write ")
        others = f"; {len(problems) - 1} more rules" if len(problems) > 1 else ""
        return Finding.failure(what + others, (write + how).removeprefix(": ") or "correct it")
    if unknown := [rule for rule in profile.rules if rule not in known]:
        return Finding.warning(
            f"{profile.file}: no rule is named {', '.join(unknown)}, so nothing asks for that",
            f"name one of {', '.join(known)}",
        )
    return Finding.ok(f"{profile.file}: Snakemake understands it")


def _commands() -> Finding:
    # Snakemake's executor finds out by `which` whether sacct is there.
    wanted = ("sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo", "which")
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


def _status_options(profile: Profile) -> tuple[str, int]:
    """The command that asks for the states of jobs, and the seconds after which a head looks."""
    command = profile.options.get("slurm-status-command")
    name = "slurm-init-seconds-before-status-checks"
    first = str(profile.options.get(name, FIRST_LOOK))
    if not first.isdecimal():
        raise UserError(f"{profile.file}: {name}: {first}; write seconds, a whole number")
    return command or ("sacct" if shutil.which("sacct") else "squeue"), int(first)


def _states(command: str, first_look: int = FIRST_LOOK) -> Finding:
    """The command with which the head asks for the states of its jobs.

    Snakemake's executor takes sacct for a squeue that may forget jobs too soon.
    """
    if command not in ("squeue", "sacct"):
        return Finding.failure(
            f"slurm-status-command: {command}: Snakemake's executor knows squeue and sacct",
            "put slurm-status-command: squeue into the profile",
        )
    age, has_sacct = _min_job_age(), shutil.which("sacct") is not None
    forgets = "nothing tells how soon squeue forgets a job (`scontrol show config`: no MinJobAge)"
    if age is not None:
        forgets = f"squeue forgets a job {age} s after its end"
    used = command
    if not has_sacct:
        used = "squeue"
    elif age is None or age < 3 * first_look:
        used = "sacct"
    site = "ask the site for MinJobAge=300 and a `scontrol show config` that tells it here"
    if problem := _no_answer(used):
        other = "squeue" if used == "sacct" else "sacct"
        return Finding.failure(
            f"{used}: {problem}",
            f"put slurm-status-command: {other} into the profile" if used == command else site,
        )
    if used == "sacct" and command != "sacct":
        return Finding.warning(
            f"{forgets}, so a head asks sacct, whatever the profile says",
            f"{site}; until then, after scancel a head waits for ever: end it and start it again",
        )
    if used == "squeue" and (age is None or age <= LOOKS):
        return Finding.warning(
            f"{forgets}, and a head looks only every {LOOKS} s",
            "put slurm-status-command: sacct into the profile; after scancel a head then waits "
            "for ever: end it and start it again"
            if has_sacct
            else site,
        )
    if used != command:
        return Finding.warning(
            "no sacct here: a head asks squeue instead",
            "put slurm-status-command: squeue into the profile",
        )
    return Finding.ok(f"{used} answers")


def _min_job_age() -> int | None:
    """Seconds for which squeue still knows a job that has ended; None where nothing tells."""
    from snakemake.exceptions import WorkflowError  # type: ignore[import-untyped]

    try:  # it looks for commands when it is imported
        from snakemake_executor_plugin_slurm.job_status_query import (  # type: ignore[import-untyped]
            get_min_job_age,
        )

        age: int | None = get_min_job_age()
    except (OSError, WorkflowError):
        return None
    return age


def _no_answer(command: str) -> str:
    """Why a command of SLURM does not answer; "" where it does."""
    query = [command, "--noheader"]
    try:
        asked = subprocess.run(query, capture_output=True, text=True, timeout=slurm.SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if asked.returncode == 0:
        return ""
    return " ".join(asked.stderr.split()) or f"ends with {asked.returncode}"


def _partition(wanted: head.Asked, rules: list[str]) -> Finding:
    """Raises UserError where it does not exist, ends jobs earlier or has too little memory."""
    head.check_limits({wanted: rules})
    if states := slurm.all_away(wanted.partition):
        return Finding.warning(
            f"no node of it starts a job now ({states})",
            f"`sinfo --partition={wanted.partition} --list-reasons` says why; jobs would wait",
        )
    asked = [
        f"{number} {unit}"
        for number, unit in ((wanted.runtime, "minutes"), (wanted.mem_mb, "MB"))
        if number
    ]
    return Finding.ok(f"takes jobs of {' and '.join(asked) or 'any size'} ({', '.join(rules)})")


def _gpus(partition: str, number: int, kind: str, device: str) -> Finding:
    """Whether its nodes have as many GPUs as a job asks for, and torch has code for these."""
    found = slurm.gpus(partition)
    listed = ", ".join(f"{count} x {name or 'GPU'}" for name, count in found)
    fitting = [gpu for gpu in found if kind.lower() in ("", gpu[0].lower())]
    if not any(count >= number for _, count in fitting):
        return Finding.failure(
            f"its nodes have {listed or 'none'}; a job asks for {number}{kind and f' x {kind}'}",
            "name a partition with such GPUs, or lower gpu, in the profile",
        )
    if device == "cpu":
        return Finding.ok(f"{listed} in a node; execution.device is cpu")
    import torch

    from tacolab.cluster.device import advice, unusable

    known: list[str] = []
    for name, _ in fitting:
        card = next((card for card in CARDS if card in name.lower()), None)
        if card is None:
            continue
        problem = unusable(name, CARDS[card], torch.cuda.get_arch_list(), torch.version.cuda)
        if problem:
            what, _, remedy = problem.rpartition("; ")
            return Finding.failure(what, remedy)
        known.append(f"{name}: {advice(CARDS[card])}")
    return Finding.ok("; ".join([f"{listed} in a node", *known]))
