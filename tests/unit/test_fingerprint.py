"""What stands for the code of a cheap stage in its key: what counts, and what does not."""

import ast
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tacolab.plan import fingerprint
from tacolab.plan.fingerprint import COVERED, PACKAGE, computed, sources
from tacolab.plan.stages import ANCHORS, DISTRIBUTION, METRICS, ORIGINALS, REPORT, STAGES

MEASURES = '''"""What it is for."""

from tacolab.quality import metrics
from tacolab.files import atomic

def double(x):
    """Of a number."""
    # twice
    from tacolab.stages.measure import helper

    return 2 * metrics.value(x)
'''
MEASURED = ("stages.measure",)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of a stage, what it imports, a template and a room where the search stops."""
    for name, content in {
        "stages/measure/__init__.py": MEASURES,
        "stages/measure/helper.py": "HELP = 1\n",
        "stages/measure/page.html": "<p>{{ title }}</p>\n",
        "stages/another.py": "ELSE = 1\n",
        "quality/metrics.py": "def value(x):\n    return x\n",
        "files/atomic.py": "A = 1\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    # twice\n", ""),
        ("# twice", "# two times"),
        ("What it is for.", "What for?"),
        ('    """Of a number."""\n', ""),
        ("def double", "\n\n\ndef double"),
        ("2 * metrics.value(x)", "( 2*metrics.value(x) )"),
        ("return 2 * metrics.value(x)", "return (\n        2 * metrics.value(x)\n    )"),
        (
            "from tacolab.quality import metrics\nfrom",
            "from tacolab.quality import metrics\n\nfrom",
        ),
        ("from tacolab.files import atomic\n", ""),
        ("from tacolab.files", "import os\nfrom tacolab.files"),
    ],
)
def test_comments_docstrings_layout_and_import_lines_do_not_count(
    package: Path, old: str, new: str
) -> None:
    before = computed(package, *MEASURED)
    assert old in MEASURES
    (package / "stages/measure/__init__.py").write_text(MEASURES.replace(old, new))
    assert computed(package, *MEASURED) == before


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("stages/measure/__init__.py", True),
        ("stages/measure/helper.py", True),  # imported in a function
        ("quality/metrics.py", True),
        ("stages/another.py", False),
        ("files/atomic.py", False),
        ("stages/measure/page.html", True),
        ("stages/measure/new.csv", True),
        ("stages/measure/.page.html.swp", False),
        ("stages/measure/.DS_Store", False),
        ("stages/measure/page.html~", False),
        ("stages/measure/__init__.py.orig", False),
        ("stages/measure/notes.txt", False),
        ("stages/measure/page.cpython-311.pyc", False),
    ],
)
def test_code_that_is_imported_and_data_beside_it_count(
    package: Path, name: str, counts: bool
) -> None:
    before = computed(package, *MEASURED)
    with (package / name).open("a") as file:
        file.write("EDITED = 1\n")
    assert (computed(package, *MEASURED) != before) == counts


def test_an_edit_taken_back_is_known_again(package: Path) -> None:
    before = computed(package, *MEASURED)
    helper = package / "stages/measure/helper.py"
    helper.write_text("HELP = 2\n")
    assert computed(package, *MEASURED) != before
    helper.write_text("HELP = 1\n")
    assert computed(package, *MEASURED) == before


def test_what_a_later_python_adds_to_its_syntax_tree_changes_nothing(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.12 gives functions and classes an empty list of type parameters."""
    before = computed(package, *MEASURED)
    monkeypatch.setattr(ast.FunctionDef, "_fields", (*ast.FunctionDef._fields, "type_params"))
    monkeypatch.setattr(ast.FunctionDef, "type_params", [], raising=False)
    assert computed(package, *MEASURED) == before


def test_an_empty_text_in_an_f_string_changes_nothing(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.12 ends a nested format with one; 3.11 and 3.13 do not."""
    (package / "stages/measure/helper.py").write_text('shown = f"{value:{width}} {name}"\n')
    before = computed(package, *MEASURED)
    parse = ast.parse

    def parsed(*args: Any, **options: Any) -> ast.Module:
        tree = parse(*args, **options)
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                node.values.append(ast.Constant(""))
        return tree

    monkeypatch.setattr(ast, "parse", parsed)
    assert computed(package, *MEASURED) == before


def test_the_other_python_computes_the_same() -> None:
    """Of the whole package; the module needs nothing that is installed."""
    other = "python3.12" if sys.version_info < (3, 12) else "python3.11"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    places = [other, *map(str, pyenv.glob(f"versions/{other.removeprefix('python')}*/bin/{other}"))]
    modules = [
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in PACKAGE.rglob("*.py")
    ]
    script = "import sys, fingerprint as f; print(f.computed(f.PACKAGE, *sys.argv[1:]))"
    here = computed(PACKAGE, *modules)
    for python in places:
        with suppress(OSError, subprocess.CalledProcessError):
            there = subprocess.run(
                [python, "-c", script, *modules],
                cwd=PACKAGE / "plan",
                check=True,
                capture_output=True,
                text=True,
            )
            assert there.stdout.strip() == here
            return
    pytest.skip(f"needs {other} beside this Python")


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("quality/perceptual.py", {"metrics", "anchors"}),
        ("quality/metrics.py", {"metrics", "anchors"}),
        # The originals: what is cropped and read otherwise is measured otherwise.
        ("stages/evaluate/images.py", {"metrics", "anchors", "originals", "distribution"}),
        ("readers/pictures.py", {"metrics", "anchors", "originals", "distribution"}),
        ("readers/packed.py", {"metrics", "anchors", "originals", "distribution"}),
        ("codec/pixels.py", {"metrics", "anchors", "originals", "distribution"}),
        ("stages/evaluate/decode.py", {"metrics", "originals", "distribution"}),
        ("stages/evaluate/score.py", {"metrics"}),
        ("stages/evaluate/anchors.py", {"anchors"}),  # cheap, beside 30,000 images of each model
        ("stages/evaluate/features.py", {"originals", "distribution"}),
        ("quality/frechet.py", {"originals", "distribution"}),
        ("quality/cmmd.py", {"originals", "distribution"}),
        ("quality/jackknife.py", {"originals", "distribution", "report"}),
        ("quality/bootstrap.py", {"report"}),
        ("stages/report/page/template.html", {"report"}),
        ("stages/report/judge/claims.csv", {"report"}),
        ("stages/report/figures/style.py", {"report"}),
        ("stages/evaluate/code.py", set()),  # a recipe number
        ("codec/elic.py", set()),
        ("plan/stages.py", set()),
        ("files/atomic.py", set()),
    ],
)
def test_each_module_counts_for_what_is_computed_with_it(name: str, stages: set[str]) -> None:
    assert (PACKAGE / name).is_file()
    counts = {
        stage.name
        for stage in STAGES
        if stage.sources and PACKAGE / name in sources(PACKAGE, *stage.sources)
    }
    assert counts & {"metrics", "anchors", "originals", "distribution", "report"} == stages


def test_every_room_where_the_search_stops_is_there_and_says_why() -> None:
    for name, why in COVERED.items():
        path = PACKAGE.joinpath(*name.split("."))
        assert (path.is_dir() or path.with_suffix(".py").is_file()) and why


def test_cheap_stages_carry_their_code_and_dear_ones_a_number() -> None:
    cheap = {stage for stage in STAGES if stage.sources}
    assert cheap >= {METRICS, ORIGINALS, DISTRIBUTION, ANCHORS, REPORT}
    assert all(stage.recipe for stage in STAGES if stage not in cheap)
    for stage in cheap:
        assert stage.code == {"code": fingerprint.fingerprint(*stage.sources)}
        assert len(stage.code["code"]) == 8
