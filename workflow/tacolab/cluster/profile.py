"""What a profile asks of a cluster, read by Snakemake's own functions."""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tacolab import config as configuration
from tacolab.errors import UserError

# What sbatch wants as a whole number, and how to write it.
WHOLE = {
    "runtime": "write minutes, or a time such as 2d or 48h",
    "mem_mb": "write a number without quotes, or mem: 24GB",
    "gpu": "write a number without quotes, and the kind of GPU as gpu_model: NAME",
    **dict.fromkeys(
        ("mem_mb_per_cpu", "nodes", "tasks", "tasks_per_gpu", "cpus_per_task", "cpus_per_gpu"),
        "write a number without quotes",
    ),
}


@dataclass(frozen=True)
class Profile:
    """The options in a profile's config.yaml, as Snakemake takes them for its command line.

    settles_caches: whether Snakemake's cache lies where it can be written, whatever HOME is.
    """

    file: Path
    options: Mapping[str, Any]
    settles_caches: bool = False

    @classmethod
    def read(cls, folder: Path | None) -> Profile:
        """None: profiles/slurm where there is SLURM, else profiles/local. Raises UserError."""
        from snakemake.profiles import ProfileConfigFileParser  # type: ignore[import-untyped]

        if folder is None:
            folder = Path("profiles") / ("slurm" if shutil.which("sinfo") else "local")
        file = folder if folder.is_file() else folder / "config.yaml"
        if not file.is_file():
            raise UserError(
                f"{file}: is missing; run it in the project's folder, or name a profile with "
                "--profile profiles/NAME"
            )
        content = configuration.read(file, profile=True)
        _check_mappings(file, content)
        try:
            with file.open(encoding="utf-8") as stream:
                options = ProfileConfigFileParser().parse(stream)
        except Exception as error:  # expressions in a profile may raise anything
            raise UserError(f"{file}: {_line(error)}") from None
        statements = content.get("__definitions__") or []
        return cls(file, options, any("caches.settle()" in str(line) for line in statements))

    @property
    def folder(self) -> Path:
        return self.file.parent

    @property
    def uses_slurm(self) -> bool:
        return self.options.get("executor") == "slurm"

    @property
    def rules(self) -> list[str]:
        """Those that the profile names."""
        named = [entry.partition(":")[0] for entry in self.options.get("set-resources", ())]
        named += [entry.partition("=")[0] for entry in self.options.get("set-threads", ())]
        return list(dict.fromkeys(named))

    @property
    def asks_by_wildcards(self) -> bool:
        """Whether jobs of one rule may ask for different things."""
        names = ("default-resources", "set-resources", "set-threads")
        return any("wildcards" in str(self.options.get(name, "")) for name in names)

    def resources(
        self, rule: str, needed: Iterable[str] = (), wildcards: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """What a job of a rule asks for: `runtime` in minutes, memory as `mem_mb`, `_cores` ...

        What only the job's inputs would tell is left out, or its wildcards, where none are given.
        Raises UserError.
        """
        cores = self.threads(rule, wildcards)
        own = (entry.split(":", 1) for entry in self.options.get("set-resources", ()))
        found = self._values(
            rule, self.options.get("default-resources", ()), cores, wildcards
        ) | self._values(rule, [text for name, text in own if name == rule], cores, wildcards)
        found = {"_cores": cores} | {n: value for n, value in found.items() if value is not None}
        if lacking := [name for name in needed if name not in found]:
            raise UserError(
                f"{self.file}: {rule} has no {', '.join(lacking)}, which a job of "
                "SLURM needs; see profiles/slurm"
            )
        return found

    def threads(self, rule: str, wildcards: Mapping[str, str] | None = None) -> int:
        """CPU cores of a job of a rule. Raises UserError."""
        from snakemake.resources import Resource  # type: ignore[import-untyped]

        entries = (entry.split("=", 1) for entry in self.options.get("set-threads", ()))
        text = dict(entries).get(rule, "1").strip("'\"")
        asked = Resource.from_cli_expression("_cores", text, with_threads_arg=False)
        where = f"{self.file}: set-threads: {rule}: {text}"
        cores = _evaluated(asked, text, where, rule, 1, wildcards)
        if cores is None:
            return 1
        if type(cores) is not int or cores < 0:
            raise UserError(f"{where}: write a number")
        return cores

    def _values(
        self, rule: str, entries: Iterable[str], cores: int, wildcards: Mapping[str, str] | None
    ) -> dict[str, Any]:
        """Of `name=expression`; None is what is not known."""
        from snakemake.exceptions import WorkflowError  # type: ignore[import-untyped]
        from snakemake.resources import Resources

        texts = dict(entry.split("=", 1) for entry in entries)
        try:
            asked = Resources.parse(list(entries), allow_expressions=True)
        except (WorkflowError, ValueError) as error:
            raise UserError(f"{self.file}: {rule}: {_line(error)}") from None
        found: dict[str, Any] = {}
        for name, resource in asked.items():
            # Of a size Snakemake keeps the number of MB, however it was written.
            size = name.removesuffix("_mb")
            written = next(n for n in (name, size, f"{size}_mib") if n in texts)
            text = texts[written]
            where = f"{self.file}: {rule}: {written}: {text}"
            value = _evaluated(resource, text, where, rule, cores, wildcards)
            if value is not None and name in WHOLE and (type(value) is not int or value < 0):
                raise UserError(f"{where}: {WHOLE[name]}")
            found[name] = value
        return found


def _evaluated(
    resource: Any,
    text: str,
    where: str,
    rule: str,
    cores: int,
    wildcards: Mapping[str, str] | None,
) -> Any:
    """As Snakemake evaluates it for a job; None where that takes more than is known here."""
    from snakemake.iocontainers import Wildcards  # type: ignore[import-untyped]

    if not resource.is_evaluable():
        return resource.value
    if isinstance(literal := _literal(text), str):
        return literal  # variables of the environment in it are expanded in the job once more
    try:
        return resource.evaluate(
            wildcards=Wildcards(fromdict=wildcards or {}),
            input=None,
            attempt=1,
            threads=cores,
            rulename=rule,
            async_run=None,
        ).value
    except Exception as error:  # an expression may raise anything
        if re.search(r"\binput\b" if wildcards else r"\b(input|wildcards)\b", text):
            return None
        why = _line(error).partition(" Additional quoting")[0]
        raise UserError(f"{where}: {WHOLE.get(resource.name) or why}") from None


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return None


def _check_mappings(file: Path, content: Mapping[str, Any]) -> None:
    """Raises UserError where Snakemake would end with a traceback.

    Besides mappings it takes lists of assignments.
    """
    parts = {
        name: content[name]
        for name in ("default-resources", "set-resources", "set-threads")
        if content.get(name) is not None
    }
    by_rule = parts.get("set-resources")
    if isinstance(by_rule, dict):
        parts |= {f"set-resources: {rule}": own for rule, own in by_rule.items()}
    for name, part in parts.items():
        form = r"\w+:\w+=.+" if name == "set-resources" else r"\w+=.+"
        listed = isinstance(part, list) and ":" not in name
        if not isinstance(part, dict) and not (
            listed and all(re.fullmatch(form, str(entry)) for entry in part)
        ):
            raise UserError(f"{file}: {name}: write a mapping, as profiles/slurm does")


def _line(error: Exception) -> str:
    """Snakemake's messages span lines; ours are one."""
    return " ".join(str(error).split())
