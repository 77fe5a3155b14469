"""Stage `weights`: which tokens of a caption count more, by TF-IDF and by names and nouns."""

from tacolab.keys import Artefact, Plan


def run(plan: Plan, artefact: Artefact) -> None:
    """Make an artefact of the kinds `vocabulary` or `weights`."""
    raise NotImplementedError
