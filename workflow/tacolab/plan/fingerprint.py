"""A fingerprint of code: of what a cheap stage computes with, as it stands in its key.

It covers the modules named in the stage's `sources`, all that these import inside the package, and
the data files beside them (templates, tables). It stops at the rooms of COVERED. Comments,
docstrings, layout and import lines do not count.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]

DATA = (".html", ".css", ".js", ".csv", ".json")

# Where the search stops, and why an edit there needs no other key.
COVERED = {
    "errors": "words alone",
    "config": "what it says stands in the key itself",
    "plan": "where things lie, and what is made from what; the keys of the inputs stand in the key",
    "files": "how files are written and read, which changes no number in them",
    "cluster": "where a job runs, and when",
    "codec": "an edit that changes what is learnt or coded raises the recipe of train or code",
    "stages.evaluate.code": "the recipe number of code",
}


@cache  # every artefact of a stage asks
def fingerprint(*modules: str) -> str:
    """Eight hex digits; `modules` are named as below tacolab: "stages.evaluate.score"."""
    return computed(PACKAGE, *modules)


def computed(package: Path, *modules: str) -> str:
    """The same of any folder that holds the package."""
    forms = {
        _form(tree) if tree else hashlib.sha256(path.read_bytes()).hexdigest()
        for path, tree in sources(package, *modules).items()
    }
    return hashlib.sha256("".join(sorted(forms)).encode()).hexdigest()[:8]


def sources(package: Path, *modules: str) -> dict[Path, ast.Module | None]:
    """Every file that counts: the modules, what they import, and the data files beside them."""
    found: dict[Path, ast.Module | None] = {}
    todo = list(modules)
    while todo:
        path = _path(package, todo.pop())
        if path and path not in found:
            tree = found[path] = ast.parse(path.read_bytes(), filename=str(path))
            todo += [name for name in _imported(tree) if not _covered(name)]
    return found | {data: None for path in found for data in _beside(path)}


def _covered(name: str) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in COVERED)


def _path(package: Path, name: str) -> Path | None:
    """The file of a module; None for what is none (a function, another package)."""
    base = package.joinpath(*name.split("."))
    files = (base.with_suffix(".py"), base / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def _imported(tree: ast.Module) -> Iterator[str]:
    """Names below tacolab that a module imports, wherever it does; not for types alone."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tacolab":
            base = (node.module or "").partition(".")[2]
            yield base
            yield from (f"{base}.{alias.name}".lstrip(".") for alias in node.names)
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            todo += ast.iter_child_nodes(node)


def _beside(path: Path) -> Iterator[Path]:
    """Data files in the folder of a module; not what editors and systems leave there."""
    for file in path.parent.glob("[!.]*"):
        if file.suffix in DATA:
            yield file


def _form(tree: ast.Module) -> str:
    """Code without what does not count; the same under every version of Python."""
    parts: list[str] = []
    _write(tree, parts.append)
    return "".join(parts)


def _write(node: Any, write: Callable[[str], None]) -> None:
    if isinstance(node, ast.AST):
        write(f"{type(node).__name__}(")
        for name, value in ast.iter_fields(node):
            # Fields that a version of Python adds are empty in code that knows nothing of them.
            if value is not None and value != [] and name not in ("kind", "type_comment"):
                write(f"{name}=")
                _write(_parts(value) if isinstance(node, ast.JoinedStr) else value, write)
        write(")")
    elif isinstance(node, list):
        for entry in node:
            if not _without_effect(entry):
                _write(entry, write)
                write(",")
    else:
        write(repr(node))


def _parts(values: list[ast.expr]) -> list[ast.expr]:
    """Of an f-string, without the empty text that Python 3.12 puts behind a nested format."""
    return [part for part in values if not (isinstance(part, ast.Constant) and part.value == "")]


def _without_effect(node: Any) -> bool:
    """An import, or a text that stands alone (a docstring)."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return isinstance(node, ast.Import | ast.ImportFrom)
