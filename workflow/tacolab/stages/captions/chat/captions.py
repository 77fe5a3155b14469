"""Captions by a chat model that sees the image.

What was answered is read, what is missing is asked for, and the table is made of the answers.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tacolab.cluster import lease
from tacolab.config import Api, Gpt4o, Study
from tacolab.errors import StageError, UserError
from tacolab.files.progress import tallied
from tacolab.plan import Artefact
from tacolab.readers.packed import Packed
from tacolab.stages.captions.chat import client, prices
from tacolab.stages.captions.chat.answers import Answers
from tacolab.stages.captions.chat.batch import Batches
from tacolab.stages.captions.chat.prices import Budget
from tacolab.stages.captions.chat.question import GOOD, data_url
from tacolab.stages.captions.chat.refusals import Doubts
from tacolab.stages.captions.chat.stop_request import StopRequest
from tacolab.stages.captions.chat.sync import Asker
from tacolab.stages.captions.table import SCHEMA

log = logging.getLogger(__name__)

NAMED = 5  # captions that could not be had, in a message
PATIENCE = 1.0  # seconds between two looks whether another process is done


def captions(
    study: Study, api: Api, artefact: Artefact, data: Packed, blame_images: bool = False
) -> tuple[pa.Table, Mapping[str, Any]]:
    """The rows of the table, and facts for its summary. api: how to ask.
    blame_images: what the server refuses is the images' fault, never the config's.

    Raises Interrupted on Ctrl-C and SIGTERM; UserError where nothing can be asked (no key, wrong
    key, over the limit of costs); StageError where captions are missing in the end. Everything that
    was answered is kept in each case.
    """
    source = study.captions[artefact.names["source"]]
    assert isinstance(source, Gpt4o)
    answers = prices.answers(study, artefact, data)
    if next(answers.missing(source.attempts), None) is not None:
        ask(api, artefact, data, answers, source.attempts, blame_images)
    gaps = _gaps(answers, data)
    _refuse(gaps, artefact, source, len(data) * answers.per_image)
    return _rows(answers, data), _facts(api, answers, gaps)


def ask(
    api: Api,
    artefact: Artefact,
    data: Packed,
    answers: Answers,
    attempts: int,
    blame_images: bool,
) -> None:
    """Until every caption is there or has used up its attempts."""
    client.key()
    answers.prepare()
    with StopRequest() as stop, _alone(answers, stop):
        answers.refresh()
        expected = prices.estimate(answers.question, api, answers.count_missing(attempts), answers)
        log.info("%s: %s", client.server(api), expected)
        budget = Budget(answers, expected, api.mode, api.max_cost)
        first = {sha256: i for i, sha256 in reversed(list(enumerate(data.shown)))}

        def picture(number: int) -> str:
            image = data.picture(first[answers.images[number]])
            return data_url(image, answers.question.image_side)

        label = f"{artefact.names['dataset']} {artefact.names['source']}"
        with tallied(label, answers.good.size, answers.done) as tell:

            def show(waiting: int = 0) -> None:
                note = f"${budget.spent:.2f} spent" if expected.price else ""
                note += f", {waiting} wait at the server" if waiting else ""
                tell(answers.done, note)

            doubts = Doubts(blame_images)
            batches = Batches(
                api, answers, attempts, expected.prompt, budget, stop, doubts, picture, show
            )
            _check(budget, batches)
            if api.mode == "sync":
                asker = Asker(api, answers, attempts, budget, stop, doubts, picture, show)
                _ask_now(asker, batches)
            else:
                batches.run(submit=True)


def _check(budget: Budget, batches: Batches) -> None:
    """Raises UserError where the budget is too small for what is missing; what a batch already asks
    for is paid for, and collected first."""
    try:
        budget.check()
    except UserError:
        batches.run(submit=False)
        if batches.answers.count_missing(batches.attempts):
            raise


def _ask_now(asker: Asker, batches: Batches) -> None:
    """What a batch already asks for is paid for: it is waited for instead."""
    answers, attempts = asker.answers, asker.attempts
    while answers.count_missing(attempts):
        busy = batches.in_flight()
        asker.run(place for place in answers.missing(attempts) if place not in busy)
        if asker.unanswered:
            why = next(iter(asker.unanswered.values()))
            raise StageError(
                f"{len(asker.unanswered)} requests got no answer ({why}); the others are kept, and "
                "the same command goes on"
            )
        if busy:
            batches.run(submit=False)


@contextmanager
def _alone(answers: Answers, stop: StopRequest) -> Iterator[None]:
    """One process asks a question at a time: two would pay for the same answers, or overrun the
    account's queue together."""
    told = False
    while True:
        try:
            own = lease.acquire(
                answers.folder,
                ask=False,
                give_up=lambda: stop.asked,
                on_loss=partial(stop.ask, "another process has taken over"),
            )
            break
        except lease.NotOurs as error:
            if not told:
                log.info("%s; waiting for it", error)
            told = True
            stop.wait(PATIENCE)
    stop.check()
    try:
        yield
    finally:
        if own:
            own.release()


def _gaps(answers: Answers, data: Packed) -> list[dict[str, Any]]:
    """Captions that could not be had, with the outcome of the last attempt."""
    return [
        {"image_id": image_id, "index": index, "outcome": answers.last.get((number, index))}
        for image_id, sha256 in zip(data.ids, data.shown, strict=True)
        for number in [answers.number[sha256]]
        for index in np.flatnonzero(answers.good[number] == 0).tolist()
    ]


def _refuse(gaps: Sequence[Mapping[str, Any]], artefact: Artefact, source: Gpt4o, n: int) -> None:
    """Raises StageError where more captions are missing than the config allows."""
    if len(gaps) <= source.allowed_failures * n:
        return
    kinds = Counter(gap["outcome"] for gap in gaps)
    names = [f"{gap['image_id']} {gap['index']} ({gap['outcome']})" for gap in gaps[:NAMED]]
    more = f" and {len(gaps) - NAMED} more" if len(gaps) > NAMED else ""
    where = f"captions.{artefact.names['source']}"
    raise StageError(
        f"{artefact}: {len(gaps)} of {n} captions could not be had in {source.attempts} attempts "
        f"({', '.join(f'{kind} {count}' for kind, count in kinds.most_common())}): "
        f"{', '.join(names)}{more}; raise {where}.attempts, or {where}.allowed_failures (of a "
        "training set; an evaluated image needs its caption, or must leave the data set's list)"
    )


def _rows(answers: Answers, data: Packed) -> pa.Table:
    """The table, in the order of the data set."""
    stored, rows = answers.captions()
    picks = rows[[answers.number[sha256] for sha256 in data.shown]]
    image, index = np.nonzero(picks >= 0)
    taken = stored.take(pa.array(picks[image, index]))
    del stored  # 300 MB for MS-COCO
    question = answers.question
    known: dict[str, Any] = {
        "image_id": pa.array(data.ids).take(pa.array(image)),
        "index": index,
        "caption": taken["text"],
        "created": pc.cast(pc.multiply(taken["created"], 1000), pa.timestamp("ms", "UTC")),
        **{name: taken[name] for name in ("prompt_tokens", "completion_tokens")},
        "model": question.model,
        "prompt_sha256": hashlib.sha256(question.prompt.encode()).hexdigest(),
        "temperature": question.temperature,
        "finish_reason": GOOD,
    }
    columns = []
    for field in SCHEMA:
        value = known[field.name]
        if isinstance(value, str | float):
            value = pa.repeat(pa.scalar(value, field.type), len(image))
        elif isinstance(value, np.ndarray):
            value = pa.array(value)
        columns.append(value.cast(field.type))
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def _facts(api: Api, answers: Answers, gaps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What it took, shown and kept in the summary."""
    known = prices.price(answers.question.model, api)
    usage = {mode: asdict(usage) for mode, usage in answers.usage.items() if usage.answers}
    for mode, took in usage.items():
        tokens = took["prompt_tokens"], took["completion_tokens"]
        took["usd"] = round(known.usd(*tokens, mode), 4) if known else None
    form = "%-6s%10s%15s%15s%12s"
    log.info(form, "mode", "answers", "input tokens", "output tokens", "USD")
    for mode, took in usage.items():
        usd = "?" if took["usd"] is None else f"{took['usd']:.4f}"
        tokens = took["prompt_tokens"], took["completion_tokens"]
        log.info(form, mode, took["answers"], *tokens, usd)
    return {
        "question": answers.question.name,
        "usage": usage,
        "outcomes": dict(answers.outcomes),
        "missing": list(gaps),
    }
