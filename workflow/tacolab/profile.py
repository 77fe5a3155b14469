"""What a profile of Snakemake asks of a cluster."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tacolab import config as configuration
from tacolab.errors import UserError


@dataclass(frozen=True)
class Profile:
    """The options in a profile's config.yaml."""

    folder: Path
    options: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path | None) -> Profile:
        """None: profiles/slurm where there is SLURM, else profiles/local. Raises UserError."""
        if folder is None:
            folder = Path("profiles") / ("slurm" if shutil.which("sinfo") else "local")
        file = folder / "config.yaml"
        if not file.is_file():
            raise UserError(
                f"{file}: is missing; run it in the project's folder, or name a profile with "
                "--profile profiles/NAME"
            )
        options = configuration.read(file, profile=True)
        names = ("default-resources", "set-resources", "set-threads")
        parts = {name: options.get(name) or {} for name in names}
        if isinstance(parts["set-resources"], dict):
            parts |= {f"set-resources: {rule}": own for rule, own in parts["set-resources"].items()}
        for name, part in parts.items():
            if not isinstance(part, dict):
                raise UserError(f"{file}: {name}: write a mapping, as profiles/slurm does")
        return cls(folder, options)

    @property
    def uses_slurm(self) -> bool:
        return self.options.get("executor") == "slurm"

    def resources(self, rule: str, needed: Iterable[str] = ()) -> dict[str, Any]:
        """What the jobs of a rule ask for; `runtime` in minutes. Raises UserError."""
        from snakemake.exceptions import WorkflowError  # type: ignore[import-untyped]
        from snakemake.resources import Resource  # type: ignore[import-untyped]

        defaults = self.options.get("default-resources") or {}
        own = (self.options.get("set-resources") or {}).get(rule) or {}
        # Snakemake wants texts in quotes of their own.
        asked = {
            name: value.strip("'\"") if isinstance(value, str) else value
            for name, value in {**defaults, **own}.items()
        }
        if lacking := [name for name in needed if name not in asked]:
            raise UserError(
                f"{self.folder}/config.yaml: {rule} has no {', '.join(lacking)}, which a job of "
                "SLURM needs; see profiles/slurm"
            )
        if "runtime" in asked:
            try:
                parsed = Resource.parse_human_friendly("runtime", asked["runtime"])
            except WorkflowError:
                raise UserError(
                    f"{self.folder}/config.yaml: {rule}: runtime: {asked['runtime']}: write minutes"
                ) from None
            asked["runtime"] = int(str(parsed))
        return asked

    def threads(self, rule: str) -> int:
        """CPU cores of a job of a rule."""
        return int((self.options.get("set-threads") or {}).get(rule, 1))
