"""From YAML to a `Study`, with errors in the words of somebody who writes YAML."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError

from tacolab.config.fields import nearest
from tacolab.config.models import Captions, Dataset, TextEncoder
from tacolab.config.study import Study
from tacolab.errors import UserError

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
            name = str(key.value)  # a list or a mapping is refused below
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"'{name}' stands there twice", key.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep)


def read(path: Path) -> dict[str, Any]:
    """The plain data of a YAML file. Raises `UserError` when it is none, or a key stands twice."""
    try:
        data = _yaml(path.read_text(encoding="utf-8"))
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
            data[key] = _yaml(value)
        except ValueError as error:
            raise UserError(f"--set {override}: not valid YAML: {error}") from None
    return data


def _yaml(text: str) -> Any:
    """Plain data. Raises ValueError, on one line, also for a date like 2020-99-99."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


def schema() -> str:
    """The JSON schema that editors use; `config/study.schema.json` holds it."""
    return json.dumps(Study.model_json_schema(), indent=2) + "\n"
