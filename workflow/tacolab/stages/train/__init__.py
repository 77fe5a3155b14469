"""Stage `train`: one model per arm, lambda and seed; killable at any instant.

From the outside in: segment.py (the folder, SLURM, the outputs), loop.py (resume, step, stop),
step.py (one step), losses.py (what is minimised). Data, network and optimisers: assemble.py,
weights of another model: warm_start.py.
"""

from tacolab.plan import Artefact, Options, Plan


def run(
    plan: Plan,
    artefact: Artefact,
    options: Options = Options(),
) -> None:
    """Train (or go on, or only export) and write `model.safetensors`, `model.json`, exports.

    Equality to the bit needs the same number of threads. Raises Interrupted when it was
    asked to stop, StageError on a full disk.
    """
    from tacolab.stages.train.segment import run_segment

    run_segment(plan, artefact, options)
