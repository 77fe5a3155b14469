"""Runs a stage as `tacolab make` does, also where its artefact is there already."""

from tacolab.plan import Artefact, Options, Plan
from tacolab.plan.making import maker


def run_stage(plan: Plan, artefact: Artefact, threads: int | None = None) -> None:
    maker(artefact.stage)(plan, artefact, Options(threads))
