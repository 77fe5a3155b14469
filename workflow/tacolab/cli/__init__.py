"""The command line. One command per stage, each makes one artefact of the study.

Only this module prints errors and exits: 0 done, 75 stopped on purpose and to be continued,
2 wrong usage or config, 1 anything else.
"""

import json
import logging
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Column, Table
from rich.text import Text

from tacolab import config as configuration
from tacolab.config import OWN, Study
from tacolab.errors import Interrupted, StageError, UserError
from tacolab.files import caches, disk, process
from tacolab.overview import artefacts as overview
from tacolab.overview import costs
from tacolab.overview import status as statuspage
from tacolab.plan import fingerprint, keys, leftovers
from tacolab.plan.keys import Artefact, Plan

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Text-guided neural image compression: the study's stages and the codec.\n\n"
    "`snakemake --profile profiles/local` runs all of them in order; a command makes a single "
    "artefact, at the path and with the key that the config means.",
)

ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", help="The study's YAML file.", show_default=True)
]
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a top-level config key.")
]
Key = Annotated[
    str | None,
    typer.Option(help="Refuse to run unless the config means this key (the workflow passes it)."),
]
Seed = Annotated[int | None, typer.Option(help="Default: the study's seed.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads of torch.")]
STUDY = Path("config/study.yaml")


class Step(StrEnum):
    """The steps of an evaluation."""

    code = "code"
    metrics = "metrics"
    distribution = "distribution"


class WeightsStep(StrEnum):
    """The two steps of token weights."""

    vocabulary = "vocabulary"
    weights = "weights"


@app.callback()
def _common(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Set up logging: rich on a terminal, plain dated lines in a log file."""
    if sys.stderr.isatty():
        handler: logging.Handler = RichHandler(console=Console(stderr=True), show_path=False)
        form = "%(message)s"
    else:
        handler = logging.StreamHandler()
        form = "%(asctime)s %(levelname)s %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, handlers=[handler])
    for chatty in ("httpx2", "datasets", "matplotlib", "fontTools", "absl"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # compressai's and torchvision's business, not the reader's
    warnings.filterwarnings("ignore", message=".*torch.jit.script")
    # Pillow's, from half the size on that it refuses
    warnings.filterwarnings("ignore", message=".*could be decompression bomb")
    _state["debug"] = debug
    caches.ensure()
    process.end_with_head()


_state = {"debug": False}
log = logging.getLogger(__name__)


def _plan(path: Path, overrides: list[str]) -> Plan:
    return Plan(configuration.load(path, overrides))


def _make(artefact: Artefact, run: Callable[[], object]) -> None:
    """Let a stage make it, unless it is complete, by another job that a dead head left, perhaps.

    Whatever such a job has taken from under this one's feet, the work is done in the end.
    """
    if not fingerprint.complete(artefact):
        artefact.require_inputs()
        leftovers.tidy(artefact)
        try:
            run()
            return
        except Exception as error:
            if not fingerprint.complete(artefact):
                _refused(error, artefact)
                raise
            log.warning("%s: another job has made it meanwhile (%s)", artefact, error)
    leftovers.forget(artefact)
    log.info("%s: is there; remove it to make it again", artefact.path)


def _refused(error: Exception, artefact: Artefact) -> None:
    """Raises StageError of a full disk, with the artefact's folder where no file is named."""
    if told := disk.explained(error, artefact.folder):
        raise told from error


@app.command()
def data(
    dataset: Annotated[str | None, typer.Argument(help="A data set of the config.")] = None,
    config: ConfigFile = STUDY,
    overrides: Overrides = [],  # noqa: B006 - typer reads it, nobody mutates it
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
    from tacolab.stages import data as stage

    plan = _plan(config, overrides)
    if (dataset is None) != prefetch:
        raise UserError("data: name a data set to pack, or give --prefetch, not both")
    if dataset is None:
        _prefetch(plan.study)
        return
    artefact = plan.find("data", key, dataset=dataset)
    _make(artefact, lambda: stage.run(plan, artefact))


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
    Console(width=None if sys.stdout.isatty() else 200).print(table)
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
    from tacolab.stages import captions as stage

    plan = _plan(config, overrides)
    artefact = plan.find("captions", key, dataset=dataset, source=source)
    if estimate:
        artefact.require_inputs()
        typer.echo(stage.estimate(plan.study, artefact))
        return

    def make() -> None:
        stage.run(plan, artefact, threads=threads, max_cost=max_cost, blame_images=blame_images)

    _make(artefact, make)


@app.command()
def weights(
    dataset: Annotated[str | None, typer.Argument(help="A data set of the config.")] = None,
    source: Annotated[str | None, typer.Argument(help="A caption source of the config.")] = None,
    step: Annotated[
        WeightsStep, typer.Option(help="Count the words of training captions, or weigh tokens.")
    ] = WeightsStep.weights,
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
    from tacolab.stages import token_weights as stage

    plan = _plan(config, overrides)
    if explain is not None:
        if dataset or key:
            raise UserError("weights: --explain takes a caption; leave data set and --key out")
        _explain(plan, explain, arm, config, overrides)
        return
    if dataset is None or source is None or arm:
        raise UserError("weights: name a data set and a source, or give --explain (and --arm)")
    artefact = plan.find(step, key, dataset=dataset, source=source)
    _make(artefact, lambda: stage.run(artefact, threads))


def _explain(plan: Plan, caption: str, arm: str | None, config: Path, overrides: list[str]) -> None:
    """The caption with its salient words, then a token per line."""
    from tacolab.stages.token_weights.explain import explain

    found = explain(plan, caption, arm, config=config, overrides=overrides)
    console = Console(width=None if sys.stdout.isatty() else 160)
    for part, salient in found.parts:
        mark = "*" if salient and not console.is_terminal else ""  # there colour says it
        text = Text(f"{mark}{_visible(part)}{mark}", "bold yellow" if salient else "")
        console.print(text, end="", soft_wrap=True)
    console.print("\n")
    table = Table("token", Column("weight", justify="right"), "why", box=None)
    for token, weight, why in found.tokens:
        table.add_row(Text(_visible(token)), f"{weight:g}", why, style="yellow" if why else None)
    console.print(table)
    for note in found.notes:
        console.print(Text(note), style="dim", soft_wrap=True)


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
    stage_to: Annotated[
        str,
        typer.Option(metavar="DIR", help="Read the packed data from a copy on this local disk."),
    ] = "",
    submit: Annotated[
        bool,
        typer.Option("--submit", help="As a SLURM job of its own, outside the workflow; returns."),
    ] = False,
    profile: Annotated[
        Path, typer.Option(metavar="DIR", help="Whose resources --submit asks for.")
    ] = Path("profiles/slurm"),
    attempt: Annotated[
        int, typer.Option(min=1, hidden=True, help="Of the workflow: above 1 for its own retries.")
    ] = 1,
) -> None:
    """Train one model, or go on where it was stopped or killed.

    SIGTERM and Ctrl-C save at the next step and leave with exit code 75; the same command
    continues, to the same weights as if it had never been interrupted. In a SLURM job it saves
    before the time limit and queues the job again.

    Of an arm with `weights` it imports the file instead.
    """
    from tacolab.stages import train as stage

    plan = _plan(config, overrides)
    names = {"arm": arm, "lmbda": lmbda, "seed": str(plan.study.seed if seed is None else seed)}
    if arm in plan.study.arms and plan.study.arms[arm].checkpoints:
        if submit or stop_after is not None:
            raise UserError(f"{arm}: its weights are ready-made; there is no training to submit")
        from tacolab.stages.train import imported

        ready = plan.find("import", key, **names)
        _make(ready, lambda: imported.run(plan, ready))
        return
    artefact = plan.find("train", key, **names)
    if not submit:
        retry = attempt > 1
        _make(artefact, lambda: stage.run(plan, artefact, threads, stop_after, stage_to, retry))
        return
    artefact.require_inputs()
    if threads or stop_after or stage_to:
        raise UserError("--submit takes threads, time limit and local disk from --profile")
    from tacolab.cluster.profile import Profile
    from tacolab.overview.trainings import jobs
    from tacolab.stages.train.submit import NEEDED
    from tacolab.stages.train.submit import submit as submit_job

    if working := jobs(artefact):
        job = working[0].id
        raise UserError(f"{artefact}: job {job} trains it already; `scancel {job}` ends that one")
    asked = Profile.read(profile)
    fixed = keys.snapshot(configuration.merged(config, overrides))
    job = submit_job(fixed, artefact, asked.resources("train", NEEDED), asked.threads("train"))
    typer.echo(
        f"job {job} trains {artefact}; it needs no other process. `tacolab status` shows it, "
        f"`scancel {job}` saves and ends it. Log: results/logs/submitted/{job}/"
    )


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
    from tacolab.stages import evaluate as stage

    plan = _plan(config, overrides)
    names = {"arm": arm, "lmbda": lmbda, "dataset": dataset, "control": control}
    names["seed"] = str(plan.study.seed if seed is None else seed)
    if step is not None:
        artefact = plan.find(step, key, **names)
        _make(artefact, lambda: stage.run(plan, artefact, threads))
        return
    metrics = plan.find("metrics", key, **names)
    found = [a for a in plan if a.stage == "distribution" and a.names == metrics.names]
    made_from = [a.inputs["originals"] for a in found]
    for artefact in (metrics.inputs["codes"], metrics, *made_from, *found):
        _make(artefact, partial(stage.run, plan, artefact, threads))
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
    from tacolab.stages import evaluate as stage

    plan = _plan(config, overrides)
    artefact = plan.find("originals", key, dataset=dataset)
    _make(artefact, lambda: stage.run(plan, artefact, threads))


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
    from tacolab.stages import evaluate as stage

    plan = _plan(config, overrides)
    artefact = plan.find("anchors", key, dataset=dataset, codec=codec)
    _make(artefact, lambda: stage.run(plan, artefact, threads))


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
    from tacolab.stages import timing as stage

    plan = _plan(config, overrides)
    artefact = plan.find("timing", key, machine=machine)
    _make(artefact, lambda: stage.run(plan, artefact, threads))
    typer.echo(artefact.path)


@app.command()
def report(
    config: ConfigFile = STUDY,
    overrides: Overrides = [],  # noqa: B006
    key: Key = None,
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
    """Draw the figures, tables and the page from the files in results/ (needs no GPU)."""
    from tacolab.stages import report as stage

    if compare:
        typer.echo(stage.compare(*compare))
        return
    plan = _plan(config, overrides)
    artefact = plan.find("report", key)  # says by itself what is missing
    try:
        page = stage.run(plan, artefact, partial=now)
    except Exception as error:
        _refused(error, artefact)
        raise
    typer.echo(page)


@app.command()
def status(
    config: ConfigFile = STUDY,
    overrides: Overrides = [],  # noqa: B006
    watch: Annotated[bool, typer.Option("--watch", help="Look again every 10 s.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Every artefact and its key, not a line per stage.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Show how far every training is, here and in SLURM, and what else is there or missing."""
    if watch and (as_json or not sys.stdout.isatty()):
        raise UserError("--watch: needs a terminal, and no --json, which is one document")
    found = statuspage.Status(_plan(config, overrides))
    # Wide enough for a pipe: a key cut in two cannot be searched for.
    console = Console(width=None if sys.stdout.isatty() else 160)
    if as_json:
        typer.echo(json.dumps(found.document(), indent=2, allow_nan=False))
    elif watch:
        found.watch(console, everything)
    else:
        found.show(console, everything)


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

    plan = _plan(config, overrides)
    table = Table("check", "", "found", "remedy", box=None)
    failed = 0
    for name, finding in examination.examine(plan, examination.Profile.read(profile)):
        style = {"ok": "green", "warning": "yellow", "failure": "red"}.get(finding.verdict)
        table.add_row(name, finding.verdict, finding.found, finding.remedy, style=style)
        failed += finding.verdict == "failure"
    console = Console(width=None if sys.stdout.isatty() else 160, markup=False)
    console.print(table)
    if failed:
        console.print(f"{failed} to be mended before a run")
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
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Show what the config still costs: jobs, GPU hours, days, disk, dollars, by phase."""
    found = costs.estimate(
        _plan(config, overrides), samples_per_second, gpus_at_once, hours_per_job
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
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    for note in found.notes:
        console.print(note, highlight=False)


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
    paths = configs or sorted(Path("config").glob("*.yaml"))
    if not paths:
        raise UserError("config/: no *.yaml here; run it in the project's folder, or name --config")
    total = 0
    # A later phase is meant, too; a report has the key of what it shows, so of the present phase.
    limits: tuple[list[str], ...] = ([], ["phase=null"])
    found = overview.orphans([_plan(path, limit) for path in paths for limit in limits])
    for path in found:
        size = overview.size(path)
        total += size
        typer.echo(f"{size / 2**20:10.1f} MiB  {path}")
        if delete:
            overview.delete(path)
    what = "deleted" if delete else "nobody needs these; --delete removes them"
    typer.echo(f"{total / 2**20:10.1f} MiB  {len(found)} artefacts and leftovers: {what}")


Model = Annotated[Path, typer.Option(help="A trained model.safetensors.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="The file to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")]


class Precision(StrEnum):
    """Of g_a and g_s."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


CodingPrecision = Annotated[
    Precision,
    typer.Option(
        help="Numbers of the large networks. auto: bf16 where the processor has it, else fp32. "
        "Any precision reads any file."
    ),
]


@app.command()
def compress(
    picture: Annotated[Path, typer.Argument(help="PNG, JPEG ...")],
    model: Model,
    output: Output,
    caption: Annotated[str | None, typer.Option(help="What steers the encoder.")] = None,
    overwrite: Overwrite = False,
    precision: CodingPrecision = Precision.AUTO,
) -> None:
    """Compress one picture with a trained model. The caption is not stored."""
    from tacolab.cli.pictures import PictureCodec, require_free

    require_free(output, [picture, model, model.with_name("model.json")], overwrite)
    codec, weights = PictureCodec(model, precision.value), None
    if codec.weights_key and caption is not None:
        from tacolab.stages.token_weights.single import weigh

        weights = weigh(caption, model, codec.weights_key)
    bpp = codec.compress(picture, caption, output, weights)
    typer.echo(f"{output}: {bpp:.4f} bits per pixel")


@app.command()
def decompress(
    file: Annotated[Path, typer.Argument(help="A file that `compress` wrote.")],
    model: Model,
    output: Output,
    overwrite: Overwrite = False,
    precision: CodingPrecision = Precision.AUTO,
) -> None:
    """Decode a picture, with the model that compressed it."""
    from tacolab.cli.pictures import PictureCodec, require_free

    require_free(output, [file, model, model.with_name("model.json")], overwrite)
    PictureCodec(model, precision.value).decompress(file, output)
    typer.echo(output)


@app.command()
def upgrade(
    models: Annotated[list[Path], typer.Argument(help="model.safetensors, epoch-N.safetensors.")],
) -> None:
    """Add coding tables to model files that an earlier version exported. Trains nothing.

    The tables are made once, here, and stand in the file from now on, so that every machine codes
    with the same.
    """
    from tacolab.codec.network import upgrade as add_tables

    failed = 0
    for path in models:
        try:
            done = "coding tables added" if add_tables(path) else "has its coding tables"
            typer.echo(f"{path}: {done}")
        except UserError as error:
            _say(str(error))
            failed += 1
    if failed:
        raise UserError(f"{failed} of {len(models)} files were left as they are")


def main() -> None:
    """Entry point of the `tacolab` command."""
    try:
        app()
    except UserError as error:
        _fail(error, 2)
    except Interrupted as stop:
        _say(str(stop))
        raise SystemExit(75) from None
    except Exception as error:
        _fail(disk.explained(error) or error, 1)


def _fail(error: Exception, code: int) -> None:
    if _state["debug"]:
        traceback.print_exception(error)
        raise SystemExit(code)
    if isinstance(error, UserError | StageError):
        _say(str(error))
    else:
        name = type(error).__name__
        _say(f"{name}: {error} (tacolab --debug ... shows the traceback)")
    raise SystemExit(code)


def _say(text: str) -> None:
    # A log on a full disk takes nothing, and shall not change the exit code.
    with suppress(OSError):
        typer.echo(f"tacolab: {text}", err=True)
