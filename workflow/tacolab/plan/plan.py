"""The plan: every artefact that a config means.

Rules and commands both look artefacts up here, so a path is spelled in one place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

from tacolab.config import Study, nearest
from tacolab.errors import UserError
from tacolab.plan import stages
from tacolab.plan.stage import Artefact, Stage

# Names as people say them.
_WORDS = {"lmbda": "lambda", "dataset": "data set"}


class Plan:
    """Every artefact of a study; the same object is handed out wherever it is needed."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self._known: dict[tuple[str, str, frozenset[tuple[str, str]]], Artefact] = {}
        for stage in stages.STAGES:
            if stage.wanted:
                list(stage.wanted(self))

    def add(self, artefact: Artefact) -> Artefact:
        """The artefact, or that which is known already."""
        # The key itself stands among the identity: shuffled captions of two arms share their names.
        identity = (artefact.stage.name, artefact.key, frozenset(artefact.names.items()))
        return self._known.setdefault(identity, artefact)

    def __iter__(self) -> Iterator[Artefact]:
        return iter(self._known.values())

    def every(self, *which: Stage) -> list[Artefact]:
        """The artefacts of these stages."""
        return [artefact for artefact in self if artefact.stage in which]

    def find(self, stage: str, key: str | None = None, **names: str) -> Artefact:
        """The artefact with these names (and this key); `captions` are also those of `describe`.

        Raises UserError when there is none.
        """
        found = [
            artefact
            for artefact in self.every(*stages.named(stage))
            if artefact.names.items() >= names.items() and key in (None, artefact.key)
        ]
        if len(found) == 1:
            return found[0]
        asked = " ".join([stage, *(f"{name}={value}" for name, value in names.items())])
        if key:
            asked += f" key={key}"
        if found:
            raise UserError(
                f"{asked}: several artefacts fit; name one with --key: "
                + ", ".join(f"{a.key} ({a})" for a in found)
            )
        raise UserError(f"{asked}: {self._why_none(stage, names)}")

    def at(self, path: Path) -> Artefact:
        """The artefact that this file, or folder, belongs to. Raises UserError: there is none."""
        inside = [artefact for artefact in self if path == artefact.folder]
        for artefact in self:
            if path in artefact.files or inside == [artefact]:
                return artefact
        if inside:
            raise UserError(f"{path}: holds several artefacts; name a file, {inside[0].path} say")
        close = get_close_matches(str(path), [str(artefact.path) for artefact in self], n=1)
        near = f"; did you mean {close[0]}?" if close else "; `tacolab status --json` lists all."
        raise UserError(
            f"{path}: the config means no such file now{near} If a job says so, the config or the "
            "code was edited since it was planned: start the workflow again"
        )

    def _why_none(self, stage: str, names: Mapping[str, str]) -> str:
        """Which of the names (else the key) fits nothing, and what would."""
        fitting = self.every(*stages.named(stage))
        for name, value in names.items():
            valid = dict.fromkeys(a.names.get(name, "") for a in fitting)
            if value not in valid:
                limit = f" up to phase {self.study.phase}" if self.study.phase else ""
                if name == "source" and value in self.study.captions:
                    return (
                        f"captions.{value}: no arm uses it{limit}; name it in arms.NAME.captions, "
                        "or as a control in protocol.datasets.NAME.controls"
                    )
                word = _WORDS.get(name, name)
                return f"the config means no {word} '{value}' there{limit}{nearest(value, valid)}"
            fitting = [a for a in fitting if a.names[name] == value]
        return (
            f"the config means key {', '.join(a.key for a in fitting)} now; was it edited since "
            "the job was planned? Start the workflow again, or leave --key out"
        )

    def needed(self) -> list[Artefact]:
        """What is not there and must be made for what the study asks for, inputs first."""
        found: dict[int, Artefact] = {}

        def visit(artefact: Artefact) -> None:
            if id(artefact) in found or artefact.done:
                return
            for made_from in artefact.inputs.values():
                visit(made_from)
            found[id(artefact)] = artefact

        for artefact in self:
            if artefact.stage.wanted:
                visit(artefact)
        return list(found.values())
