"""Make an artefact: by its stage's function, unless it is there already."""

import logging
from collections.abc import Callable
from importlib import import_module

from tacolab.files import disk
from tacolab.plan import leftovers
from tacolab.plan.plan import Plan
from tacolab.plan.stage import Artefact, Options, Stage

log = logging.getLogger(__name__)


def make(plan: Plan, artefact: Artefact, options: Options = Options()) -> None:
    """It may be made meanwhile, by another job that a dead head left, perhaps.

    Whatever such a job has taken from under this one's feet, the work is done in the end. Raises
    UserError for an input that is missing, and what the stage raises.
    """
    if not _there(artefact):
        artefact.require_inputs()
        leftovers.tidy(artefact)
        try:
            maker(artefact.stage)(plan, artefact, options)
            return
        except Exception as error:
            if not _there(artefact):
                if told := disk.explained(error, artefact.folder):
                    raise told from error
                raise
            log.warning("%s: another job has made it meanwhile (%s)", artefact, error)
    leftovers.forget(artefact)
    log.info("%s: is there; remove it to make it again", artefact.path)


def _there(artefact: Artefact) -> bool:
    """Asked twice: others may make it."""
    return artefact.done


def maker(stage: Stage) -> Callable[[Plan, Artefact, Options], object]:
    # Imported only now: the workflow plans without torch, and a job needs no other stage.
    module, _, function = stage.make.partition(":")
    maker: Callable[[Plan, Artefact, Options], object]
    maker = getattr(import_module(f"tacolab.stages.{module}"), function)
    return maker
