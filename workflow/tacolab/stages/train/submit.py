"""A training outside the workflow: one SLURM job that needs no head (`tacolab train --submit`).

It has the same state folder and lease as the workflow's jobs, saves before its time limit and
queues itself again; the workflow later finds the model finished.
"""

import json
import logging
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tacolab import config as configuration
from tacolab.errors import Interrupted, UserError
from tacolab.plan import RESULTS, Artefact, Options, Plan

# Resources that a job cannot do without.
NEEDED = ("slurm_partition", "runtime", "mem_mb")


def submit(
    config: Path, code: Path, artefact: Artefact, resources: Mapping[str, Any], threads: int
) -> int:
    """Submit the training with the resources of a profile's `train`; the job's id.

    config, code: snapshots that do not change while the job waits. Raises UserError when the model
    is there, or SLURM refuses.
    """
    import submitit

    if artefact.done:
        raise UserError(f"{artefact.path}: is there already; nothing was submitted")
    # %j is the job's id: submitit keeps its log and the pickled call there.
    executor = submitit.SlurmExecutor(folder=RESULTS / "logs" / "submitted" / "%j")
    # Before the package that is installed here, which may be edited meanwhile.
    first = f"export PYTHONPATH={shlex.quote(str(code.resolve() / 'workflow'))}:$PYTHONPATH"
    executor.update_parameters(**_parameters(resources, threads, str(artefact)), setup=[first])
    try:
        job = executor.submit(
            train_in_job,
            config.resolve(),
            artefact.key,
            artefact.names,
            threads,
            resources.get("stage_to", ""),
        )
    except submitit.core.utils.FailedJobError as error:
        raise UserError(f"sbatch refused the job: {str(error).splitlines()[-1]}") from None
    return int(job.job_id)


def train_in_job(
    config: Path, key: str, names: Mapping[str, str], threads: int, stage_to: str
) -> None:
    """What the job runs; every time that SLURM starts it again, too."""
    from tacolab.stages import train

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    plan = Plan(configuration.validate(json.loads(config.read_text()), str(config)))
    artefact = plan.find("train", key, **names)
    artefact.require_inputs()
    try:
        train.run(plan, artefact, Options(threads=threads, stage_to=stage_to))
    except Interrupted as stop:
        logging.getLogger(__name__).warning("%s", stop)
        raise SystemExit(75) from None


def _parameters(resources: Mapping[str, Any], threads: int, name: str) -> dict[str, Any]:
    """The profile's resources as submitit names them; those that Snakemake's executor knows."""
    additional: dict[str, Any] = {"requeue": True, **_options(resources.get("slurm_extra", ""))}
    if number := resources.get("gpu"):
        kind = resources.get("gpu_model")
        additional["gpus"] = f"{kind}:{number}" if kind else number
    names = {"slurm_account": "account", "constraint": "constraint", "qos": "qos", "gres": "gres"}
    parameters = {ours: resources[theirs] for theirs, ours in names.items() if theirs in resources}
    if each := resources.get("mem_mb_per_cpu"):
        parameters["mem_per_cpu"] = f"{each}M"
    else:
        parameters["mem"] = f"{resources['mem_mb']}M"
    return {
        "job_name": f"tacolab {name}",
        "partition": resources["slurm_partition"],
        "time": resources["runtime"],
        "nodes": 1,
        "ntasks_per_node": 1,
        "cpus_per_task": threads,
        "srun_args": [f"--cpus-per-task={threads}"],  # srun does not take the job's number
        "additional_parameters": additional,
        **parameters,
    }


def _options(text: str) -> dict[str, str | bool]:
    """`--name=value`, `--name value` and `--name`. Raises UserError."""
    problem = f"slurm_extra: {text}: write options of sbatch as --name=value"
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UserError(f"{problem} ({error})") from None
    found: dict[str, str | bool] = {}
    name = ""
    for word in words:
        if word.startswith("--"):
            name, equals, value = word.removeprefix("--").partition("=")
            found[name] = value if equals else True
        elif name and found[name] is True and not word.startswith("-"):
            found[name] = word
        else:
            raise UserError(problem)
    return found
