"""Commands that look at a study as a whole: status, doctor, plan, prune."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from tacolab.cli.shared import STUDY, ConfigFile, Json, Overrides, console, planned
from tacolab.errors import UserError

app = typer.Typer()


@app.command()
def status(
    config: ConfigFile = STUDY,
    overrides: Overrides = [],  # noqa: B006
    watch: Annotated[bool, typer.Option("--watch", help="Look again every 10 s.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Every artefact and its key, not a line per stage.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show how far every training is, here and in SLURM, and what else is there or missing."""
    from tacolab.overview.status import Status

    if watch and (as_json or not sys.stdout.isatty()):
        raise UserError("--watch: needs a terminal, and no --json, which is one document")
    found = Status(planned(config, overrides))
    if as_json:
        typer.echo(json.dumps(found.document(), indent=2, allow_nan=False))
    elif watch:
        found.watch(console(160), everything)
    else:
        found.show(console(160), everything)


@app.command()
def doctor(
    config: ConfigFile = STUDY,
    overrides: Overrides = [],  # noqa: B006
    profile: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Default: profiles/slurm where there is SLURM, else profiles/local."
        ),
    ] = None,
) -> None:
    """Check this machine, and the cluster of the profile, before a first run.

    Names the remedy for everything that is wrong; exit code 1 if something would fail.
    """
    from tacolab.overview import doctor as examination

    plan = planned(config, overrides)
    table = Table("check", "", "found", "remedy", box=None)
    failed = 0
    for name, finding in examination.examine(plan, examination.Profile.read(profile)):
        style = {"ok": "green", "warning": "yellow", "failure": "red"}.get(finding.verdict)
        table.add_row(name, finding.verdict, finding.found, finding.remedy, style=style)
        failed += finding.verdict == "failure"
    out = console(160, markup=False)
    out.print(table)
    if failed:
        out.print(f"{failed} to be mended before a run")
        raise typer.Exit(1)


@app.command()
def plan(
    config: ConfigFile = STUDY,
    overrides: Overrides = [],  # noqa: B006
    samples_per_second: Annotated[
        float | None,
        typer.Option(
            min=1e-3,
            help="Training samples per second of one GPU. Default: as measured, else as published.",
        ),
    ] = None,
    gpus_at_once: Annotated[int, typer.Option(min=1, help="GPUs that may be used at once.")] = 2,
    hours_per_job: Annotated[float, typer.Option(min=1, help="Longest time of one job.")] = 48,
    as_json: Json = False,
) -> None:
    """Show what the config still costs: jobs, GPU hours, days, disk, dollars, by phase."""
    from tacolab.overview import costs

    found = costs.estimate(
        planned(config, overrides), samples_per_second, gpus_at_once, hours_per_job
    )
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
        return
    jobs = ("models done", "to train", "evaluation jobs", "other jobs")
    needs = ("samples", "GPU hours", "days", "jobs per model", "disk [GiB]", "API [$]")
    numbers = [Column(name, justify="right") for name in (*jobs, *needs)]
    table = Table("phase", "lambdas", *numbers, box=None)
    for row in (*found.phases, found.total):
        table.add_row(
            row.phase,
            ", ".join(row.lambdas if row is not found.total else ()),
            str(row.models_done),
            str(row.models),
            str(row.evaluations),
            str(row.other_jobs),
            _or_unknown(row.samples, ","),
            _or_unknown(row.gpu_hours, ",.1f"),
            _or_unknown(row.days, ",.1f"),
            _or_unknown(row.segments, ""),
            f"{row.disk / 2**30:,.1f}",
            _or_unknown(row.dollars, ",.2f"),
            style="bold" if row is found.total else None,
        )
    out = console(160)
    out.print(table)
    for note in found.notes:
        out.print(note, highlight=False)


def _or_unknown(value: float | None, form: str) -> str:
    return "?" if value is None else format(value, form)


@app.command()
def prune(
    configs: Annotated[
        list[Path] | None,
        typer.Option("--config", "-c", help="Configs in use; default: all of config/*.yaml."),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete what is listed.")] = False,
) -> None:
    """List what no config means any more in results/, and what killed runs have left there.

    It is deleted only on request.
    """
    from tacolab.overview import artefacts

    paths = configs or sorted(Path("config").glob("*.yaml"))
    if not paths:
        raise UserError("config/: no *.yaml here; run it in the project's folder, or name --config")
    total = 0
    # A later phase is meant, too; a report has the key of what it shows, so of the present phase.
    limits: tuple[list[str], ...] = ([], ["phase=null"])
    found = artefacts.orphans([planned(path, limit) for path in paths for limit in limits])
    for path in found:
        size = artefacts.size(path)
        total += size
        typer.echo(f"{size / 2**20:10.1f} MiB  {path}")
        if delete:
            artefacts.delete(path)
    what = "deleted" if delete else "nobody needs these; --delete removes them"
    typer.echo(f"{total / 2**20:10.1f} MiB  {len(found)} artefacts and leftovers: {what}")
