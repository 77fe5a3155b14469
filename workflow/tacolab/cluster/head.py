"""Before the first job of Snakemake's head: one head per folder, partitions that take its jobs."""

import atexit
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tacolab.cluster import slurm
from tacolab.cluster.lease import Lease, NotOurs, acquire
from tacolab.errors import StageError, UserError
from tacolab.files import disk, process

ONLY_LOOKS = "report_now"
# Their jobs pass their work on by a lease: those that a dead head left go on.
PASSED_ON = {"train", "captions"}
NOTES = 2**18  # bytes that Snakemake writes at least, about


def check_folder(checkout: Path) -> None:
    """Raises UserError for a path that Snakemake cannot put into a job's command."""
    if set("{}") & set(str(checkout)):
        raise UserError(
            f"Snakemake takes the braces in {checkout} for names of its own: move this project to "
            "a folder without braces in its path"
        )


def check_notes() -> None:
    """Raises RefusedError where Snakemake, in a dry run too, cannot write what it notes."""
    notes = Path(".snakemake")
    try:
        with tempfile.TemporaryFile(dir=notes if notes.is_dir() else ".") as file:  # has no name
            file.write(bytes(NOTES))
    except OSError as error:
        raise disk.RefusedError(error.errno or 0, notes, NOTES) from None


class Asked(NamedTuple):
    """What a job asks SLURM for: a partition (or several: "a,b"), minutes, memory [MB]."""

    partition: str
    runtime: int
    mem_mb: int

    @classmethod
    def of(cls, resources: Mapping[str, Any]) -> "Asked | None":
        """None without a partition."""
        partition = str(resources.get("slurm_partition") or "")
        # Snakemake may not know a number before the inputs are there.
        known = {name: n for name, n in resources.items() if isinstance(n, int)}
        memory = known.get("mem_mb", 0)
        if each := known.get("mem_mb_per_cpu"):  # Snakemake's executor then asks for that alone
            memory = each * known.get("_cores", 1)
        return cls(partition, known.get("runtime", 0), memory) if partition else None


def start(results: Path, dag: Any) -> None:
    """`dag`: Snakemake's plan. Raises UserError when its jobs cannot run, or another head lives.

    Starts the whole command again where files that the plan misses have come meanwhile.
    """
    os.environ[process.HEAD] = str(process.Process.me())  # local jobs inherit it
    jobs = list(dag.needrun_jobs())
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
    try:
        cancel_orphans(job for job in jobs if Asked.of(job.resources))
    except StageError as error:
        raise UserError(f"{error}; start again") from None
    # A job of a dead head may have ended since the plan was made, while the lease was waited for.
    missed = [job for job in jobs if dag.reason(job).missing_output]
    if any(all(Path(file).exists() for file in job.output) for job in missed):
        print("tacolab: a job has just ended; planning again", file=sys.stderr, flush=True)
        lease.release()
        os.execv(sys.executable, sys.orig_argv)


def _leave() -> None:
    """This head was stopped, counted as dead and replaced. Its jobs are the other's business:
    a clean end would cancel them."""
    print("tacolab: another Snakemake has taken over this folder; this one ends", file=sys.stderr)
    os._exit(75)


def cancel_orphans(jobs: Iterable[Any]) -> None:
    """Cancel what a dead head left in the queue for the same files. Raises StageError.

    This head submits these `jobs` again, and of two for the same files the later would begin anew,
    since Snakemake deletes finished outputs before a job. What a cancelled one has coded or
    measured is kept in parts.
    """
    again = {_comment(job) for job in jobs if job.rule.name not in PASSED_ON}
    if not again:
        return
    queue = slurm.queue(slurm.SECONDS) or ()
    orphans = [job for job in queue if job.comment in again and job.here]
    if orphans:
        slurm.cancel(orphans)
        numbers = ", ".join(str(job.id) for job in orphans)
        print(
            f"tacolab: cancelled what an earlier Snakemake left in the queue ({numbers}); "
            "new jobs go on with its finished parts",
            file=sys.stderr,
        )


def _comment(job: Any) -> str:
    """What Snakemake's executor gives SLURM with a job."""
    values = "_".join(job.wildcards).replace("/", "_")
    return f"rule_{job.rule.name}" + (f"_wildcards_{values}" if values else "")


def check_partitions(jobs: Iterable[Any]) -> None:
    """Raises UserError for a job that SLURM would refuse, or let wait for ever."""
    wanted: dict[Asked, set[str]] = {}
    for job in jobs:
        if asked := Asked.of(job.resources):
            wanted.setdefault(asked, set()).add(job.rule.name)
    if wanted:
        check_limits(wanted)


def check_limits(wanted: Mapping[Asked, Iterable[str]]) -> None:
    """As above, for rules by what they ask for."""
    there = slurm.partitions()
    each = [
        (partition, asked, f"partition '{partition}' (rule {', '.join(sorted(rules))})")
        for asked, rules in sorted(wanted.items())
        for partition in asked.partition.split(",")
    ]
    for name, asked, which in each:
        if name not in there:
            raise UserError(
                f"{which} does not exist on this cluster, which has {', '.join(sorted(there))}; "
                "change slurm_partition in the profile's config.yaml"
            )
        limit, memory = there[name].seconds, there[name].memory
        if limit is not None and asked.runtime * 60 > limit:
            raise UserError(
                f"{which}: its jobs may last {limit / 60:.0f} minutes and the profile asks for "
                f"{asked.runtime}: they would wait for ever; lower runtime in "
                "the profile's config.yaml"
            )
        if asked.mem_mb > memory:
            raise UserError(
                f"{which}: its largest node has {memory} MB and the profile asks for "
                f"{asked.mem_mb}: SLURM would refuse them; lower mem_mb in "
                "the profile's config.yaml"
            )
