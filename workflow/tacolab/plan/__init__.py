"""What a config means: each stage declared once, its artefacts, their keys and paths.

Imports `config`, `files` and `cluster`; knows no torch, and no stage's package but by name.
"""

from tacolab.plan.plan import Plan
from tacolab.plan.stage import RESULTS, Artefact, Options, Pictures, Required, Stage, digest

__all__ = ["RESULTS", "Artefact", "Options", "Pictures", "Plan", "Required", "Stage", "digest"]
