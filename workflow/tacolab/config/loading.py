"""From YAML, options and Snakemake's `--config` to a `Study`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tacolab.config.dialects import parsed, read
from tacolab.config.fields import expand
from tacolab.config.problems import first_problem
from tacolab.config.study import Study
from tacolab.errors import UserError


def validate(data: Any, origin: str) -> Study:
    """A `Study` from plain data; `origin` names the file in messages. Raises `UserError`."""
    try:
        return Study.model_validate(data)
    except ValidationError as error:
        raise UserError(f"{origin}: {first_problem(error, data)}") from None


def load(path: Path, overrides: Iterable[str] = ()) -> Study:
    """A `Study` from a YAML file; `overrides` are `key=value` for top-level keys."""
    return validate(merged(path, overrides), str(path))


def merged(path: Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """The plain data of a YAML file with its overrides. Raises `UserError`."""
    data = read(path)
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UserError(f"--set {override}: write KEY=VALUE")
        try:
            data[key] = parsed(value)
        except ValueError as error:
            raise UserError(f"--set {override}: not valid YAML: {error}") from None
    return _settled(data, str(path))


def merged_by_snakemake(
    files: Iterable[Path], options: Mapping[str, Any], origin: str
) -> dict[str, Any]:
    """The plain data of --configfile, with `options` as Snakemake has parsed --config.

    Snakemake's own `config` is not used, because it reads YAML 1.1. Raises `UserError`; `origin`
    names files and options in messages.
    """
    data: dict[str, Any] = {}
    for more in [*(read(file) for file in files), _with_nulls(options)]:
        data = _overlaid(data, more)
    return _settled(data, origin)


def _overlaid(data: Any, more: Any) -> Any:
    """Mappings are merged entry by entry, everything else is replaced, as Snakemake does it."""
    if not isinstance(more, Mapping):
        return more
    known = data if isinstance(data, Mapping) else {}
    return {**known, **{key: _overlaid(known.get(key), value) for key, value in more.items()}}


def _with_nulls(option: Any) -> Any:
    """To Snakemake every word in --config is text, also `null`."""
    if isinstance(option, Mapping):
        return {key: _with_nulls(value) for key, value in option.items()}
    if isinstance(option, list):
        return [_with_nulls(value) for value in option]
    return None if option in ("null", "Null", "NULL", "~") else option


def _settled(data: dict[str, Any], origin: str) -> dict[str, Any]:
    """With `data_root` expanded on this machine, since a variable may have another value elsewhere.

    Paid answers lie in that folder.
    """
    if isinstance(root := data.get("data_root"), str):
        try:
            data["data_root"] = expand(root)
        except ValueError as error:
            raise UserError(f"{origin}: data_root: {error}") from None
    return data
