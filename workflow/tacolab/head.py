"""Before the first job of Snakemake's head: one head per folder, partitions that exist."""

import atexit
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tacolab import slurm
from tacolab.errors import UserError
from tacolab.lease import Lease, NotOurs, acquire

ONLY_LOOKS = "report_now"


def start(results: Path, jobs: Iterable[Any]) -> None:
    """`jobs`: those that will run. Raises UserError when they cannot, or another head lives."""
    jobs = list(jobs)
    if {job.rule.name for job in jobs} == {ONLY_LOOKS}:
        return  # beside a head at work
    check_partitions(jobs)
    folder = results / "head"
    try:
        lease = acquire(folder, ask=False, on_loss=_leave)
    except NotOurs as error:
        raise UserError(
            f"{error}: another Snakemake works in this folder. Wait for it, or end it first"
        ) from None
    assert isinstance(lease, Lease)
    atexit.register(lease.release)


def _leave() -> None:
    """This head was stopped, counted as dead and replaced. Its jobs are the other's business:
    a clean end would cancel them."""
    print("tacolab: another Snakemake has taken over this folder; this one ends", file=sys.stderr)
    os._exit(75)


def check_partitions(jobs: Iterable[Any]) -> None:
    """Raises UserError for a job that SLURM would refuse, or let wait for ever."""
    wanted: dict[tuple[str, int], set[str]] = {}
    for job in jobs:
        partition, runtime = job.resources.get("slurm_partition"), job.resources.get("runtime")
        if partition:
            wanted.setdefault((str(partition), int(runtime or 0)), set()).add(job.rule.name)
    if wanted:
        check_limits(wanted)


def check_limits(wanted: Mapping[tuple[str, int], Iterable[str]]) -> None:
    """As above, for rules by partition (or several: "a,b") and runtime in minutes."""
    limits = slurm.partition_limits()
    each = [
        (partition, runtime, f"partition '{partition}' (rule {', '.join(sorted(rules))})")
        for (partitions, runtime), rules in sorted(wanted.items())
        for partition in partitions.split(",")
    ]
    for partition, runtime, which in each:
        if partition not in limits:
            raise UserError(
                f"{which} does not exist on this cluster, which has {', '.join(sorted(limits))}; "
                "change it in the first block of profiles/slurm/config.yaml"
            )
        limit = limits[partition]
        if limit is not None and runtime * 60 > limit:
            raise UserError(
                f"{which}: its jobs may last {limit / 60:.0f} minutes and the profile asks for "
                f"{runtime}: they would wait for ever; lower runtime in profiles/slurm/config.yaml"
            )
