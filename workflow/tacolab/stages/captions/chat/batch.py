"""Answers by the Batch API: half the price, within a day.

A part is a batch on its way: prepared -> uploaded -> created, then collected or dissolved. Its
file in `batches/` beside the answers says how far it is, and is written before and after each step,
so that a kill costs no second batch: what a cut step may have left at the server is looked for
there by the part's name. Requests that brought no answer are asked again in another part.
"""

from __future__ import annotations

import json
import logging
import math
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

import httpx2
import openai
from openai.types import Batch

from tacolab.config import Api
from tacolab.errors import Interrupted, StageError, UserError
from tacolab.files import atomic, json_lines
from tacolab.stages.captions.chat import client
from tacolab.stages.captions.chat.answers import Answers, record
from tacolab.stages.captions.chat.batch_files import Part, Request, answer, read
from tacolab.stages.captions.chat.pace import FIRST_PAUSE, LONGEST_PAUSE, Patience, retry_after
from tacolab.stages.captions.chat.prices import Budget
from tacolab.stages.captions.chat.question import LOST, REJECTED, Answer, natural
from tacolab.stages.captions.chat.refusals import Doubts
from tacolab.stages.captions.chat.stop import Stop

log = logging.getLogger(__name__)
T = TypeVar("T")

MOST_REQUESTS, MOST_BYTES = 50_000, 200_000_000  # of one batch, as the API allows
TRIES = 8  # of one step, at a server that has not answered yet
DAY = 24 * 3600.0  # seconds that the API gives itself for a batch
LOOK_AGAIN = 5.0  # seconds, before what a killed run sent counts as not arrived
FIRST_WAIT, LONGEST_WAIT = 1.0, 300.0  # seconds between two looks
FRUITLESS = 3  # batches in a row without an answer, before a person must look
CROWDED, CROWDED_WAIT = (
    12,
    10.0,
)  # refusals by a full queue before that, and seconds after the first
ENDED = ("completed", "expired", "cancelled", "failed")
OVER_LIMIT = "token_limit_exceeded"

Place = tuple[int, int]


class Batches:
    """The parts of a question, of this table and of others."""

    def __init__(
        self,
        api: Api,
        answers: Answers,
        attempts: int,
        prompt_tokens: float,
        budget: Budget,
        stop: Stop,
        doubts: Doubts,
        picture: Callable[[int], str],
        show: Callable[[int], object],
    ) -> None:
        """prompt_tokens: expected of one request. show: told how many answers wait there."""
        self.api, self.answers, self.attempts = api, answers, attempts
        self._tokens, self.budget, self.stop = prompt_tokens, budget, stop
        self.doubts, self.picture, self.show = doubts, picture, show
        self.folder = answers.folder / "batches"
        self.room = api.queued_tokens
        self.parts = [read(path) for path in sorted(self.folder.glob("tacolab-*.json"))]
        self._fruitless = self._crowded = 0
        self._heard = False  # of the server: an answer, or that it is busy
        self._client: openai.OpenAI | None = None

    @property
    def tokens(self) -> float:
        """Of one request."""
        return max(self._tokens, self.answers.longest)

    # -- what is on its way ----------------------------------------------------------------------

    def in_flight(self) -> set[Place]:
        """Places of this table that a batch on its way asks for."""
        number, most = self.answers.number, self.answers.per_image
        return {
            (number[image], index)
            for part in self.parts
            for image, index in part.requests
            if image in number and index < most
        }

    def run(self, submit: bool) -> None:
        """Until nothing of this table is on its way. submit: also send what is missing.

        Raises Interrupted, StageError or UserError; what is on its way stays so.
        """
        self.budget.queued = sum(len(part.requests) for part in self.parts)
        moved = self._collect()  # first of all: it is paid for
        self._recover(submit)
        wait = FIRST_WAIT
        while True:
            if submit:
                moved = self._submit() or moved
            # Batches of other tables may have left no room for this one.
            waiting = submit and self.answers.count_missing(self.attempts) > 0
            if not self.in_flight() and not waiting:
                return
            if not moved and (late := self._overdue()):
                raise late
            wait = FIRST_WAIT if moved else min(LONGEST_WAIT, 1.5 * wait)
            self.stop.wait(wait)
            moved = self._collect()

    def _overdue(self) -> Interrupted | None:
        """Where no batch can be expected to end any more."""
        limit = time.time() - DAY - 60 * self.api.patience_minutes
        if not self.parts or any(self._file(part).stat().st_mtime > limit for part in self.parts):
            return None
        return Interrupted(
            f"{client.server(self.api)}: batch {self.parts[0].batch} should have ended within 24 "
            f"hours, and {self.api.patience_minutes:g} minutes more are over "
            "(execution.api.patience_minutes); every answer is kept, and the same command looks "
            f"again. {self._remedy(self.parts[0])}"
        )

    def _recover(self, submit: bool) -> None:
        """Finish or drop what a killed run did not finish sending."""
        known = {self._input(part.name) for part in self.parts}
        half = {*self.folder.glob("*.jsonl"), *self.folder.glob(".*.tmp.*")} - known
        for path in half | set(self.answers.folder.glob(".*.tmp.batch-*")):
            path.unlink()  # killed while it was written
        for part in list(self.parts):
            if part.batch is None:
                if submit or part.creating:
                    self._send(part, known=False)
                else:
                    self._forget(part)

    @property
    def _api(self) -> openai.OpenAI:
        if self._client is None:
            self._client = openai.OpenAI(**client.options(self.api))
        return self._client

    def _patiently(self, step: Callable[[int], T], sending: bool = False) -> T:
        """A step, told how often it has failed, repeated while the server has trouble."""
        failures, patience = 0, Patience(self.api.patience_minutes)
        while True:
            self.stop.check()
            try:
                done = step(failures)
                self._heard = True
                return done
            except openai.NotFoundError as error:
                if sending:
                    raise UserError(
                        f"{client.server(self.api)} has no Batch API; set execution.api.mode: sync"
                        f" ({client.line(error.message)})"
                    ) from None
                raise UserError(
                    f"{client.server(self.api)}: {client.line(error.message)}; batches in "
                    f"{self.folder} belong to another account? Use its key, or remove their files "
                    "to ask (and pay) again"
                ) from None
            except (openai.OpenAIError, httpx2.HTTPError) as error:
                problem = client.trouble(error, self.answers.question.model)
                failures += 1
                where = client.server(self.api)
                self._heard = self._heard or problem.kind == "slow"
                hopeless = problem.kind == "again" and failures >= TRIES and not self._heard
                if problem.kind == "refused" or hopeless:
                    raise StageError(f"{where}: {problem.text}; nothing is lost") from None
                if patience.left <= 0:
                    raise patience.end(where, problem.text) from None
                pause = retry_after(problem.headers)
                if pause is None:
                    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures - 1, 20))
                log.info("%s; again in %.1f s", problem.text, pause)
                self.stop.wait(min(pause, patience.left))

    # -- sending ---------------------------------------------------------------------------------

    def _submit(self) -> bool:
        """Send what is missing and not on its way, as far as queue and budget have room."""
        busy = self.in_flight()
        left: Iterator[Place] = (
            place for place in self.answers.missing(self.attempts) if place not in busy
        )
        sent = False
        while (first := next(left, None)) is not None:
            queued = sum(part.tokens for part in self.parts)
            most = min(MOST_REQUESTS, int((self.room - queued) // self.tokens))
            while most > 0 and not self.budget.allows(most):
                most //= 2
            if most < 1:
                if not self.parts:
                    raise StageError(self._no_room())
                return sent
            part, left = self._prepare(chain([first], left), most)
            self._send(part, known=True)
            sent = True
        return sent

    def _no_room(self) -> str:
        if not self.budget.allows():
            return self.budget.refusal
        return (
            f"one request of {self.tokens:.0f} tokens is more than execution.api.queued_tokens = "
            f"{self.room} lets into the queue at once"
        )

    def _prepare(self, places: Iterator[Place], most: int) -> tuple[Part, Iterator[Place]]:
        """Write the requests of a part. Returns also the places that found no room in it."""
        name = f"tacolab-{uuid.uuid4().hex}"
        requests: list[Request] = []
        size, url, last = 0, "", -1
        question, images = self.answers.question, self.answers.images
        with atomic.replacing(self._input(name)) as temporary, temporary.open("wb") as file:
            for image, index in islice(places, most):
                self.stop.check()
                if image != last:
                    url, last = self.picture(image), image
                request = {
                    "custom_id": question.custom_id(images[image], index),
                    "method": "POST",
                    "url": "/v1/chat/completions",
                    "body": question.body(url),
                }
                line = json.dumps(request).encode() + b"\n"
                if requests and size + len(line) > MOST_BYTES:
                    places = chain([(image, index)], places)
                    break
                file.write(line)
                size += len(line)
                requests.append((images[image], index))
        tokens = math.ceil(self.tokens * len(requests))
        part = Part(name, client.server(self.api), tokens, question.max_tokens, requests)
        self.parts.append(part)
        self._note(part)
        self.budget.queued += len(requests)
        log.info("a batch of %d requests, %.1f MB, is prepared", len(requests), size / 1e6)
        return part, places

    def _send(self, part: Part, known: bool) -> None:
        """Upload and create. known: that the server has neither yet; else it is asked first."""
        self._same_server(part)
        if part.file is None:
            file = self._patiently(
                lambda failed: self._upload(part, look=failed > 0 or not known), sending=True
            )
            part = self._note(replace(part, file=file))
        if part.creating:
            self.stop.wait(LOOK_AGAIN)
        look = part.creating
        part = self._note(replace(part, creating=True))
        # Not found, of a file that another run has uploaded: it may be another account's.
        batch = self._patiently(
            lambda failed: self._create(part, look=failed > 0 or look), sending=known
        )
        self._note(replace(part, batch=batch, creating=False))
        self._input(part.name).unlink(missing_ok=True)
        log.info("batch %s: %d requests are in the queue", batch, len(part.requests))

    def _upload(self, part: Part, look: bool) -> str:
        path = self._input(part.name)
        for file in self._api.files.list(purpose="batch") if look else ():
            if file.filename == path.name and file.bytes == path.stat().st_size:
                return file.id
        with path.open("rb") as content:
            return _id(self._api.files.create(file=(path.name, content), purpose="batch").id)

    def _create(self, part: Part, look: bool) -> str:
        for batch in self._api.batches.list(limit=100) if look else ():
            if (batch.metadata or {}).get("tacolab") == part.name:
                return batch.id
        batch = self._api.batches.create(
            input_file_id=part.file or "",
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={"tacolab": part.name},
        )
        return _id(batch.id)

    # -- collecting ------------------------------------------------------------------------------

    def _collect(self) -> bool:
        """Take in every batch that has ended. Raises what is wrong with one after the others."""
        moved, waiting = False, 0
        problem: UserError | StageError | Interrupted | None = None
        for part in [part for part in self.parts if part.batch]:
            try:
                self._same_server(part)
                batch = self._patiently(partial(self._retrieve, part.batch or ""))
                if batch.status in ENDED:
                    self._take(part, batch)
                    moved = True
                else:
                    waiting += _completed(batch)
            except (UserError, StageError, Interrupted) as error:
                problem = problem or error
        self.show(waiting)
        if problem:
            raise problem
        return moved

    def _retrieve(self, name: str, _: int) -> Batch:
        return self._api.batches.retrieve(name)

    def _take(self, part: Part, batch: Batch) -> None:
        """Store the answers of a batch that has ended; what has none is missing as before."""
        found = self._answers(part, batch)
        queued = sum(other.tokens for other in self.parts)
        self._forget(part)
        rejected = self._judge(part, found)
        self._store(part, rejected)
        answered = sum(_paid(answer) and answer.outcome != LOST for answer in found.values())
        answered += len(rejected)
        if answered:
            self._fruitless = self._crowded = 0
            self.room = min(self.api.queued_tokens, 2 * self.room)
        log.info(
            "batch %s: %s, %d of %d requests have an answer",
            *(batch.id, batch.status, answered, len(part.requests)),
        )
        errors = getattr(batch.errors, "data", None) or []
        text = client.line("; ".join(error.message or error.code or "?" for error in errors))
        if any(error.code == OVER_LIMIT for error in errors):
            self._make_room(queued, text)
        elif batch.status == "failed":
            raise StageError(f"batch {batch.id}: the server refuses it: {text}")
        elif not answered:
            self._fruitless += 1
            if self._fruitless == FRUITLESS:
                why = text or batch.status
                raise StageError(f"the last {FRUITLESS} batches brought no answer: {why}")

    def _answers(self, part: Part, batch: Batch) -> dict[Request, Answer]:
        """What the files of a batch say. Completions are stored, those of one file whatever is
        wrong with the other.

        Raises UserError, StageError or Interrupted where some may be missing; the part stays then.
        """
        found: dict[Request, Answer] = {}
        told: set[Request] = set()
        problem: UserError | StageError | Interrupted | None = None
        damaged = False
        for kind, file in (("output", batch.output_file_id), ("error", batch.error_file_id)):
            if not (file := (file or "").strip()):
                continue
            try:
                lines, torn = self._patiently(partial(self._lines, part, kind, file))
            except (UserError, StageError, Interrupted) as error:
                problem = problem or error
                continue
            self._store(
                part, {key: answer for key, answer in lines.items() if answer and _paid(answer)}
            )
            told |= lines.keys()
            found = {key: answer for key, answer in lines.items() if answer} | found
            damaged = damaged or (torn and kind == "output")  # an error is not paid for
        untold = len(part.requests) - len(told)
        answers = sum(map(_paid, found.values()))
        if untold and not problem and (damaged or answers < _completed(batch)):
            problem = StageError(
                f"batch {batch.id}: its files say nothing readable of {untold} requests, but the "
                f"server may have answered them; {answers} answers are stored, and the same "
                f"command looks again. {self._remedy(part)}"
            )
        if untold and problem:
            raise problem
        return found

    def _lines(
        self, part: Part, kind: str, file: str, _: int
    ) -> tuple[dict[Request, Answer | None], bool]:
        """Of a file of a batch, in any order: the requests that it names, each with the answer or
        None; whether it has lines that cannot be read."""
        requests = {self.answers.question.custom_id(*key): key for key in part.requests}
        found: dict[Request, Answer | None] = {}
        damaged = False
        try:
            with self._api.files.with_streaming_response.content(file) as response:
                # It came whole: its last line needs no newline.
                for line in json_lines.read(chain(response.iter_bytes(), [b"\n"])):
                    content = line.content
                    damaged = damaged or content is None
                    if content and (key := requests.get(str(content.get("custom_id")))):
                        found[key] = found.get(key) or answer(content)
        except openai.NotFoundError as error:
            gone = f"the {kind} file of batch {part.batch} is gone ({client.line(error.message)})"
            if kind == "output":
                raise UserError(f"{gone}. {self._remedy(part)}") from None
            log.warning("%s; nothing in it was paid for", gone)
        if damaged:
            log.warning("the %s file of batch %s is damaged", kind, part.batch)
        return found, damaged

    def _judge(self, part: Part, found: Mapping[Request, Answer]) -> dict[Request, Answer]:
        """The refusals that the images are at fault for. Raises StageError where it may be the
        config."""
        rejected = {}
        for request in part.requests:
            if (answer := found.get(request)) is None:
                continue
            sent = self.doubts.send()
            if answer.outcome == REJECTED and self.answers.was_rejected(*request):
                rejected[request] = answer
            elif answer.outcome == REJECTED:
                self.doubts.refused(request, sent, answer.text)
            elif answer.outcome != LOST:
                self.doubts.taken(sent)
        for request, reason in self.doubts.explained() + self.doubts.rest():
            rejected[request] = Answer.rejected(reason)
        return rejected

    def _store(self, part: Part, found: Mapping[Request, Answer]) -> None:
        lines = [
            record(request, answer, "batch", part.server, part.max_tokens)
            for request, answer in found.items()
        ]
        self.answers.add_batch(part.name, lines)

    def _make_room(self, queued: int, text: str) -> None:
        """The account's queue took less than `queued` tokens: wait, and send smaller batches."""
        self.room = max(math.ceil(self.tokens), queued // 2)
        self._crowded += 1
        if self._crowded == CROWDED:
            raise StageError(f"the account's queue stays full: {text}")
        wait = min(LONGEST_WAIT, CROWDED_WAIT * 2 ** (self._crowded - 1))
        log.info("the account's queue is full (%s); again in %.0f s", text, wait)
        self.stop.wait(wait)

    # -- the parts' files ------------------------------------------------------------------------

    def _file(self, part: Part) -> Path:
        return self.folder / f"{part.name}.json"

    def _remedy(self, part: Part) -> str:
        return f"Remove {self._file(part)} to ask (and pay) again for what is missing"

    def _input(self, name: str) -> Path:
        return self.folder / f"{name}.jsonl"

    def _note(self, part: Part) -> Part:
        atomic.write_json(self._file(part), asdict(part))
        self.parts = [part if part.name == other.name else other for other in self.parts]
        return part

    def _forget(self, part: Part) -> None:
        self._file(part).unlink()
        self.parts = [other for other in self.parts if other.name != part.name]
        self.budget.queued -= len(part.requests)
        if part.file:
            try:  # the account's storage is limited
                self._api.files.delete(part.file)
            except openai.OpenAIError as error:
                log.info("file %s stays at the server: %s", part.file, client.line(str(error)))

    def _same_server(self, part: Part) -> None:
        if part.server != client.server(self.api):
            raise UserError(
                f"{self._file(part)}: {len(part.requests)} requests are on their way "
                f"at {part.server}; set execution.api.base_url to it, or remove the file to ask "
                "(and pay) again"
            )


def _paid(answer: Answer | None) -> bool:
    """Whether it came from the model, or may have."""
    return answer is not None and answer.outcome != REJECTED


def _completed(batch: Batch) -> int:
    """Requests that the server has answered, as it counts."""
    return natural(getattr(batch.request_counts, "completed", None)) or 0


def _id(found: str) -> str:
    """Raises StageError for none."""
    if not found:
        raise StageError(
            "the server gives no id to what it was sent; nothing is lost, and the same command "
            "looks for it there"
        )
    return found
