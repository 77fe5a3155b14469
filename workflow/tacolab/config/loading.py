"""From YAML to a `Study`, with errors in the words of somebody who writes YAML."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError

from tacolab.config.fields import expand, nearest
from tacolab.config.models import Captions, Dataset, TextEncoder
from tacolab.config.study import Study
from tacolab.errors import UserError
from tacolab.files.texts import given_json, refuse_half_characters

# What pydantic finds, in the words of somebody who writes YAML. {input} is what stands there.
MESSAGES = {
    "missing": "is missing",
    "union_tag_not_found": "is missing; valid: {kinds}",
    "int_type": "must be a whole number, not {input}",
    "int_parsing": "must be a whole number, not {input}",
    "int_from_float": "must be a whole number, not {input}",
    "float_type": "must be a number, not {input}",
    "float_parsing": "must be a number, not {input}",
    "finite_number": "must be a finite number, not {input}",
    "string_type": "must be text, not {input} (quote it if it is meant so)",
    "path_type": "must be a path, not {input}",
    "list_type": "must be a list, like [a, b], not {input}",
    "tuple_type": "must be a list, like [1, 2], not {input}",
    "dict_type": "must be a mapping of keys, not {input}",
    "model_type": "must be a mapping of keys, not {input}",
    "model_attributes_type": "must be a mapping of keys, not {input}",
    "string_too_short": "must not be empty",
    "too_short": "must have at least {min_length} entry",
    "greater_than": "must be above {gt}, not {input}",
    "greater_than_equal": "must be at least {ge}, not {input}",
    "less_than_equal": "must be at most {le}, not {input}",
    "multiple_of": "must be a multiple of {multiple_of}, not {input}",
    "string_pattern_mismatch": "must match {pattern}, not {input}",
}


def _first_problem(error: ValidationError, data: Any) -> str:
    """`path.of.key: message` of the first problem, and how many more there are."""
    problem = error.errors(include_url=False)[0]
    kind, context = problem["type"], problem.get("ctx", {})
    path: list[str] = []
    for number, part in enumerate(problem["loc"], 1):
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            # Not in the YAML: a key that is missing, or pydantic's own marks (the tag of a
            # union, `[key]` where the key itself is wrong).
            if kind != "missing" or number < len(problem["loc"]):
                continue
        path.append(str(part))
    text = {"input": "null" if problem["input"] is None else reprlib.repr(problem["input"])}
    if kind == "wrong":
        path.append(str(context["key"]))
        message = str(context["message"])
    elif kind == "union_tag_invalid":
        path.append("kind")
        message = f"unknown kind '{context['tag']}'{nearest(str(context['tag']), _kinds(path[0]))}"
    elif kind == "literal_error":
        valid = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        message = f"unknown value {text['input']}{nearest(str(problem['input']), valid)}"
    elif kind in MESSAGES:
        if kind == "union_tag_not_found":
            path.append("kind")
            text["kinds"] = ", ".join(_kinds(path[0]))
        message = MESSAGES[kind].format(**context, **text)
    else:
        message = problem["msg"].removeprefix("Value error, ")
    more = error.error_count() - 1
    where = f"{'.'.join(path)}: " if path else ""
    # One line, whatever stands in a name.
    return " ".join(f"{where}{message}".split()) + (f" (and {more} more)" if more else "")


def _kinds(section: str) -> list[str]:
    """The kinds of entry that a section of the study may hold."""
    union = {"datasets": Dataset, "captions": Captions, "encoders": TextEncoder}[section]
    models = get_args(get_args(union)[0])
    return [get_args(model.model_fields["kind"].annotation)[0] for model in models]


def validate(data: Any, origin: str) -> Study:
    """A `Study` from plain data; `origin` names the file in messages. Raises `UserError`."""
    try:
        return Study.model_validate(data)
    except ValidationError as error:
        raise UserError(f"{origin}: {_first_problem(error, data)}") from None


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping: YAML would silently keep the last.

    Also text with half a character (an escape like "\\ud83d"), which no file could hold.
    """

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        half = (c for c in node.value if "\ud800" <= c <= "\udfff")
        if isinstance(node, yaml.ScalarNode) and any(half):
            raise yaml.constructor.ConstructorError(
                None, None, f"{node.value!a} has half a character", node.start_mark
            )
        return super().construct_scalar(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a list or mapping as a key", key.start_mark
                )
            name = key.value
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"'{name}' stands there twice", key.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep)


class _Core(_Loader):
    """YAML 1.2 with its core schema: 020 is 20, and 1:30, 1_000, yes and dates are text.

    PyYAML itself reads YAML 1.1, which takes them for 16, 90, 1000, true and no text. Tags of other
    things (sets, bytes) are refused: a config is what JSON can hold.
    """

    def scalar(self, node: yaml.ScalarNode) -> Any:
        text = str(self.construct_scalar(node))
        match node.tag.rpartition(":")[2]:
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
            case "float":
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        return text


_CORE = {
    "null": "null|Null|NULL|~|",
    "bool": "true|True|TRUE|false|False|FALSE",
    "int": "[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    "merge": "<<",  # of YAML 1.1, and known to Snakemake and editors
}
_Core.yaml_implicit_resolvers = {}
_Core.yaml_constructors = {}
for _name, _pattern in _CORE.items():
    _tag, _whole = f"tag:yaml.org,2002:{_name}", re.compile(rf"(?:{_pattern})\Z")
    _Core.add_implicit_resolver(_tag, _whole, [None, ""] if _whole.match("") else None)
    _Core.add_constructor(_tag, _Core.scalar)
_Core.add_constructor("tag:yaml.org,2002:str", _Core.scalar)
_Core.add_constructor(None, _Core.construct_undefined)  # type: ignore[type-var]
_Core.add_constructor("tag:yaml.org,2002:seq", _Core.construct_yaml_seq)  # type: ignore[type-var]
_Core.add_constructor("tag:yaml.org,2002:map", _Core.construct_yaml_map)  # type: ignore[type-var]


class _Profile(_Loader):
    """YAML 1.1, for Snakemake reads profiles so; but no number that people read otherwise."""

    def number(self, node: yaml.ScalarNode) -> Any:
        is_int = node.tag.endswith("int")
        value = self.construct_yaml_int(node) if is_int else self.construct_yaml_float(node)
        digits = node.value.lstrip("+-").replace("_", "")
        if ":" in digits or (is_int and digits.isdecimal() and int(digits) != abs(value)):
            raise yaml.constructor.ConstructorError(
                None, None, f"{node.value} is {value} for Snakemake; write it so", node.start_mark
            )
        return value


_Profile.add_constructor("tag:yaml.org,2002:int", _Profile.number)
_Profile.add_constructor("tag:yaml.org,2002:float", _Profile.number)


def read(path: Path, *, profile: bool = False) -> dict[str, Any]:
    """The plain data of a config; of Snakemake's profile, as that reads it.

    A name that ends with .json is JSON, all else YAML. Raises `UserError` when it is neither, or a
    key stands twice.
    """
    try:
        if path.suffix == ".json":
            data = given_json(path.read_bytes(), path)
            refuse_half_characters(json.dumps(data, ensure_ascii=False), str(path))
        else:
            data = _yaml(path.read_text(encoding="utf-8"), _Profile if profile else _Core)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; name a config with --config") from None
    except ValueError as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: not a study: a mapping of keys is needed")
    return data


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
            data[key] = _yaml(value, _Core)
        except ValueError as error:
            raise UserError(f"--set {override}: not valid YAML: {error}") from None
    return _settled(data, str(path))


def merged_by_snakemake(
    files: Iterable[Path], options: Mapping[str, Any], origin: str
) -> dict[str, Any]:
    """The plain data of --configfile, with `options` as Snakemake has parsed --config.

    Snakemake's own `config` is YAML 1.1. Raises `UserError`; `origin` names all in messages.
    """
    data: dict[str, Any] = {}
    for more in [*(read(file) for file in files), _with_nulls(options)]:
        data = _overlaid(data, more)
    return _settled(data, origin)


def _overlaid(data: Any, more: Any) -> Any:
    """Mappings entry by entry, all else replaced: as Snakemake does it."""
    if not isinstance(more, Mapping):
        return more
    known = data if isinstance(data, Mapping) else {}
    return {**known, **{key: _overlaid(known.get(key), value) for key, value in more.items()}}


def _with_nulls(option: Any) -> Any:
    """Snakemake leaves every word in --config a text, `null` too."""
    if isinstance(option, Mapping):
        return {key: _with_nulls(value) for key, value in option.items()}
    if isinstance(option, list):
        return [_with_nulls(value) for value in option]
    return None if option in ("null", "Null", "NULL", "~") else option


def _settled(data: dict[str, Any], origin: str) -> dict[str, Any]:
    """With `data_root` as it is here: on another machine the same variable may name another folder,
    and paid answers lie there."""
    if isinstance(root := data.get("data_root"), str):
        try:
            data["data_root"] = expand(root)
        except ValueError as error:
            raise UserError(f"{origin}: data_root: {error}") from None
    return data


def _yaml(text: str, loader: type[_Loader]) -> Any:
    """Plain data. Raises ValueError, on one line."""
    try:
        return yaml.load(text, loader)
    except RecursionError:
        raise ValueError("brackets within brackets, hundreds deep") from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


def schema() -> str:
    """The JSON schema that editors use; `config/study.schema.json` holds it."""
    return json.dumps(Study.model_json_schema(), indent=2) + "\n"
