"""The fault matrix names tests that exist."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
MATRIX = (TESTS.parent / "docs/reliability.md").read_text()


def test_every_row_names_a_test_that_is_there() -> None:
    rows = re.findall(
        r"^\| (?!---|fault|danger|\|)(.+) \|$", MATRIX.split("## The campaign")[0], re.M
    )
    assert len(rows) > 50
    for row in rows:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", row)
        assert named, f"no test: {row}"
        for file, name in named:
            tree = ast.parse((TESTS / file).read_text())
            found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
            assert name in found, f"{file} has no {name}"
