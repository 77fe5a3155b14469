"""Stage `timing`: what each kind of attention costs on a machine, by text length and side."""

from __future__ import annotations

from dataclasses import asdict

from tacolab.errors import UserError
from tacolab.files import atomic
from tacolab.files.parts import Part, Parts
from tacolab.files.progress import progress
from tacolab.plan import Artefact, Options, Plan
from tacolab.plan.provenance import describe


def run(plan: Plan, artefact: Artefact, options: Options = Options()) -> None:
    """Write the table of times; killed at any moment, the same command goes on at the next point.

    Raises UserError on another device than the config names for this machine.
    """
    import pandas as pd
    import torch

    from tacolab.cluster.device import pick_device
    from tacolab.stages.timing.machine import device_name
    from tacolab.stages.timing.points import NOTES, points
    from tacolab.stages.timing.table import COLUMNS, rows

    timing, size = plan.study.timing, plan.study.codec
    assert timing is not None
    machine = artefact.names["machine"]
    device = pick_device(plan.study.execution.device, options.threads)
    name = device_name(device)
    if timing.machines[machine] not in name:
        raise UserError(
            f"timing.machines.{machine}: this device is '{name}', not a "
            f"'{timing.machines[machine]}'; run `tacolab timing {machine}` there and copy "
            f"{artefact.folder} from there"
        )
    common = {
        "machine": machine,
        "device": name,
        "device_type": device.type,
        "threads": torch.get_num_threads(),
    }

    path, description = artefact.files
    # Times of another device, or another number of threads, are not continued.
    words = "".join(c if c.isalnum() else "-" for c in f"{name}-{common['threads']}")
    measured = points(timing)
    ranges = [range(n, n + 1) for n in range(len(measured))]  # a point takes minutes
    kept = Parts(artefact.state, ranges, words)
    todo = kept.missing
    for which in progress(todo, len(todo), str(artefact)):
        point = measured[which.start]
        found = rows(point, timing, size, device)
        kept.save(which, Part([common | asdict(point) | row for row in found]))
    frame = pd.DataFrame(kept.rows, columns=list(COLUMNS)).astype(COLUMNS)
    atomic.write(path, lambda temporary: frame.to_parquet(temporary, index=False))
    settings = {
        "tf32_convolutions": torch.backends.cudnn.allow_tf32,
        "tf32_products": torch.backends.cuda.matmul.allow_tf32,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cuda": torch.version.cuda,
    }
    content = describe(artefact, **common, experiments=NOTES, settings=settings)
    atomic.write_json(description, content)
    kept.remove()
