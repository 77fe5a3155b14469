"""What could go wrong on this machine or its cluster, looked at before a first run."""

import os
from collections.abc import Callable, Iterator

from tacolab.cluster.profile import Profile
from tacolab.errors import UserError
from tacolab.overview.doctor import cluster, disk, machine
from tacolab.overview.doctor.finding import Finding
from tacolab.plan import Plan
from tacolab.stages.data.prefetch import missing
from tacolab.stages.data.sources import first_few

__all__ = ["Finding", "Profile", "examine"]


def examine(plan: Plan, profile: Profile) -> Iterator[tuple[str, Finding]]:
    """The name of each check and what it found, one after the other."""
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("Python", machine.python),
        ("packages", machine.packages),
        ("libraries", machine.libraries),
        ("C library", machine.libc),
        ("text", machine.text),
        ("GPU", lambda: machine.gpu(plan.study.execution.device, profile.uses_slurm)),
        ("cache", lambda: machine.cache(profile.settles_caches)),
        ("results", disk.writable),
        ("disk", lambda: disk.room(plan)),
        ("quota", lambda: disk.quota(plan)),
        ("data", lambda: _data(plan)),
        ("API key", lambda: _api_key(plan)),
        *cluster.checks(plan, profile),
    ]
    for name, check in checks:
        try:
            yield name, check()
        except UserError as error:  # `what is wrong; the remedy`
            found, _, remedy = str(error).rpartition("; ")
            yield name, Finding.failure(found or remedy, remedy if found else "")


def _api_key(plan: Plan) -> Finding:
    """Of the chat model, where captions by one are still to be made."""
    asked = [
        need.what
        for artefact in plan.needed()
        for need in artefact.stage.needs(plan.study, artefact)
        if need.kind == "variable"
    ]
    if not asked:
        return Finding.ok("none needed: no chat model is to be asked")
    where = f"for {', '.join(dict.fromkeys(asked))}"
    if os.environ.get("OPENAI_API_KEY", "").strip():
        return Finding.ok(f"OPENAI_API_KEY is set, {where}; jobs of SLURM inherit it")
    return Finding.failure(
        f"OPENAI_API_KEY is not set, {where}",
        "export it (OPENAI_API_KEY=none for a server of your own that needs no key)",
    )


def _data(plan: Plan) -> Finding:
    """Data and weights must be there before: compute nodes have no internet."""
    needs = missing(plan.study)
    if needs:
        what = first_few([f"{need.name} ({need.what}): {need.problem}" for need in needs])
        return Finding.failure(what, first_few(dict.fromkeys(need.remedy for need in needs)))
    return Finding.ok("files and weights for all that is still to be made are there")
