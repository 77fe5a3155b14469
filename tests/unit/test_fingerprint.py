"""What runs metrics and report again after an edit of their code, and what does not."""

from pathlib import Path

import pytest

from tacolab import fingerprint

CODE = '''"""What it is for."""

def double(x):
    # twice
    return 2 * x
'''


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


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("perceptual.py", {"metrics", "anchors"}),
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
