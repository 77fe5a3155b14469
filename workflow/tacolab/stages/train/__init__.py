"""Stage `train`: one model per arm, lambda and seed; killable at any instant.

From the outside in: segment.py (the folder, SLURM, the outputs), loop.py (resume, step, stop),
step.py (one step), losses.py (what is minimised). Data, network and optimisers: assemble.py.
"""

from tacolab.plan.keys import Artefact, Plan


def run(
    plan: Plan,
    artefact: Artefact,
    threads: int | None = None,
    stop_after: float | None = None,
    stage_to: str = "",
    retry: bool = False,
) -> None:
    """Train (or go on, or only export) and write `model.safetensors`, `model.json`, exports.

    threads: of torch, in each process; equality to the bit needs the same number. stop_after:
    minutes. stage_to: a local disk for a copy of the data. retry: a workflow starts this by itself
    after a failure. Raises Interrupted when it was asked to stop, StageError on a full disk.
    """
    from tacolab.stages.train.segment import run_segment

    run_segment(plan, artefact, threads, stop_after, stage_to, retry)
