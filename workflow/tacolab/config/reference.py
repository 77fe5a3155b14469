"""The reference of the config, made from its models: what `make schema` writes.

The JSON schema is for editors, the tables of keys in config/README.md are for people. There, a
table stands between `<!-- table: MODEL, ... -->` and `<!-- end -->`, the kinds of a section between
`<!-- kinds: SECTION -->` and `<!-- end -->`; prose around them is written by hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from tacolab.config.arms import Arm
from tacolab.config.fields import InKey, Strict
from tacolab.config.problems import kinds
from tacolab.config.study import Study

BLOCK = re.compile(
    r"(?P<open><!-- (?P<what>table|kinds): (?P<names>[\w, ]+) -->\n).*?(?P<end><!-- end -->)",
    re.DOTALL,
)


def schema() -> str:
    """The JSON schema that editors use; `config/study.schema.json` holds it."""
    return json.dumps(Study.model_json_schema(), indent=2) + "\n"


def with_tables(readme: str) -> str:
    """The text of config/README.md with its tables made anew."""

    def block(found: re.Match[str]) -> str:
        of = _table if found["what"] == "table" else _kinds
        return found["open"] + of(found["names"]) + found["end"]

    return BLOCK.sub(block, readme)


def write(folder: Path) -> None:
    """Schema and tables into the folder of the config."""
    (folder / "study.schema.json").write_text(schema())
    readme = folder / "README.md"
    readme.write_text(with_tables(readme.read_text()))


def models() -> dict[str, type[BaseModel]]:
    """Every model of the config, by the name of its class."""
    return {model.__name__: model for model in _below(Strict)}


def _below(base: type[BaseModel]) -> list[type[BaseModel]]:
    return [m for below in base.__subclasses__() for m in (below, *_below(below))]


def _kinds(section: str) -> str:
    rows = [(f"`{kind}`", (model.__doc__ or "").strip()) for kind, model in kinds(section).items()]
    return _markdown(("`kind`", "what it is"), rows)


def _table(names: str) -> str:
    """A row per key; of several kinds, with the names of those that have it unless all have."""
    of = [models()[name] for name in names.split(", ")]
    rows: dict[tuple[str, ...], list[str]] = {}
    for model in of:
        for name, field in model.model_fields.items():
            if name == "kind" and field.is_required():
                continue  # stands in the table of kinds
            row = (name, field.description or "", _default(model, name), _in_key(field))
            rows.setdefault(row, []).append(_kind(model))
    order = [row[0] for row in rows]
    cells = [
        (f"`{name}`" + ("" if len(have) == len(of) else f" ({', '.join(have)})"), *rest)
        for (name, *rest), have in sorted(rows.items(), key=lambda item: order.index(item[0][0]))
    ]
    columns = 4 if any(in_key for *_, in_key in cells) else 3
    head = ("entry", "meaning, unit", "default", "in the key of")
    return _markdown(head[:columns], [row[:columns] for row in cells])


def _kind(model: type[BaseModel]) -> str:
    kind = model.model_fields.get("kind")
    return f"`{get_args(kind.annotation)[0]}`" if kind else ""


def _default(model: type[BaseModel], name: str) -> str:
    """As YAML; `-` where the key is needed, nothing where it has a table of its own."""
    field = model.model_fields[name]
    if field.is_required() or (model is Arm and name in Arm.needed):
        return "-"
    default = field.get_default(call_default_factory=True)
    if isinstance(default, BaseModel):
        return ""
    plain = TypeAdapter(Any).dump_python(default, mode="json", exclude_unset=True)
    text = yaml.safe_dump(plain, default_flow_style=True, width=10_000)
    return f"`{text.removesuffix('...' + chr(10)).strip()}`"


def _in_key(field: FieldInfo) -> str:
    return next((mark.of for mark in field.metadata if isinstance(mark, InKey)), "")


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return re.sub(r"docs/\w+\.md", r"[\g<0>](../\g<0>)", text)
