"""Stage `evaluate`: coding to real files, metrics of what they decode to, classical anchors.

Coding and metrics are separate steps, so that a new or corrected metric codes nothing again.
"""

from tacolab.keys import Artefact, Plan


def run(plan: Plan, artefact: Artefact, threads: int | None = None) -> None:
    """Make an artefact of the kinds `code`, `metrics`, `originals`, `distribution`, `anchors`."""
    import torch

    from tacolab.evaluate import anchors, code, distribution, score

    if threads:
        torch.set_num_threads(threads)
    steps = {
        "code": code.run,
        "metrics": score.run,
        "originals": distribution.originals,
        "distribution": distribution.run,
        "anchors": anchors.run,
    }
    steps[artefact.stage](plan, artefact)
