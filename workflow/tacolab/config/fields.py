"""What the models of the config share: keys (and errors of unknown ones), names, lambdas, files."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError

OWN = "own"  # in place of a control's name: the arm is evaluated with its own captions


def nearest(name: str, valid: Iterable[str]) -> str:
    """`; did you mean 'x'?` for a likely slip, else the list of valid names."""
    valid = list(valid)
    match = difflib.get_close_matches(name, valid, n=1)
    return f"; did you mean '{match[0]}'?" if match else f"; valid: {', '.join(valid) or 'none'}"


class Strict(BaseModel):
    """Unknown keys are errors that name the nearest valid key."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    # Keys of earlier versions -> their present names, which the error says.
    renamed: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        for key, value in data.items() if isinstance(data, Mapping) else ():
            if key in cls.renamed:
                raise wrong(key, f"is now called {cls.renamed[key]}; rename it")
            if key not in cls.model_fields:
                raise wrong(str(key), f"unknown key{nearest(str(key), cls.model_fields)}")
            if isinstance(value, bool) and cls.model_fields[key].annotation is not bool:
                # pydantic would take them for 1 and 0.
                raise wrong(key, "true and false are truth values; quote them where text is meant")
        return data


def wrong(path: str, message: str) -> PydanticCustomError:
    """A cross-field error; `path` continues the path of the model that raises it."""
    return PydanticCustomError("wrong", "{message}", {"key": path, "message": message})


# Not \d, which is also a digit of any other script.
PLAIN_DECIMAL = r"[0-9]*\.?[0-9]+"


def _lmbda(text: Any) -> str:
    if not isinstance(text, str):
        raise ValueError(
            f'write it in quotes as a plain decimal, like "0.0016" (YAML read {text!r})'
        )
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a number") from None
    if not value.is_finite() or value <= 0:
        raise ValueError(f"lambda must be a number above 0, not {text}")
    if not re.fullmatch(PLAIN_DECIMAL, text):
        raise ValueError(
            f"write it as a plain decimal, like '{value:f}': paths contain it as it is written"
        )
    return text


def _name(text: str) -> str:
    if not text or not all(c.isalnum() or c in "-_@." for c in text) or text[0] in ".-":
        raise ValueError(f"{text!r} appears in paths: use letters, digits, '-', '_', '.' and '@'")
    if len(text) > 100:
        raise ValueError(f"'{text[:20]}...' appears in paths: use at most 100 characters")
    return text


_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+)|[{(])", re.ASCII)


def expand(path: str) -> str:
    """`~` and $VARIABLE expanded as in a shell.

    Raises ValueError if a variable is not set or a user not known; otherwise a folder with the name
    of the variable would be made.
    """
    if not path:
        raise ValueError("is empty; write . for the folder itself")
    if "\0" in path:
        raise ValueError(f"{path!a} is no path: it contains a null character")
    full = _VARIABLE.sub(_value, path)
    if not full.startswith("~"):
        return full
    try:
        if os.environ.get("HOME") == "":
            raise RuntimeError
        return str(Path(full).expanduser())
    except RuntimeError:
        raise ValueError(
            f"'{path}': no user of that name has a home here; write the path out"
        ) from None


def _value(match: re.Match[str]) -> str:
    name = match[1] or match[2]
    if not name:
        raise ValueError(f"'{match.string}': of '$', only $NAME and ${{NAME}} are understood")
    if not os.environ.get(name):
        raise ValueError(f"'{match.string}': ${name} is not set; set it, or write the path out")
    return os.environ[name]


Lmbda = Annotated[
    str, BeforeValidator(_lmbda), Field(json_schema_extra={"pattern": f"^{PLAIN_DECIMAL}$"})
]
Name = Annotated[str, AfterValidator(_name)]
Seed = Annotated[int, Field(ge=0)]
# Expanded before it becomes a Path, which would turn ./~ (a folder) into ~ (the home).
Place = Annotated[Path, BeforeValidator(lambda at: expand(at) if isinstance(at, str) else at)]


@dataclass(frozen=True)
class InKey:
    """Says of an entry whose key it is part of, for the tables in config/README.md."""

    of: str


class FileRef(Strict):
    """A file below `data_root`, with its sha256 where the source has fixed bytes."""

    path: Place = Field(description="below `data_root`")
    sha256: str | None = Field(
        None,
        pattern="^[0-9a-f]{64}$",
        description="sha256 of the content, which is then in the key",
    )

    @model_validator(mode="before")
    @classmethod
    def _plain_path(cls, data: Any) -> Any:
        return {"path": data} if isinstance(data, str) else data

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Editors must accept the plain path, too."""
        schema = handler.resolve_ref_schema(handler(core))
        return {"anyOf": [{"type": "string", "format": "path"}, schema]}
