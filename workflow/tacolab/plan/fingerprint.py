"""A fingerprint of code: of what a cheap stage computes with, as it stands in its key.

It covers the modules named in the stage's `sources`, all that these import inside the package, and
the data files beside them (templates, tables). It stops at the rooms of COVERED. Comments,
docstrings, layout and import lines do not count.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]

# Where the search stops, and why an edit there needs no other key.
COVERED = {
    "errors": "words alone",
    "config": "what it says stands in the key itself",
    "plan": "where things lie, and what is made from what; the keys of the inputs stand in the key",
    "files": "how files are written and read, which changes no number in them",
    "cluster": "where a job runs, and when",
    "codec": "the RECIPE of train or code is raised where an edit changes what is learnt or coded",
    "stages.evaluate.code": "the RECIPE of code",
}


@cache
def fingerprint(*modules: str) -> str:
    """Eight hex digits; `modules` are named as below tacolab: "stages.evaluate.score"."""
    forms = {_form(path) for path in sources(*modules)}
    return hashlib.sha256("".join(sorted(forms)).encode()).hexdigest()[:8]


def sources(*modules: str) -> list[Path]:
    """Every file that counts: the modules, what they import, and the data files beside them."""
    found: set[Path] = set()
    todo = [_path(name) for name in modules]
    while todo:
        path = todo.pop()
        if path is None or path in found:
            continue
        found.add(path)
        todo += [_path(name) for name in _imported(path) if not _covered(name)]
    return sorted(found | {data for path in found for data in _beside(path)})


def _covered(name: str) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in COVERED)


def _path(name: str) -> Path | None:
    """The file of a module; None for what is none (a function, another package)."""
    base = PACKAGE.joinpath(*name.split("."))
    files = (base.with_suffix(".py"), base / "__init__.py")
    return next((file for file in files if file.is_file()), None)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


def _imported(path: Path) -> Iterator[str]:
    """Names below tacolab that a module imports, wherever it does; not for types alone."""
    todo: list[ast.AST] = [_tree(path)]
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
    for file in path.parent.glob("[!.]*[!~]"):
        if file.is_file() and file.suffix not in (".py", ".pyc"):
            yield file


@cache
def _form(path: Path) -> str:
    """A file's content without what does not count; the same under every version of Python."""
    if path.suffix != ".py":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    parts: list[str] = []
    _write(_tree(path), parts.append)
    return "".join(parts)


def _write(node: Any, write: Any) -> None:
    if isinstance(node, ast.AST):
        write(type(node).__name__)
        write("(")
        for name, value in ast.iter_fields(node):
            # Fields that a version of Python adds are empty in code that knows nothing of them.
            if value is not None and value != [] and name not in ("kind", "type_comment"):
                write(f"{name}=")
                _write(value, write)
        write(")")
    elif isinstance(node, list):
        for entry in node:
            if not _counts_not(entry):
                _write(entry, write)
                write(",")
    else:
        write(repr(node))


def _counts_not(node: Any) -> bool:
    """An import, or a text that stands alone (a docstring)."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return isinstance(node, ast.Import | ast.ImportFrom)
