"""Losses that are no numbers: an error that names the step, or in fp16 a step that is skipped."""

import math
from collections.abc import Mapping

from tacolab.errors import StageError
from tacolab.stages.train.assemble import Run

# Steps in a row that fp16 may skip: each halves the scale of the loss, which begins at 2^16.
MANY = 100


def finite(run: Run, step: int, terms: Mapping[str, float]) -> dict[str, float]:
    """The terms of a step, `total` as `loss`. Raises StageError on inf or nan."""
    for name, value in terms.items():
        # The quantiles' loss is computed after the step: if it is none, the next step's are none.
        if name != "aux" and not math.isfinite(value):
            raise _not_finite(run, step, name)
    return {"loss": terms["total"], **{k: v for k, v in terms.items() if k != "total"}}


def skipped(run: Run, step: int, terms: Mapping[str, float]) -> bool:
    """Whether the scaler of fp16 has left a step out. Raises StageError after many in a row."""
    state = run.state
    if not state.scaler.is_enabled() or all(map(math.isfinite, terms.values())):
        state.skipped = 0
        return False
    state.skipped += 1
    if state.skipped > MANY:
        name = next(name for name, value in terms.items() if not math.isfinite(value))
        raise _not_finite(run, step, name)
    return True


def _not_finite(run: Run, step: int, term: str) -> StageError:
    return StageError(
        f"{run.artefact}: {term} is not finite at step {step}; the last good checkpoint "
        f"in {run.folder} is intact. A lower learning_rate or clip_norm may help (a new key)"
    )
