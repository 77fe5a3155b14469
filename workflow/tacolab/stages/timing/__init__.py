"""Stage `timing`: what each kind of attention costs on a machine, by text length and side."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tacolab.errors import UserError
from tacolab.files import atomic
from tacolab.files.ledger import Ledger
from tacolab.files.progress import progress
from tacolab.plan import Artefact, Options, Plan
from tacolab.plan.provenance import provenance


def run(plan: Plan, artefact: Artefact, options: Options = Options()) -> None:
    """Write the table of times; killed at any moment, the same command goes on at the next point.

    Raises UserError on another device than the config names for this machine.
    """
    import pandas as pd
    import torch

    from tacolab.cluster.device import pick_device
    from tacolab.stages.timing.machine import device_name
    from tacolab.stages.timing.points import NOTES, Point, points
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
    # Rows of another device, or another number of threads, are not continued.
    words = "".join(c if c.isalnum() else "-" for c in f"{name}-{common['threads']}")
    ledger = Ledger(artefact.folder / f"{artefact.key}.{words}.points.jsonl")
    # By point, not by place: two jobs may write one ledger, where a head died and its job lives on.
    found = {Point(**entry["point"]): entry["rows"] for entry in ledger.rows}
    todo = [point for point in points(timing) if point not in found]
    for point in progress(todo, len(todo), str(artefact)):
        found[point] = rows(point, timing, size, device)
        ledger.add({"point": asdict(point), "rows": found[point]})
    table = [common | asdict(point) | row for point in points(timing) for row in found[point]]
    frame = pd.DataFrame(table, columns=list(COLUMNS)).astype(COLUMNS)
    atomic.write(path, lambda temporary: frame.to_parquet(temporary, index=False))
    content: dict[str, Any] = {"key": artefact.key, "text": artefact.text, **common}
    settings = {
        "tf32_convolutions": torch.backends.cudnn.allow_tf32,
        "tf32_products": torch.backends.cuda.matmul.allow_tf32,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cuda": torch.version.cuda,
    }
    content |= {"experiments": NOTES, "settings": settings, "provenance": provenance()}
    atomic.write_json(description, content)
    ledger.remove()
    for leftover in artefact.folder.glob(f"{artefact.key}.*.points.jsonl"):
        leftover.unlink(missing_ok=True)
