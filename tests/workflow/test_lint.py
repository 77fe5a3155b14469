"""`snakemake --lint` says nothing but what contradicts the design."""

from conftest import Project

# Title of a lint -> why the design does otherwise.
AGAINST_THE_DESIGN = {
    "Shell command directly uses variable CONFIG": (
        "as a param, an edited config would delete and remake every artefact; the key in the path "
        "says what has changed"
    ),
    "Shell command directly uses variable TACOLAB": "a path of this run; no result depends on it",
    "Environment variable TACOLAB_CODE used but not asserted": "the head sets it, for its jobs",
    "Environment variable PATH used but not asserted": "every process has one",
}


def test_lint(clone: Project) -> None:
    lint = clone.snakemake("--lint")
    titles = [
        line.strip(" *") for line in (lint.stdout + lint.stderr).splitlines() if "    * " in line
    ]
    assert titles, "nothing was linted"
    unexpected = [title for title in titles if not title.startswith(tuple(AGAINST_THE_DESIGN))]
    assert unexpected == []
