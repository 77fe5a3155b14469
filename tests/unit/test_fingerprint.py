"""What runs metrics and report again after an edit of their code, and what does not."""

import ast
from pathlib import Path

import pytest

from tacolab.plan import fingerprint

CODE = '''"""What it is for."""

def double(x):
    # twice
    return 2 * x
'''


# What the measuring modules import, and an edit of which cannot change a number, or only one that
# a RECIPE number stands for.
OTHERS = {
    "config", "keys.py", "fingerprint.py", "errors.py",  # what is wanted, and where it lies
    # how it is done
    "atomic.py", "disk.py", "process.py", "intact.py", "ledger.py",
    "progress.py", "provenance.py", "device.py",
    "evaluate/code.py", "codec", "captiontable.py", "weighttable.py",  # coding: RECIPE["code"]
    "imagetable.py", "tokens.py", "tokencounts.py", "texts.py",
    "weightfile.py", "lfspointer.py",  # weights that are opened or refused
}  # fmt: skip


def imported(name: str) -> set[str]:
    """The modules of the package that a module needs, and those that they need."""
    package = fingerprint.PACKAGE
    found: set[str] = set()
    todo = [name]
    while todo:
        tree = ast.parse((package / (name := todo.pop())).read_text())
        found.add(name)
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith(
                "tacolab"
            ):
                continue
            for module in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                path = package.parent.joinpath(*module.split(".")).with_suffix(".py")
                if path.exists() and (file := str(path.relative_to(package))) not in found:
                    # A measured module's own imports count; those of the others need not.
                    kept = file not in OTHERS and Path(file).parts[0] not in OTHERS
                    todo += [file] if kept or file == "codec/pixels.py" else []
    return found


@pytest.mark.parametrize(
    ("module", "listed"),
    [
        ("evaluate/score.py", fingerprint.METRICS),
        ("evaluate/anchors.py", fingerprint.ANCHORS),
        ("evaluate/distribution.py", fingerprint.DISTRIBUTION),
    ],
)
def test_whatever_a_measuring_module_imports_is_listed(
    module: str, listed: tuple[str, ...]
) -> None:
    assert sorted(listed) == sorted(imported(module))


def test_whatever_the_report_imports_counts() -> None:
    reports = sorted((fingerprint.PACKAGE / "report").glob("*.py"))
    needed = set().union(*(imported(f"report/{path.name}") for path in reports))
    assert {name for name in needed if not name.startswith("report/")} == {"jackknife.py"}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of a metric and a report with a template."""
    monkeypatch.setattr(fingerprint, "PACKAGE", tmp_path)
    measured = (*fingerprint.METRICS, *fingerprint.ANCHORS, *fingerprint.DISTRIBUTION)
    for name in (*measured, "report/page.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(CODE)
    (tmp_path / "report" / "templates").mkdir()
    (tmp_path / "report" / "templates" / "page.html").write_text("<p>{{ title }}</p>\n")
    return tmp_path


@pytest.mark.parametrize(
    "same",
    [
        CODE.replace("    # twice\n", ""),
        CODE.replace("# twice", "# two times"),
        CODE.replace("def", "\n\n\ndef"),
        CODE.replace("2 * x", "( 2*x )"),
        CODE.replace("return 2 * x", "return (\n        2 * x\n    )"),
    ],
)
def test_comments_blank_lines_and_layout_do_not_count(package: Path, same: str) -> None:
    before = fingerprint.metrics(), fingerprint.report()
    (package / "evaluate/metrics.py").write_text(same)
    (package / "report/page.py").write_text(same)
    assert (fingerprint.metrics(), fingerprint.report()) == before


@pytest.mark.parametrize("name", fingerprint.METRICS)
def test_code_of_every_metrics_module_counts(package: Path, name: str) -> None:
    metrics, report = fingerprint.metrics(), fingerprint.report()
    (package / name).write_text(CODE.replace("2 * x", "3 * x"))
    assert fingerprint.metrics() != metrics
    assert fingerprint.report() == report


def test_intervals_of_differences_are_drawn_anew(package: Path) -> None:
    before = fingerprint.report()
    (package / "jackknife.py").write_text(CODE.replace("2 * x", "3 * x"))
    assert fingerprint.report() != before


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("perceptual.py", {"metrics", "anchors"}),
        # The originals: what is cropped and read otherwise is measured otherwise.
        ("evaluate/images.py", {"metrics", "anchors", "originals", "distribution"}),
        ("pictures.py", {"metrics", "anchors", "originals", "distribution"}),
        ("packed.py", {"metrics", "anchors", "originals", "distribution"}),
        ("evaluate/decode.py", {"metrics", "originals", "distribution"}),
        ("evaluate/score.py", {"metrics"}),
        ("evaluate/anchors.py", {"anchors"}),  # cheap, beside 30,000 images of each model
        ("evaluate/features.py", {"originals", "distribution"}),
        ("evaluate/frechet.py", {"originals", "distribution"}),
        ("evaluate/cmmd.py", {"originals", "distribution"}),
        ("jackknife.py", {"originals", "distribution"}),
    ],
)
def test_only_what_a_module_measures_is_measured_anew(
    package: Path, name: str, stages: set[str]
) -> None:
    before = fingerprint.measured()
    (package / name).write_text(CODE.replace("2 * x", "3 * x"))
    after = fingerprint.measured()
    assert {stage for stage in after if after[stage] != before[stage]} == stages


@pytest.mark.parametrize("name", ["page.py", "templates/page.html", "style.css", "new.csv"])
def test_code_templates_styles_and_data_of_the_report_count(package: Path, name: str) -> None:
    metrics, report = fingerprint.metrics(), fingerprint.report()
    with (package / "report" / name).open("a") as file:
        file.write("a = 1\n")
    assert fingerprint.report() != report
    assert fingerprint.metrics() == metrics


@pytest.mark.parametrize("name", [".page.py.swp", ".DS_Store", "page.py~", "page.cpython-311.pyc"])
def test_what_editors_leave_does_not_count(package: Path, name: str) -> None:
    before = fingerprint.report()
    (package / "report" / name).write_bytes(b"\xff\x00")
    assert fingerprint.report() == before


def test_the_real_package_has_them() -> None:
    assert {len(fingerprint.metrics()), len(fingerprint.report())} == {8}
    assert fingerprint.metrics() == fingerprint.metrics()
    for name in fingerprint.METRICS:
        assert (fingerprint.PACKAGE / name).is_file()
