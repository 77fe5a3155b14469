"""A stage, declared once, and an artefact: one thing that a stage makes.

An artefact's path carries the key of everything that made it: eight hex digits of a hash over the
resolved part of the config, the keys of its inputs, and what stands for its code (see Stage).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tacolab.config import FileRef, Study
from tacolab.errors import UserError
from tacolab.plan.fingerprint import fingerprint

if TYPE_CHECKING:
    from tacolab.plan.plan import Plan

RESULTS = Path("results")

# Roles of inputs that had another name when they first stood in a key. A key must not change with
# a name: models would be trained again.
_FIRST_CALLED = {"token_weights": "weights"}


@dataclass(frozen=True)
class Options:
    """How an artefact is made; nothing of it changes a result.

    threads: of torch, or processes where a stage uses these. attempt: above 1 for the workflow's
    own retries. stage_to: a local disk for a copy of the packed data. stop_after: minutes.
    max_cost: most USD to spend on a table, all runs together, instead of the config's.
    blame_images: hold against the images what a paid API refuses.
    """

    threads: int | None = None
    attempt: int = 1
    stage_to: str = ""
    stop_after: float | None = None
    max_cost: float | None = None
    blame_images: bool = False


@dataclass(frozen=True)
class Required:
    """Something from outside that an artefact is made from.

    name: a path below data_root, a model as the config names it, or a variable of the environment.
    what: what it is for. file: of a file, with its pin. A `person` must get it: nobody else may.
    """

    kind: Literal["file", "folder", "model", "variable"]
    name: str
    what: str
    file: FileRef | None = None
    person: bool = False


@dataclass(frozen=True)
class Pictures:
    """A data set: images, human captions, bytes of the image files, and who says so."""

    images: int
    captions: int
    n_bytes: float
    origin: str


def _nothing(*_: Any) -> tuple[()]:
    return ()


@dataclass(frozen=True)
class Stage:
    """One kind of artefact. Everything else asks this declaration.

    name: also that of its rule. folder: below results/. files: the declared ones, the main one
    first. make: `module:function` below tacolab.stages, called with plan, artefact and Options.

    What stands for its code in the key is either a number or the code itself:
    recipe: of a dear stage; raised by hand when an edit changes its results. Everything made by it
    and after it then gets another path, and nothing old is lost.
    sources: of a cheap stage; modules that compute it. They and what they import count, see
    fingerprint.py; an edit that could change a number gives another path by itself.

    state: a folder beside the files with what a killed run goes on from; of no use once the
    artefact is there. (A training's state is none: it exports again.) unread: endings of input
    files that it does not read. work: what `tacolab plan` counts its jobs as. called: its name in
    keys, where it had another one first. wanted: what a study asks for by itself; the rest is made
    on the way.
    needs: what an artefact is made from besides its inputs. size: bytes that one will take; of a
    data set of these pictures, None where nobody knows them.
    """

    name: str
    folder: str
    files: tuple[str, ...]
    make: str
    recipe: int = 0
    sources: tuple[str, ...] = ()
    state: str = ""
    unread: tuple[str, ...] = ()
    work: Literal["training", "evaluation", "other"] = "other"
    called: str = ""
    wanted: Callable[[Plan], Iterable[Artefact]] | None = None
    needs: Callable[[Study, Artefact], Iterable[Required]] = _nothing
    size: Callable[[Artefact, Pictures | None], float] = lambda *_: 0.0

    def __post_init__(self) -> None:
        if bool(self.recipe) == bool(self.sources):
            raise ValueError(f"stage {self.name}: give a recipe number or sources, one of both")

    def __reduce__(self) -> tuple[Callable[[str], Stage], tuple[str]]:
        """Other processes have the same declarations; functions could not be sent to them."""
        from tacolab.plan.stages import stage

        return stage, (self.name,)

    @property
    def patterns(self) -> list[str]:
        """The declared files with their names as wildcards."""
        return [str(RESULTS / self.folder / name) for name in self.files]

    @property
    def log(self) -> str:
        """The log of its jobs, with the same wildcards."""
        names = re.findall(r"\{\w+\}", self.patterns[0])
        return str(RESULTS / "logs" / self.name / "/".join(names)) + ".log"

    @property
    def code(self) -> dict[str, Any]:
        """What stands for its code in keys."""
        return {"code": fingerprint(*self.sources)} if self.sources else {"recipe": self.recipe}


@dataclass(frozen=True)
class Artefact:
    """One thing that the pipeline makes.

    names: its place in the study (data set, arm, lambda ...), spelled as in paths.
    spec: the resolved part of the config that it depends on.
    inputs: what it is made from, by role.
    """

    stage: Stage
    names: dict[str, str]
    spec: Mapping[str, Any]
    inputs: Mapping[str, Artefact] = field(default_factory=dict)

    @cached_property
    def ingredients(self) -> dict[str, Any]:
        """Everything the key stands for; `text` in the artefact's JSON."""
        inputs = {_FIRST_CALLED.get(role, role): a.key for role, a in self.inputs.items()}
        return {
            "stage": self.stage.called or self.stage.name,
            **self.stage.code,
            "spec": dict(self.spec),
            "inputs": dict(sorted(inputs.items())),
        }

    @cached_property
    def key(self) -> str:
        return digest(self.ingredients)

    @property
    def folder(self) -> Path:
        return RESULTS / self.stage.folder.format(key=self.key, **self.names)

    @property
    def files(self) -> list[Path]:
        """The declared outputs, the main one first."""
        return [self.folder / n.format(key=self.key, **self.names) for n in self.stage.files]

    @property
    def path(self) -> Path:
        """The main output."""
        return self.files[0]

    @property
    def description(self) -> Path:
        """The JSON that says what made it."""
        return next(path for path in self.files if path.suffix == ".json")

    @property
    def done(self) -> bool:
        return all(path.exists() for path in self.files)

    @property
    def reads(self) -> list[Path]:
        """Files of its inputs."""
        files = [path for made_from in self.inputs.values() for path in made_from.files]
        return [path for path in files if path.suffix not in self.stage.unread]

    @property
    def state(self) -> Path:
        """What a killed run goes on from, where the stage keeps any: no declared output, so that it
        outlives a failure."""
        return self.folder / self.stage.state.format(key=self.key, **self.names)

    @property
    def begun(self) -> list[Path]:
        """What is there of its state."""
        if not self.stage.state:
            return []
        return [self.state] if self.state.exists() else []

    def require_inputs(self) -> None:
        """Raises UserError naming the first input file that is missing."""
        for path in self.reads:
            if not path.exists():
                made_from = next(a for a in self.inputs.values() if path in a.files)
                raise UserError(
                    f"{path}: is missing; make it first, by `snakemake {made_from.path} "
                    "--profile profiles/local` (and the same --configfile)"
                )

    def __str__(self) -> str:
        return " ".join([self.stage.name, *self.names.values(), self.key])


def digest(content: Any) -> str:
    """The key of plain data: eight hex digits."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
