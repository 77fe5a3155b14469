"""The conda environments hold what their stages import, in the lock's versions."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
import yaml

from tacolab.plan.stages import STAGES, stage

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "workflow/tacolab"
ENVS = sorted(path.stem for path in (ROOT / "envs").glob("*.yaml"))
# What a rule never does, since another one has these sources.
NOT_BY = {
    "captions": "tacolab.stages.captions.network",
    "describe": "tacolab.stages.captions.chat",
}
# Rooms whose modules are imported for a part of them: the rest is imported when it is asked for.
IN_PART = ("tacolab.cli", "tacolab.overview")
# Packages that import what is asked of them, and nothing else.
LAZY = ("tacolab", "tacolab.codec")


def pins(env: str) -> dict[str, str]:
    """Version by package of an environment's pip section and its post-deploy script."""
    *_, pip = yaml.safe_load((ROOT / f"envs/{env}.yaml").read_text())["dependencies"]
    lines = [line for line in pip["pip"] if not line.startswith("--")]
    script = ROOT / f"envs/{env}.post-deploy.sh"
    if script.exists():
        lines += [word for word in script.read_text().split() if "==" in word]
    assert all(line.count("==") == 1 for line in lines)
    return dict(line.split("==") for line in lines)


@pytest.mark.parametrize("env", ENVS)
def test_versions_are_those_of_the_lock(env: str) -> None:
    lock = dict(line.split("==") for line in (ROOT / "requirements.lock").read_text().splitlines())
    found = {name: version.removesuffix("+cu126") for name, version in pins(env).items()}
    assert found == {name: lock.get(name) for name in found}


def test_old_cards_get_torch_for_cuda_12_6() -> None:
    text = (ROOT / "envs/train.yaml").read_text()
    assert "- --extra-index-url https://download.pytorch.org/whl/cu126\n" in text
    assert all(pins("train")[name].endswith("+cu126") for name in ("torch", "torchvision"))


def imported(path: Path, everywhere: bool) -> set[str]:
    """Dotted names that a module imports, at its top or everywhere."""
    tree = ast.parse(path.read_text())
    names: set[str] = set()
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@cache
def distributions() -> Mapping[str, list[str]]:
    """What brings each module that can be imported here."""
    return metadata.packages_distributions()


def needed(rule: str) -> set[str]:
    """Distributions that the command of a rule may import, however deep."""
    # A report of what is there is drawn by the same code.
    made_by = "tacolab.stages." + stage(rule.removesuffix("_now")).make.partition(":")[0]
    todo, modules = {"tacolab.cli", made_by}, set[str]()
    while todo:
        name = todo.pop()
        modules.add(name)
        base = PACKAGE.joinpath(*name.split(".")[1:])
        files = (base.with_suffix(".py"), base / "__init__.py")
        file = next((file for file in files if file.exists()), None)
        if name.startswith("tacolab") and file and not name.startswith(NOT_BY.get(rule, " ")):
            in_part = name in LAZY or name.startswith(IN_PART)
            todo |= imported(file, everywhere=not in_part) - modules
        elif name.rpartition(".")[0] in LAZY:  # no module of it: a class, say
            todo |= imported(base.parent / "__init__.py", everywhere=True) - modules
    of = distributions()
    tops = {name.split(".")[0] for name in modules} - {"tacolab"}
    names = {re.sub(r"[_.]", "-", of[top][0]).lower() for top in tops if top in of}
    return names - {"pydantic-core"}  # pydantic brings its core


def env_of_rules() -> dict[str, str]:
    """Environment by rule, as the rule files say."""
    text = "\n".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    rules = re.split(r"^rule (\w+):", text, flags=re.MULTILINE)[1:]
    found = {
        name: re.search(r'conda:\s+"../../envs/(\w+)\.yaml"', body)
        for name, body in zip(rules[::2], rules[1::2], strict=True)
    }
    return {name: match[1] for name, match in found.items() if match}


def test_every_rule_has_an_environment_with_what_its_stage_imports() -> None:
    envs = env_of_rules()
    assert "torch" in needed("train") and "torch" not in needed("token_weights")
    assert set(envs) == {"report_now", *(stage.name for stage in STAGES)}
    lacking = {rule: needed(rule) - set(pins(env)) for rule, env in envs.items()}
    assert not any(lacking.values()), lacking
    assert set(envs.values()) == set(ENVS)


def test_the_rules_command_runs_under_the_python_of_an_activated_environment(
    tmp_path: Path,
) -> None:
    """That has no tacolab installed, and conda has put it first on the PATH."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nACTIVATED=yes exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nprint(os.environ.get('ACTIVATED'), file=sys.stderr)\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT / "workflow/bin"), os.environ["PATH"]])
    done = subprocess.run(
        ["tacolab", "status", "-c", str(ROOT / "config/demo.yaml")],
        env=os.environ | {"PATH": path, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "yes\n"
    assert "of 42 done" in done.stdout
