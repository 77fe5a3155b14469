"""Answers by the Batch API: half the price, within a day.

An order is a batch on its way: prepared -> uploaded -> creating -> created, then collected and
forgotten. Requests that brought no answer are asked again in another order.
"""

from __future__ import annotations

import json
import logging
import math
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from typing import Literal

from openai.types import Batch

from tacolab.config import Api
from tacolab.errors import Interrupted, StageError, UserError
from tacolab.files import atomic
from tacolab.stages.captions.chat import client
from tacolab.stages.captions.chat.answers import Answers, record
from tacolab.stages.captions.chat.batch_server import BatchServer
from tacolab.stages.captions.chat.order import Order, Orders, State
from tacolab.stages.captions.chat.prices import Budget
from tacolab.stages.captions.chat.question import LOST, REJECTED, Answer, Request, natural
from tacolab.stages.captions.chat.refusals import Doubts
from tacolab.stages.captions.chat.stop_request import StopRequest

log = logging.getLogger(__name__)

MOST_REQUESTS, MOST_BYTES = 50_000, 200_000_000  # of one batch, as the API allows
DAY = 24 * 3600.0  # seconds that the API gives itself for a batch
LOOK_AGAIN = 5.0  # seconds, before what a killed run sent counts as not arrived
FIRST_WAIT, LONGEST_WAIT = 1.0, 300.0  # seconds between two looks
FRUITLESS = 3  # batches in a row without an answer, before a person must look
CROWDED = 12  # refusals by a full queue before that
CROWDED_WAIT = 10.0  # seconds after the first of them
ENDED = ("completed", "expired", "cancelled", "failed")
OVER_LIMIT = "token_limit_exceeded"

Place = tuple[int, int]


class Batches:
    """Has the answers of a table ordered and collected, and what other tables have ordered."""

    def __init__(
        self,
        api: Api,
        answers: Answers,
        attempts: int,
        prompt_tokens: float,
        budget: Budget,
        stop: StopRequest,
        doubts: Doubts,
        picture: Callable[[int], str],
        show: Callable[[int], object],
    ) -> None:
        """prompt_tokens: expected of one request. show: told how many answers wait there."""
        self.api, self.answers, self.attempts = api, answers, attempts
        self._tokens, self.budget, self.stop = prompt_tokens, budget, stop
        self.doubts, self.picture, self.show = doubts, picture, show
        self.orders = Orders(answers.folder / "batches")
        self.server = BatchServer(api, answers.question.model, self.orders, stop)
        self.room = api.queued_tokens
        self._fruitless = self._crowded = 0

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
            for order in self.orders
            for image, index in order.requests
            if image in number and index < most
        }

    def run(self, submit: bool) -> None:
        """Until nothing of this table is on its way. submit: also send what is missing.

        Raises Interrupted, StageError or UserError; what is on its way stays so.
        """
        self.budget.queued = sum(len(order.requests) for order in self.orders)
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
        files = [self.orders.file(order) for order in self.orders]
        if not files or any(path.stat().st_mtime > limit for path in files):
            return None
        late = next(iter(self.orders))
        return Interrupted(
            f"{self.server.name}: batch {late.batch} should have ended within 24 hours, and "
            f"{self.api.patience_minutes:g} minutes more are over "
            "(execution.api.patience_minutes); every answer is kept, and the same command looks "
            f"again. {self.orders.remedy(late)}"
        )

    def _recover(self, submit: bool) -> None:
        """Finish or drop what a killed run did not finish sending."""
        self.orders.sweep()
        for path in self.answers.folder.glob(".*.tmp.batch-*"):
            path.unlink()  # killed while it was written
        for order in self.orders:
            if order.state == State.CREATED:
                continue
            if submit or order.state == State.CREATING:
                self._send(order, sent_before=True)
            else:
                self._forget(order)

    # -- sending ---------------------------------------------------------------------------------

    def _submit(self) -> bool:
        """Send what is missing and not on its way, as far as queue and budget have room."""
        busy = self.in_flight()
        left: Iterator[Place] = (
            place for place in self.answers.missing(self.attempts) if place not in busy
        )
        sent = False
        while (first := next(left, None)) is not None:
            most = min(MOST_REQUESTS, int((self.room - self.orders.tokens) // self.tokens))
            while most > 0 and not self.budget.allows(most):
                most //= 2
            if most < 1:
                if not self.orders:
                    raise StageError(self._no_room())
                return sent
            order, left = self._prepare(chain([first], left), most)
            self._send(order, sent_before=False)
            sent = True
        return sent

    def _no_room(self) -> str:
        if not self.budget.allows():
            return self.budget.refusal
        return (
            f"one request of {self.tokens:.0f} tokens is more than execution.api.queued_tokens = "
            f"{self.room} lets into the queue at once"
        )

    def _prepare(self, places: Iterator[Place], most: int) -> tuple[Order, Iterator[Place]]:
        """Write the requests of an order. Returns also the places that found no room in it."""
        name = f"tacolab-{uuid.uuid4().hex}"
        requests: list[Request] = []
        size, url, last = 0, "", -1
        question, images = self.answers.question, self.answers.images
        path = self.orders.requests(name)
        with atomic.replacing(path) as temporary, temporary.open("wb") as file:
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
        order = Order(name, self.server.name, tokens, question.max_tokens, requests)
        self.orders.note(order)
        self.budget.queued += len(requests)
        log.info("a batch of %d requests, %.1f MB, is prepared", len(requests), size / 1e6)
        return order, places

    def _send(self, order: Order, sent_before: bool) -> None:
        """Take an order as far as CREATED. sent_before: by another run, of which the server may
        have more than the order's state says."""
        self._same_server(order)
        if order.state == State.PREPARED:
            file = self.server.upload(order, look=sent_before)
            order = self.orders.note(replace(order, state=State.UPLOADED, file=file))
        look = order.state == State.CREATING
        if look:
            self.stop.wait(LOOK_AGAIN)
        else:
            order = self.orders.note(replace(order, state=State.CREATING))
        batch = self.server.create(order, look, sending=not sent_before)
        self.orders.note(replace(order, state=State.CREATED, batch=batch))
        self.orders.requests(order.name).unlink(missing_ok=True)
        log.info("batch %s: %d requests are in the queue", batch, len(order.requests))

    # -- collecting ------------------------------------------------------------------------------

    def _collect(self) -> bool:
        """Take in every batch that has ended. Raises what is wrong with one after the others."""
        moved, waiting = False, 0
        problem: UserError | StageError | Interrupted | None = None
        for order in [order for order in self.orders if order.state == State.CREATED]:
            try:
                self._same_server(order)
                batch = self.server.retrieve(order)
                if batch.status in ENDED:
                    self._take(order, batch)
                    moved = True
                else:
                    waiting += _completed(batch)
            except (UserError, StageError, Interrupted) as error:
                problem = problem or error
        self.show(waiting)
        if problem:
            raise problem
        return moved

    def _take(self, order: Order, batch: Batch) -> None:
        """Store the answers of a batch that has ended; what has none is missing as before."""
        found = self._answers(order, batch)
        queued = self.orders.tokens
        self._forget(order)
        rejected = self._judge(order, found)
        self._store(order, rejected)
        answered = sum(_paid(answer) and answer.outcome != LOST for answer in found.values())
        answered += len(rejected)
        if answered:
            self._fruitless = self._crowded = 0
            self.room = min(self.api.queued_tokens, 2 * self.room)
        log.info(
            "batch %s: %s, %d of %d requests have an answer",
            *(batch.id, batch.status, answered, len(order.requests)),
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

    def _answers(self, order: Order, batch: Batch) -> dict[Request, Answer]:
        """What the files of a batch say. Completions are stored, those of one file whatever is
        wrong with the other.

        Raises UserError, StageError or Interrupted where some may be missing; the order stays then.
        """
        found: dict[Request, Answer] = {}
        told: set[Request] = set()
        problem: UserError | StageError | Interrupted | None = None
        damaged = False
        names = {self.answers.question.custom_id(*key): key for key in order.requests}
        files: dict[Literal["output", "error"], str | None]
        files = {"output": batch.output_file_id, "error": batch.error_file_id}
        for kind, file in files.items():
            if not (file := (file or "").strip()):
                continue
            try:
                lines, torn = self.server.results(order, kind, file, names)
            except (UserError, StageError, Interrupted) as error:
                problem = problem or error
                continue
            self._store(
                order, {key: answer for key, answer in lines.items() if answer and _paid(answer)}
            )
            told |= lines.keys()
            found = {key: answer for key, answer in lines.items() if answer} | found
            damaged = damaged or (torn and kind == "output")  # an error is not paid for
        untold = len(order.requests) - len(told)
        answers = sum(map(_paid, found.values()))
        if untold and not problem and (damaged or answers < _completed(batch)):
            problem = StageError(
                f"batch {batch.id}: its files say nothing readable of {untold} requests, but the "
                f"server may have answered them; {answers} answers are stored, and the same "
                f"command looks again. {self.orders.remedy(order)}"
            )
        if untold and problem:
            raise problem
        return found

    def _judge(self, order: Order, found: Mapping[Request, Answer]) -> dict[Request, Answer]:
        """The refusals that the images are at fault for. Raises StageError where it may be the
        config."""
        rejected = {}
        for request in order.requests:
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

    def _store(self, order: Order, found: Mapping[Request, Answer]) -> None:
        lines = [
            record(request, answer, "batch", order.server, order.max_tokens)
            for request, answer in found.items()
        ]
        self.answers.add_batch(order.name, lines)

    def _make_room(self, queued: int, text: str) -> None:
        """The account's queue took less than `queued` tokens: wait, and send smaller batches."""
        self.room = max(math.ceil(self.tokens), queued // 2)
        self._crowded += 1
        if self._crowded == CROWDED:
            raise StageError(f"the account's queue stays full: {text}")
        wait = min(LONGEST_WAIT, CROWDED_WAIT * 2 ** (self._crowded - 1))
        log.info("the account's queue is full (%s); again in %.0f s", text, wait)
        self.stop.wait(wait)

    def _forget(self, order: Order) -> None:
        self.orders.forget(order)
        self.budget.queued -= len(order.requests)
        if order.file:
            self.server.delete(order.file)

    def _same_server(self, order: Order) -> None:
        if order.server != self.server.name:
            raise UserError(
                f"{self.orders.file(order)}: {len(order.requests)} requests are on their way "
                f"at {order.server}; set execution.api.base_url to it, or remove the file to ask "
                "(and pay) again"
            )


def _paid(answer: Answer | None) -> bool:
    """Whether it came from the model, or may have."""
    return answer is not None and answer.outcome != REJECTED


def _completed(batch: Batch) -> int:
    """Requests that the server has answered, as it counts."""
    return natural(getattr(batch.request_counts, "completed", None)) or 0
