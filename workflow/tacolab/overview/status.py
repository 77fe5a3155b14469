"""What `tacolab status` shows: for a terminal of any width, and as JSON."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tacolab.overview.artefacts import ArtefactState, rows
from tacolab.overview.trainings import Look, Observer, TrainingStatus, duration
from tacolab.plan import Plan
from tacolab.readers.caption_lengths import Reading, readings

SECONDS = 10.0  # between two looks of --watch
STYLES = {"done": "green", "running": "cyan", "unknown": "cyan", "waiting": "yellow"}
NAMED = 3  # of the artefacts that a stage lacks; the rest is counted

# What a narrow terminal is spared, the least important first, to leave room for words.
_SPARED = ("key", "logged", "saved", "segments", "samples/s", "loss", "time left", "epoch")
_WORDS = 30


class Status:
    """The study's state, looked at once or again and again."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._observer = plan, Observer(plan)

    def show(self, console: Console, everything: bool) -> None:
        """Print the trainings, then a line per stage, or `everything`: one per artefact."""
        look, artefacts = self._look()
        console.print(_page(look, look.trainings, artefacts, console.width, everything))
        if read := readings(self._plan):
            console.print(Group("", _read(read)))

    def watch(self, console: Console, everything: bool) -> None:
        """The same, in place, until Ctrl-C; what the terminal is too low for is counted."""
        with Live(console=console, auto_refresh=False) as live:
            try:
                while True:
                    look, artefacts = self._look()
                    count, over = console.height, 1
                    while over > 0 and count > 0:
                        shown = _most_telling(look.trainings, count)
                        page = _page(look, shown, artefacts, console.width, everything)
                        over = len(console.render_lines(page)) - console.height
                        count -= max(1, over // 2)  # long rows break into several lines
                    live.update(page, refresh=True)
                    time.sleep(SECONDS)
            except KeyboardInterrupt:
                return

    def document(self) -> dict[str, Any]:
        """Everything, for programs: numbers as numbers, seconds and steps; None for unknown."""
        look, artefacts = self._look()
        return {
            "trainings": [asdict(training) for training in look.trainings],
            "seconds_between_segments": look.gap,
            "slurm_silent": look.silence or None,
            "captions": [asdict(reading) for reading in readings(self._plan)],
            "artefacts": [
                {
                    "stage": row.artefact.stage.name,
                    "names": row.artefact.names,
                    "key": row.artefact.key,
                    "path": str(row.artefact.path),
                    "state": row.state,
                }
                for row in artefacts
            ],
            "done": _done(artefacts),
            "total": len(artefacts),
        }

    def _look(self) -> tuple[Look, list[ArtefactState]]:
        look = self._observer.look()
        return look, rows(self._plan, look.trainings)


def _page(
    look: Look,
    shown: Sequence[TrainingStatus],
    artefacts: Sequence[ArtefactState],
    width: int,
    everything: bool,
) -> RenderableType:
    hidden = Counter(t.state for t in look.trainings) - Counter(t.state for t in shown)
    notes = [f"and {', '.join(f'{n} {state}' for state, n in hidden.items())}"] if hidden else []
    return Group(
        _trainings(shown, width),
        *(Text(note, style="dim") for note in (*notes, *_notes(look))),
        "",
        _all(artefacts) if everything else _stages(artefacts),
        f"{_done(artefacts)} of {len(artefacts)} done",
    )


def _most_telling(trainings: Sequence[TrainingStatus], count: int) -> list[TrainingStatus]:
    """At most `count`, in their order: problems and what runs before what is done or missing."""
    order = ("running", "unknown", "waiting", "stopped", "done", "missing")
    ranked = sorted(trainings, key=lambda t: (not t.problems, order.index(t.state)))
    kept = {id(training) for training in ranked[:count]}
    return [training for training in trainings if id(training) in kept]


def _trainings(trainings: Sequence[TrainingStatus], width: int) -> Table:
    """One row per training; what it does, and what is wrong with it in red, takes the rest."""
    cells = {name: [cell(t) for t in trainings] for name, cell in _COLUMNS.items()}
    widths = {name: max(map(len, [name, *column])) for name, column in cells.items()}
    for name in _SPARED:
        if sum(widths.values()) + 2 * len(widths) + _WORDS <= width:
            break
        del widths[name]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in widths:
        words = name in ("arm", "lambda", "seed", "key")
        table.add_column(name, justify="left" if words else "right", no_wrap=True)
    table.add_column("state")
    for row, training in enumerate(trainings):
        table.add_row(*(cells[name][row] for name in widths), _state(training))
    return table


def _state(training: TrainingStatus) -> Text:
    words = {"unknown": "running?"}.get(training.state, str(training.state))
    if training.job:
        words += f" {training.job}"
    if training.place:
        words += f" on {training.place}"
    if training.reason:
        words += f" ({training.reason})"
    problems = "".join(f"; {problem}" for problem in training.problems)
    return Text.assemble((words, STYLES.get(training.state, "")), (problems, "red"))


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _saved(training: TrainingStatus) -> str:
    if training.steps is None:
        return _number(training.saved, "d")
    return f"{training.saved or 0}/{training.steps}"


_COLUMNS: dict[str, Callable[[TrainingStatus], str]] = {
    "arm": lambda t: t.arm,
    "lambda": lambda t: t.lmbda,
    "seed": lambda t: str(t.seed),
    "key": lambda t: t.key,
    "saved": _saved,
    "epoch": lambda t: f"{t.epoch or 0:.1f}/{t.epochs}",
    "logged": lambda t: _number(t.logged, "d"),
    "time left": lambda t: "-" if t.seconds_left is None else duration(t.seconds_left),
    "samples/s": lambda t: _number(t.samples_per_second, ".1f"),
    "loss": lambda t: _number(t.loss, ".4g"),
    "segments": lambda t: str(t.segments),
}


def _notes(look: Look) -> list[str]:
    notes = []
    if any(t.seconds_left is not None for t in look.trainings):
        gap = "none so far" if look.gap is None else f"the median so far, {duration(look.gap)}"
        notes.append(
            "time left: the steps left, as fast as in the last segment; until a waiting job "
            "starts, as SLURM guesses; for each further job that its time limit makes necessary, "
            f"the time between two jobs ({gap})"
        )
    if look.silence:
        notes.append(f"SLURM does not answer, so this is from the files alone: {look.silence}")
    return notes


def _stages(artefacts: Sequence[ArtefactState]) -> Table:
    """A line per stage: what of it is there, and what is not."""
    table = Table("stage", "done", "not done", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for stage, group in groupby(artefacts, key=lambda row: row.artefact.stage):
        found = list(group)
        lacking: dict[str, list[str]] = {}
        for row in found:
            if row.state != "done":
                lacking.setdefault(row.state, []).append(row.names)
        words = [
            f"{len(names)} {state}"
            if stage.work == "training"
            else f"{state}: {_some(names)}".rstrip(": ")
            for state, names in lacking.items()
        ]
        count = f"{_done(found)} of {len(found)}"
        table.add_row(stage.name, count, "; ".join(words), style="" if lacking else "green")
    return table


def _read(found: Sequence[Reading]) -> Table:
    """How much of the captions the codec sees; red where it is less than half."""
    table = Table("captions", "read by", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("mean tokens", "positions", "tokens cut", "captions cut"):
        table.add_column(name, justify="right")
    for one in found:
        cells = [f"{one.mean_tokens:.1f}", str(one.positions)]
        cells += [f"{one.tokens_cut:.1%}", f"{one.captions_cut:.1%}"]
        style = "red" if one.tokens_cut > 0.5 else ""
        table.add_row(f"{one.dataset} {one.source}", one.encoder, *cells, style=style)
    return table


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _all(artefacts: Sequence[ArtefactState]) -> Table:
    table = Table("stage", "what", "key", "state", box=None, pad_edge=False)
    for row in artefacts:
        style = {"done": "green", "missing": "yellow"}.get(row.state, "cyan")
        artefact = row.artefact
        table.add_row(artefact.stage.name, row.names, artefact.key, row.state, style=style)
    return table


def _done(artefacts: Sequence[ArtefactState]) -> int:
    return sum(row.state == "done" for row in artefacts)
