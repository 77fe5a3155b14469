"""Stage `evaluate`: coding to real files, metrics of what they decode to, classical anchors.

Coding and metrics are separate steps, so that a new or corrected metric codes nothing again.
"""

from tacolab.plan.keys import Artefact, Plan


def run(plan: Plan, artefact: Artefact, threads: int | None = None) -> None:
    """Make an artefact of the kinds `code`, `metrics`, `originals`, `distribution`, `anchors`."""
    import torch

    if threads:
        torch.set_num_threads(threads)
    # Only what the step needs: LPIPS alone takes a second to import, in each of thousands of jobs.
    if artefact.stage == "code":
        from tacolab.stages.evaluate import code

        code.run(plan, artefact)
    elif artefact.stage == "metrics":
        from tacolab.stages.evaluate import score

        score.run(plan, artefact)
    elif artefact.stage == "anchors":
        from tacolab.stages.evaluate import anchors

        anchors.run(plan, artefact)
    else:
        from tacolab.stages.evaluate import distribution

        step = distribution.originals if artefact.stage == "originals" else distribution.run
        step(plan, artefact)
