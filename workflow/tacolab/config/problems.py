"""What pydantic finds, in the words of somebody who writes YAML; unknown keys: see `fields`."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from tacolab.config.fields import nearest
from tacolab.config.models import Captions, Dataset, TextEncoder

# By pydantic's type of error. {input} is what stands there.
MESSAGES = {
    "missing": "is missing",
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


def first_problem(error: ValidationError, data: Any) -> str:
    """`path.of.key: message` of the first problem, and how many more there are.

    `data` is what was validated.
    """
    problem = error.errors(include_url=False)[0]
    path = _path(problem["loc"], data, missing=problem["type"] == "missing")
    key, message = _message(problem, section=path[0] if path else "")
    path += [] if key is None else [key]
    where = f"{'.'.join(path)}: " if path else ""
    more = error.error_count() - 1
    # One line, whatever stands in a name.
    return " ".join(f"{where}{message}".split()) + (f" (and {more} more)" if more else "")


def _path(place: Sequence[int | str], data: Any, *, missing: bool) -> list[str]:
    """The keys of the YAML in pydantic's `place`.

    Left out is what the YAML does not hold: the tag of a union, and `[key]` where the key itself is
    wrong. A `missing` key, the last, is named all the same.
    """
    path = []
    for number, part in enumerate(place, 1):
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            if not missing or number < len(place):
                continue
        path.append(str(part))
    return path


def _message(problem: Any, section: str) -> tuple[str | None, str]:
    """The key that continues the problem's path, if any, and what is wrong there."""
    kind, context, value = problem["type"], problem.get("ctx", {}), problem["input"]
    text = "null" if value is None else reprlib.repr(value)
    match kind:
        case "wrong":
            return str(context["key"]), str(context["message"])
        case "union_tag_invalid":
            tag = str(context["tag"])
            return "kind", f"unknown kind '{tag}'{nearest(tag, kinds(section))}"
        case "union_tag_not_found":
            return "kind", f"is missing; valid: {', '.join(kinds(section))}"
        case "literal_error":
            valid = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
            return None, f"unknown value {text}{nearest(str(value), valid)}"
    if kind in MESSAGES:
        return None, MESSAGES[kind].format(**context, input=text)
    return None, problem["msg"].removeprefix("Value error, ")


def kinds(section: str) -> dict[str, type[BaseModel]]:
    """The kinds of entry that a section of the study may hold, with their models."""
    union = {"datasets": Dataset, "captions": Captions, "encoders": TextEncoder}[section]
    models = get_args(get_args(union)[0])
    return {get_args(model.model_fields["kind"].annotation)[0]: model for model in models}
