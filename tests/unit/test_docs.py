"""What the documentation points to is there: files, headings, commands, options and targets."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from tacolab import cli

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "*/README.md")
    for path in ROOT.glob(pattern)
    if not path.parent.name.startswith(".")
)
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_that_are_there(page: Path) -> None:
    broken = []
    for link in LINK.findall(FENCED.sub("", page.read_text())):
        if link.startswith(("https://", "http://")):
            continue
        file, _, heading = link.partition("#")
        target = page.parent / file if file else page
        if not target.exists() or (heading and heading not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_is_reached_from_the_readme() -> None:
    found: set[Path] = set()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page not in found:
            found.add(page)
            links = LINK.findall(page.read_text())
            todo += [
                (page.parent / file).resolve()
                for file in (link.partition("#")[0] for link in links)
                if file.endswith(".md") and "://" not in file
            ]
    assert set(PAGES) - found == set()


def lines(program: str) -> Iterator[list[str]]:
    """The words behind `program` in every command that the pages show."""
    for page in PAGES:
        for block in FENCED.findall(page.read_text()):
            for line in block.splitlines():
                words = shlex.split(line, comments=True) if line.startswith(program) else []
                if words[:1] == [program]:
                    yield words[1:]


def test_commands_and_options_that_are_shown_exist() -> None:
    group = typer.main.get_command(cli.app)
    assert isinstance(group, typer.core.TyperGroup)
    shown = list(lines("tacolab"))
    for name, *words in shown:
        if not name.startswith("-"):
            options = {option for each in group.commands[name].params for option in each.opts}
            assert {word for word in words if re.match(r"--?[a-z]", word)} <= options, name
    assert len(shown) > 20


def test_targets_of_make_that_are_shown_exist() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    shown = list(lines("make"))
    assert shown and {words[0] for words in shown if words} <= set(targets)
