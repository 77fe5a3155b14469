"""The tree shows the architecture: rooms, the one way of imports, stages declared once."""

import ast
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tacolab.plan.stages import STAGES

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "workflow/tacolab"

# Each room may import those before it. `codec` is a library of its own, which can be lifted out.
ORDER = (
    "errors",
    "files",
    "config",
    "cluster",
    "codec",
    "quality",
    "text",
    "plan",
    "readers",
    "stages",
    "overview",
    "cli",
)
CODEC_NEEDS = {"errors", "files", "codec"}


def rooms(path: Path) -> Iterator[str]:
    """The rooms that a module imports, wherever in it; for a stage with its package."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tacolab":
            for alias in node.names:
                yield ".".join(f"{node.module}.{alias.name}".split(".")[1:3])


def modules(room: str) -> list[Path]:
    path = PACKAGE / room
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def test_the_package_has_these_rooms_and_nothing_else() -> None:
    found = {
        path.stem
        for path in PACKAGE.iterdir()
        if path.name not in ("__init__.py", "__pycache__") and not path.name.startswith(".")
    }
    assert found == set(ORDER)
    assert len(found) <= 12


@pytest.mark.parametrize("room", ORDER)
def test_a_room_imports_only_what_stands_before_it(room: str) -> None:
    allowed = {*ORDER[: ORDER.index(room)], room}
    if room == "codec":
        allowed = CODEC_NEEDS
    for path in modules(room):
        found = {name.split(".")[0] for name in rooms(path)} & {*ORDER}
        assert found <= allowed, f"{path.relative_to(PACKAGE)} imports {found - allowed}"


def test_no_stage_imports_another() -> None:
    for package in (path for path in (PACKAGE / "stages").iterdir() if path.is_dir()):
        for path in package.rglob("*.py"):
            foreign = {
                name
                for name in rooms(path)
                if name.startswith("stages.") and name != f"stages.{package.name}"
            }
            assert not foreign, f"{path.relative_to(PACKAGE)} imports {foreign}"


def test_every_stage_has_a_rule_of_its_name_and_what_makes_it() -> None:
    rules = "\n".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    for stage in STAGES:
        assert f"rule {stage.name}:" in rules
        module, _, function = stage.make.partition(":")
        base = PACKAGE.joinpath("stages", *module.split("."))
        file = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
        assert f"def {function}(" in file.read_text()


DECLARATION = """
def _sizes(plan: Plan) -> Iterator[Artefact]:
    return (
        plan.add(Artefact(SIZES, {"dataset": name}, {}, {"data": data(plan, name)}))
        for name in plan.study.protocol.datasets
    )


SIZES = Stage(
    name="sizes",
    folder="sizes/{dataset}",
    files=("{key}.json",),
    make="sizes:run",
    sources=("stages.sizes",),
    wanted=_sizes,
)

# -- Report --"""
STAGE = '''"""Stage `sizes`: how large the pictures of a data set are."""

from tacolab.files import atomic
from tacolab.plan import Artefact, Options, Plan
from tacolab.readers.packed import Packed


def run(plan: Plan, artefact: Artefact, options: Options = Options()) -> None:
    data = Packed(artefact.inputs["data"].folder)
    atomic.write_json(artefact.path, {"key": artefact.key, "images": len(data)})
'''
RULE = """rule sizes:
    input:
        made_from("sizes"),
    output:
        stage("sizes").patterns,
    log:
        stage("sizes").log,
    shell:
        MAKE
"""


@pytest.mark.slow
def test_a_new_stage_needs_its_declaration_its_package_and_its_rule(tmp_path: Path) -> None:
    """Everything else asks the declaration: plan, commands, doctor, costs, status, prune."""
    for name in ("workflow", "config", "profiles", "envs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    rules = tmp_path / "workflow/rules"
    (rules / "sizes.smk").write_text(RULE)
    snakefile = (ROOT / "Snakefile").read_text()
    include = 'include: str(CODE / "workflow/rules/timing.smk")\n'
    assert include in snakefile
    (tmp_path / "Snakefile").write_text(
        snakefile.replace(include, include + include.replace("timing", "sizes"))
    )
    (tmp_path / "workflow/tacolab/stages/sizes").mkdir()
    (tmp_path / "workflow/tacolab/stages/sizes/__init__.py").write_text(STAGE)
    declared = tmp_path / "workflow/tacolab/plan/stages.py"
    text = declared.read_text()
    for old, new in (
        ("\n# -- Report --", DECLARATION),
        ("    TIMING,\n", "    TIMING,\n    SIZES,\n"),
    ):
        assert text.count(f"{old}") >= 1
        text = text.replace(old, new, 1)
    declared.write_text(text)

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path / "workflow")},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    tacolab = ("workflow/bin/tacolab",)
    demo = ("--config", "config/demo.yaml")
    snakemake = ("-m", "snakemake", "--profile", "profiles/local")
    planned = run(*snakemake, "-n", "--configfile", demo[1])
    assert "\nsizes                1\n" in planned and "\ntotal               44\n" in planned
    costs = json.loads(run(*tacolab, "plan", *demo, "--json"))["total"]
    assert costs["other_jobs"] == 44 - 1 - costs["models"] - costs["evaluations"]
    run(*snakemake, "--until", "sizes", "--configfile", demo[1])
    status = run(*tacolab, "status", *demo)
    assert [line.split()[:4] for line in status.splitlines() if line.startswith("sizes")] == [
        ["sizes", "1", "of", "1"]
    ]
    (made,) = (tmp_path / "results/sizes/photos").iterdir()
    made.unlink()
    run(*tacolab, "make", str(made.relative_to(tmp_path)), *demo)
    assert made.exists()
    stale = made.with_name("01234567.json")
    stale.write_text("{}")
    listed = run(*tacolab, "prune")
    assert stale.name in listed and made.name not in listed


def test_one_name_is_one_class() -> None:
    found = Counter(
        node.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in found.items() if count > 1] == []
