"""Commands that make artefacts: one per stage, and `make` for any file of the study."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from tacolab import config as configuration
from tacolab.cli.shared import (
    STUDY,
    ConfigFile,
    Key,
    Overrides,
    Seed,
    StageTo,
    Threads,
    console,
    made,
    planned,
)
from tacolab.config import OWN, Study
from tacolab.errors import UserError
from tacolab.files import disk
from tacolab.plan import RESULTS, Artefact, Options, Plan, snapshots
from tacolab.plan import making as workshop
from tacolab.plan.stages import DISTRIBUTION, IMPORTED

app = typer.Typer()


@app.command()
def make(
    paths: Annotated[list[Path], typer.Argument(help="Files in results/, as the config means.")],
    config: ConfigFile = STUDY,
    overrides: Overrides = [],  # noqa: B006 - typer reads it, nobody mutates it
    threads: Threads = None,
    stage_to: StageTo = "",
    attempt: Annotated[
        int, typer.Option(min=1, hidden=True, help="Of the workflow: above 1 for its own retries.")
    ] = 1,
) -> None:
    """Make the artefacts that these files belong to. Every rule of the workflow calls this.

    `tacolab status --json` lists all paths. Inputs must be there; Snakemake makes them first.
    """
    plan = planned(config, overrides)
    for artefact in [plan.at(path) for path in paths]:
        workshop.make(plan, artefact, Options(threads=threads, stage_to=stage_to, attempt=attempt))


@app.command()
def data(
    dataset: Annotated[str | None, typer.Argument(help="A data set of the config.")] = None,
    config: ConfigFile = STUDY,
    overrides: Overrides = [],  # noqa: B006
    key: Key = None,
    prefetch: Annotated[
        bool,
        typer.Option("--prefetch", help="Download what the config needs (instead of packing)."),
    ] = False,
) -> None:
    """Verify and pack a data set's images, captions and manifest.

    With --prefetch, for a machine with internet: fetch the images, lists, captions and
    pretrained weights that are not there yet. Stopped or cut off, the same command goes on.
    """
    plan = planned(config, overrides)
    if (dataset is None) != prefetch:
        raise UserError("data: name a data set to pack, or give --prefetch, not both")
    if dataset is None:
        _prefetch(plan.study)
    else:
        made(plan, plan.find("data", key, dataset=dataset))


def _prefetch(study: Study) -> None:
    """Show what is needed, then fetch what is missing."""
    from tacolab.stages.data import prefetch

    table = Table("needed", "for", "state", "MB to fetch", "from", box=None)
    table.columns[3].justify = "right"
    needs = prefetch.survey(study)
    for need in needs:
        source = "the hub" if need.hub else "; ".join(row.url for row in need.downloads[:2])
        source += f"; {len(need.downloads) - 2} more" if len(need.downloads) > 2 else ""
        n_bytes = prefetch.size(need, study.data_root) if need.problem else 0
        megabytes = "?" if n_bytes is None else f"{n_bytes / 1e6:,.1f}" if n_bytes else ""
        style = "yellow" if need.problem else "green"
        state = need.problem or "there"
        table.add_row(need.name, need.what, state, megabytes, need.by_hand or source, style=style)
    console(200).print(table)
    typer.echo(f"{prefetch.total(needs, study.data_root) / 1e6:,.1f} MB to fetch in all")
    prefetch.fetch(study)
    typer.echo("all is there; jobs need no internet (set HF_HUB_OFFLINE=1 for them)")


@app.command()
def captions(
    dataset: Annotated[str, typer.Argument(help="A data set of the config.")],
    source: Annotated[str, typer.Argument(help="A caption source of the config.")],
    config: ConfigFile = STUDY,
    overrides: Overrides = [],  # noqa: B006
    key: Key = None,
    threads: Threads = None,
    max_cost: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="USD",
            help="Never spend more on this table, all runs together; instead of the config's.",
        ),
    ] = None,
    blame_images: Annotated[
        bool,
        typer.Option(
            "--blame-images",
            help="Key, model and budget are right: images that the API refuses are at fault.",
        ),
    ] = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Only show what is missing and what it will cost.")
    ] = False,
) -> None:
    """Make the caption table of a data set and a source.

    Captions of a paid API: every answer is kept below data_root and never asked for again.
    Stopped (exit code 75) or killed, the same command goes on.
    """
    plan = planned(config, overrides)
    artefact = plan.find("captions", key, dataset=dataset, source=source)
    if estimate:
        from tacolab.stages import captions as package

        artefact.require_inputs()
        typer.echo(package.estimate(plan.study, artefact))
        return
    made(plan, artefact, Options(threads, max_cost=max_cost, blame_images=blame_images))


class WeighingStep(StrEnum):
    """The two steps of token weights, by their stages."""

    VOCABULARY = "vocabulary"
    TOKEN_WEIGHTS = "token_weights"


@app.command()
def token_weights(
    dataset: Annotated[str | None, typer.Argument(help="A data set of the config.")] = None,
    source: Annotated[str | None, typer.Argument(help="A caption source of the config.")] = None,
    step: Annotated[
        WeighingStep, typer.Option(help="Count the words of training captions, or weigh tokens.")
    ] = WeighingStep.TOKEN_WEIGHTS,
    config: ConfigFile = STUDY,
    overrides: Overrides = [],  # noqa: B006
    key: Key = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Processes that weigh. Default: a core each.")
    ] = None,
    explain: Annotated[
        str | None,
        typer.Option(metavar="CAPTION", help="Only show the weights of a caption, and why."),
    ] = None,
    arm: Annotated[
        str | None,
        typer.Option(
            help="With --explain. Default: the first with token weights, or the baseline."
        ),
    ] = None,
) -> None:
    """Weigh the tokens of a caption table: salient words count more."""
    plan = planned(config, overrides)
    if explain is not None:
        if dataset or key:
            raise UserError("token-weights: --explain takes a caption alone, no data set or --key")
        _explain(plan, explain, arm, config, overrides)
        return
    if dataset is None or source is None or arm:
        raise UserError(
            "token-weights: name a data set and a source, or give --explain (and --arm)"
        )
    made(plan, plan.find(step, key, dataset=dataset, source=source), Options(threads))


def _explain(plan: Plan, caption: str, arm: str | None, config: Path, overrides: list[str]) -> None:
    """The caption with its salient words, then a token per line."""
    from tacolab.stages.token_weights.explain import explain

    found = explain(plan, caption, arm, config=config, overrides=overrides)
    out = console(160)
    for part, salient in found.parts:
        mark = "*" if salient and not out.is_terminal else ""  # there colour says it
        text = Text(f"{mark}{_visible(part)}{mark}", "bold yellow" if salient else "")
        out.print(text, end="", soft_wrap=True)
    out.print("\n")
    table = Table("token", Column("weight", justify="right"), "why", box=None)
    for token, weight, why in found.tokens:
        table.add_row(Text(_visible(token)), f"{weight:g}", why, style="yellow" if why else None)
    out.print(table)
    for note in found.notes:
        out.print(Text(note), style="dim", soft_wrap=True)


def _visible(text: str) -> str:
    """Control characters as escapes: a caption must not steer the terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


@app.command()
def train(
    arm: Annotated[str, typer.Argument(help="An arm of the config.")],
    lmbda: Annotated[str, typer.Argument(help="A lambda, spelled as in the config.")],
    seed: Seed = None,
    config: ConfigFile = STUDY,
    overrides: Overrides = [],  # noqa: B006
    key: Key = None,
    threads: Threads = None,
    stop_after: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="MINUTES", help="Save and leave with exit code 75 after this time."
        ),
    ] = None,
    stage_to: StageTo = "",
    submit: Annotated[
        bool,
        typer.Option("--submit", help="As a SLURM job of its own, outside the workflow; returns."),
    ] = False,
    profile: Annotated[
        Path, typer.Option(metavar="DIR", help="Whose resources --submit asks for.")
    ] = Path("profiles/slurm"),
) -> None:
    """Train one model, or go on where it was stopped or killed.

    SIGTERM and Ctrl-C save at the next step and leave with exit code 75; the same command
    continues, to the same weights as if it had never been interrupted. In a SLURM job it saves
    before the time limit and queues the job again.

    Of an arm with `checkpoints` it imports the file instead.
    """
    plan = planned(config, overrides)
    names = {"arm": arm, "lmbda": lmbda, "seed": str(plan.study.seed if seed is None else seed)}
    ready = arm in {artefact.names["arm"] for artefact in plan.every(IMPORTED)}
    if ready and (submit or stop_after is not None):
        raise UserError(f"{arm}: its weights are ready-made; there is no training to submit")
    artefact = plan.find("imported" if ready else "train", key, **names)
    if not submit:
        made(plan, artefact, Options(threads, stop_after=stop_after, stage_to=stage_to))
    elif threads or stop_after or stage_to:
        raise UserError("--submit takes threads, time limit and local disk from --profile")
    else:
        artefact.require_inputs()
        _submit(artefact, configuration.merged(config, overrides), profile)


def _submit(artefact: Artefact, merged: dict[str, object], profile: Path) -> None:
    """A SLURM job, with config and code as they are now."""
    from tacolab.cluster.profile import Profile
    from tacolab.overview.trainings import jobs
    from tacolab.stages.train.submit import NEEDED, submit

    if working := jobs(artefact):
        job = working[0].id
        raise UserError(f"{artefact}: job {job} trains it already; `scancel {job}` ends that one")
    asked = Profile.read(profile)
    resources, threads = asked.resources("train", NEEDED), asked.threads("train")
    fixed = snapshots.keep_config(merged), snapshots.keep_code()
    job = submit(*fixed, artefact, resources, threads)
    typer.echo(
        f"job {job} trains {artefact}; it needs no other process. `tacolab status` shows it, "
        f"`scancel {job}` saves and ends it. Log: results/logs/submitted/{job}/"
    )


class Step(StrEnum):
    """The steps of an evaluation, by their stages."""

    CODE = "code"
    METRICS = "metrics"
    DISTRIBUTION = "distribution"


@app.command()
def evaluate(
    arm: Annotated[str, typer.Argument(help="An arm of the config.")],
    lmbda: Annotated[str, typer.Argument(help="A lambda, spelled as in the config.")],
    dataset: Annotated[str, typer.Argument(help="A data set of the protocol.")],
    control: Annotated[str, typer.Option(help="Caption source; `own`: the arm's.")] = OWN,
    seed: Seed = None,
    step: Annotated[
        Step | None, typer.Option(help="Only this step; without: what is missing of all.")
    ] = None,
    config: ConfigFile = STUDY,
    overrides: Overrides = [],  # noqa: B006
    key: Key = None,
    threads: Threads = None,
) -> None:
    """Code a data set to real files, decode these, and measure rate and quality.

    Killed at any moment, the same command goes on at the next part of the images.
    """
    plan = planned(config, overrides)
    names = {"arm": arm, "lmbda": lmbda, "dataset": dataset, "control": control}
    names["seed"] = str(plan.study.seed if seed is None else seed)
    if step is not None:
        made(plan, plan.find(step, key, **names), Options(threads))
        return
    metrics = plan.find("metrics", key, **names)
    distances = [a for a in plan.every(DISTRIBUTION) if a.names == metrics.names]
    originals = [a.inputs["originals"] for a in distances]
    for artefact in (metrics.inputs["codes"], metrics, *originals, *distances):
        workshop.make(plan, artefact, Options(threads))
    typer.echo(metrics.path)


@app.command()
def originals(
    dataset: Annotated[str, typer.Argument(help="A data set of the protocol.")],
    config: ConfigFile = STUDY,
    overrides: Overrides = [],  # noqa: B006
    key: Key = None,
    threads: Threads = None,
) -> None:
    """Compute the originals' features, which FID and CMMD of every model are measured against."""
    plan = planned(config, overrides)
    made(plan, plan.find("originals", key, dataset=dataset), Options(threads))


@app.command()
def anchors(
    dataset: Annotated[str, typer.Argument(help="A data set of the protocol.")],
    codec: Annotated[str, typer.Argument(help="jpeg, webp or avif.")],
    config: ConfigFile = STUDY,
    overrides: Overrides = [],  # noqa: B006
    key: Key = None,
    threads: Threads = None,
) -> None:
    """Measure a classical codec on the images of the evaluation."""
    plan = planned(config, overrides)
    made(plan, plan.find("anchors", key, dataset=dataset, codec=codec), Options(threads))


@app.command()
def timing(
    machine: Annotated[str, typer.Argument(help="The name that the config gives this machine.")],
    config: ConfigFile = STUDY,
    overrides: Overrides = [],  # noqa: B006
    key: Key = None,
    threads: Threads = None,
) -> None:
    """Time the codec here with each kind of attention, by text length and image side.

    Killed at any moment, the same command goes on at the next size. Let nothing else run beside it.
    """
    plan = planned(config, overrides)
    made(plan, plan.find("timing", key, machine=machine), Options(threads))


@app.command()
def report(
    config: ConfigFile = STUDY,
    overrides: Overrides = [],  # noqa: B006
    now: Annotated[
        bool, typer.Option("--now", help="From what is there: results/report/now; may be partial.")
    ] = False,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="DIR1 DIR2",
            help="Instead: two results folders, or reports, side by side (results/report/compare).",
        ),
    ] = None,
) -> None:
    """Draw the figures, tables and the page from the files in results/ (needs no GPU).

    It is drawn again also where it is there already.
    """
    from tacolab.stages.report import build, comparison

    if compare:
        typer.echo(comparison.run(*compare, RESULTS / "report" / "compare"))
        return
    plan = planned(config, overrides)
    artefact = plan.find("report")  # says by itself what is missing
    try:
        page = build.run(plan, artefact, partial=now)
    except Exception as error:
        if told := disk.explained(error, artefact.folder):
            raise told from error
        raise
    typer.echo(page)
