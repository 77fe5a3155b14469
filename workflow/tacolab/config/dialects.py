"""Files of plain data: a config in YAML 1.2 or JSON, and Snakemake's profiles in YAML 1.1."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from tacolab.errors import UserError
from tacolab.files.texts import given_json, refuse_half_characters


def _wrong(message: str, node: yaml.Node) -> yaml.YAMLError:
    """With the line and column where the node begins."""
    return yaml.constructor.ConstructorError(None, None, message, node.start_mark)


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping, because YAML would silently keep the last.

    It also refuses text with half a character (an escape like "\\ud83d"), which no file can hold.
    """

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        half = (c for c in node.value if "\ud800" <= c <= "\udfff")
        if isinstance(node, yaml.ScalarNode) and any(half):
            raise _wrong(f"{node.value!a} has half a character", node)
        return super().construct_scalar(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _wrong("a list or mapping as a key", key)
            name = key.value
            if name in seen:
                raise _wrong(f"'{name}' stands there twice", key)
            seen.add(name)
        return super().construct_mapping(node, deep)


class _Core(_Loader):
    """YAML 1.2 with its core schema: 020 is 20, and 1:30, 1_000, yes and dates are text.

    PyYAML itself reads YAML 1.1, where these are 16, 90, 1000, true and dates. Tags of other types
    (sets, bytes) are refused: a config holds only what JSON can hold.
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
    """YAML 1.1, as Snakemake reads profiles, without the numbers that people read otherwise."""

    def number(self, node: yaml.ScalarNode) -> Any:
        is_int = node.tag.endswith("int")
        value = self.construct_yaml_int(node) if is_int else self.construct_yaml_float(node)
        digits = node.value.lstrip("+-").replace("_", "")
        if ":" in digits or (is_int and digits.isdecimal() and int(digits) != abs(value)):
            raise _wrong(f"{node.value} is {value} for Snakemake; write it so", node)
        return value


_Profile.add_constructor("tag:yaml.org,2002:int", _Profile.number)
_Profile.add_constructor("tag:yaml.org,2002:float", _Profile.number)


def read(path: Path, *, profile: bool = False) -> dict[str, Any]:
    """The plain data of a config or, with `profile`, of a profile as Snakemake reads it.

    A file whose name ends with .json is JSON, all others are YAML. Raises `UserError` if it is
    neither, or if a key stands twice.
    """
    try:
        if path.suffix == ".json":
            data = given_json(path.read_bytes(), path)
            refuse_half_characters(json.dumps(data, ensure_ascii=False), str(path))
        else:
            data = parsed(path.read_text(encoding="utf-8"), profile=profile)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; name a config with --config") from None
    except ValueError as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: not a study: a mapping of keys is needed")
    return data


def parsed(text: str, *, profile: bool = False) -> Any:
    """The plain data of YAML. Raises ValueError, on one line."""
    try:
        return yaml.load(text, _Profile if profile else _Core)
    except RecursionError:
        raise ValueError("brackets within brackets, hundreds deep") from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
