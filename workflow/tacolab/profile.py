"""What a profile of Snakemake asks of a cluster."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
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
        return cls(folder, configuration.read(file))

    @property
    def uses_slurm(self) -> bool:
        return self.options.get("executor") == "slurm"

    def resources(self, rule: str) -> dict[str, Any]:
        """What the jobs of a rule ask for."""
        defaults = self.options.get("default-resources") or {}
        own = (self.options.get("set-resources") or {}).get(rule) or {}
        return {**defaults, **own}
