"""Stage `report`: figures, tables, a gallery and one page that opens from disk.

It reads files only, without torch, so it works on a laptop from a copy of results/.
"""

from pathlib import Path

from tacolab.plan.keys import RESULTS, Artefact, Plan


def run(plan: Plan, artefact: Artefact, partial: bool = False) -> Path:
    """Makes the report's folder anew and points `report/latest` at it; returns the page.

    partial: a report of what is there, in `report/now`. Raises UserError naming the first input
    that is missing (but for `partial`) or cannot be read.
    """
    # Imported here: the workflow asks `report.layout` for file names and shall not wait for
    # matplotlib.
    from tacolab.stages.report import build

    return build.run(plan.study, artefact, partial)


def compare(first: Path, second: Path) -> Path:
    """Two result folders side by side, in `report/compare`; returns the page.

    Raises UserError where one of them holds no report, or they have nothing in common.
    """
    from tacolab.stages.report import comparison

    return comparison.run(first, second, RESULTS / "report" / "compare")
