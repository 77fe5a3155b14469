"""A report stands until the next one is whole, and links always lead to one that is."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tacolab.errors import UserError
from tacolab.plan import Plan
from tacolab.stages.report import build, latest


def test_an_error_in_a_figure_leaves_the_old_report(
    drawn: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    artefact = drawn.find("report")
    page = artefact.path.read_text()
    drawing = artefact.folder.resolve()

    def slip(*_: Any) -> None:
        raise ValueError("a slip")

    with monkeypatch.context() as patch:
        patch.setattr(build, "draw", slip)
        artefact.folder.unlink()  # as Snakemake does before the job
        with pytest.raises(ValueError, match="a slip"):
            build.run(drawn, artefact)
    for link in (artefact.folder, artefact.folder.with_name("latest")):
        assert link.resolve() == drawing and (link / "index.html").read_text() == page
    assert len(list(drawing.parent.iterdir())) == 3  # nothing half-drawn


def draw(link: Path, text: str) -> None:
    with latest.drawing(link, link.with_name("latest")) as fresh:
        (fresh / "index.html").write_text(text)


def pages(link: Path) -> set[str]:
    """What is read at the two links."""
    return {(one / "index.html").read_text() for one in (link, link.with_name("latest"))}


def killed_at(step: int, work: Callable[[], None]) -> bool:
    """Whether a process that does `work` came to its n-th change of names, where it is killed."""
    child = os.fork()
    if child == 0:
        steps = iter(range(step + 1))

        def dying(change: Callable[..., Any]) -> Callable[..., Any]:
            def changed(*arguments: Any, **options: Any) -> Any:
                if next(steps, None) == step:
                    os._exit(9)
                return change(*arguments, **options)

            return changed

        for name in ("rename", "replace", "symlink", "unlink", "rmdir"):
            setattr(os, name, dying(getattr(os, name)))
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.fixture(params=["a link", "a folder"])
def standing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """An old report; as a folder in a copy that followed links."""
    link = tmp_path / "report" / "0123abcd"
    draw(link, "old")
    if request.param == "a folder":
        (drawing,) = (path for path in link.parent.iterdir() if not path.is_symlink())
        link.unlink()
        drawing.rename(link)
        latest.lead(link.with_name("latest"), link)
    return link


def test_a_kill_at_any_moment_leaves_links_that_work(standing: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    shutil.copytree(standing.parent, kept, symlinks=True)
    step, seen = 0, set()
    while killed_at(step, lambda: draw(standing, "new")):
        link = standing if standing.exists() else standing.with_name("latest")
        text = (link / "index.html").read_text()
        assert text in ("old", "new")
        seen.add(text)
        draw(standing, "newest")  # the same command goes on
        assert pages(standing) == {"newest"}
        shutil.rmtree(standing.parent)
        shutil.copytree(kept, standing.parent, symlinks=True)
        step += 1
    assert step > 5 and seen == {"old", "new"}
    assert pages(standing) == {"new"}
    assert len([path for path in standing.parent.iterdir() if not path.is_symlink()]) == 1


def test_a_folder_called_latest_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    with pytest.raises(UserError, match="latest is no link"):
        draw(tmp_path / "0123abcd", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["latest"]


def test_comparisons_and_unfinished_reports_stand_too(tmp_path: Path) -> None:
    for name in ("now", "compare"):
        with latest.drawing(tmp_path / name) as fresh:
            (fresh / "index.html").write_text("old")
        with (
            pytest.raises(ZeroDivisionError),
            latest.drawing(tmp_path / name) as fresh,
        ):
            (fresh / "index.html").write_text(str(1 / 0))
        assert (tmp_path / name / "index.html").read_text() == "old"
    assert not (tmp_path / "latest").exists()
