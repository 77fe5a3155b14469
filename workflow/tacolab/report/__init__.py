"""Stage `report`: figures, tables, a gallery and one page that opens from disk.

It reads files only, without torch, so it works on a laptop from a copy of results/.
"""

from tacolab.keys import Artefact, Plan


def run(plan: Plan, artefact: Artefact) -> None:
    """Makes the report's folder anew and points `report/latest` at it.

    Raises UserError naming the first input that is missing or cannot be read.
    """
    # Imported here: the workflow asks `report.layout` for file names and shall not wait for
    # matplotlib.
    from tacolab.report import build

    build.run(plan.study, artefact)
