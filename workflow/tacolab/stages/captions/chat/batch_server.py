"""The steps of a batch at the server, each repeated while the server has trouble."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, Literal, TypeVar

import httpx2
import openai
from openai.types import Batch

from tacolab.config import Api
from tacolab.errors import StageError, UserError
from tacolab.files import json_lines
from tacolab.stages.captions.chat import client
from tacolab.stages.captions.chat.order import Order, Orders
from tacolab.stages.captions.chat.question import Answer, Request
from tacolab.stages.captions.chat.rate_limits import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    Patience,
    retry_after,
)
from tacolab.stages.captions.chat.stop_request import StopRequest

log = logging.getLogger(__name__)
T = TypeVar("T")

TRIES = 8  # of one step, at a server that has not answered yet
REFUSED = (400, 413, 422)  # of a single request: not this image, or none at all

Results = dict[Request, Answer | None]


class BatchServer:
    """Every step raises Interrupted when the run is to end or the server is silent for too long,
    UserError or StageError for what no patience mends."""

    def __init__(self, api: Api, model: str, orders: Orders, stop: StopRequest) -> None:
        self.api, self.model, self.orders, self.stop = api, model, orders, stop
        self.name = client.server(api)
        self._heard = False  # an answer, or that it is busy
        self._connection: openai.OpenAI | None = None

    def upload(self, order: Order, look: bool) -> str:
        """Id of the file with the requests. look: for one that is there already."""
        return self._patiently(lambda again: self._upload(order, look or again), sending=True)

    def create(self, order: Order, look: bool, sending: bool) -> str:
        """Id of the batch of a file that is there. look: for a batch that is there already.
        sending: the file is of this run; else it may be another account's."""
        return self._patiently(lambda again: self._create(order, look or again), sending)

    def retrieve(self, order: Order) -> Batch:
        """How far it is."""
        return self._patiently(lambda _: self._client.batches.retrieve(order.batch or ""))

    def results(
        self,
        order: Order,
        kind: Literal["output", "error"],
        file: str,
        requests: Mapping[str, Request],
    ) -> tuple[Results, bool]:
        """Of a file of a batch, in any order: the requests that it names, each with the answer or
        None; whether it has lines that cannot be read. requests: by their names in it."""
        return self._patiently(lambda _: self._results(order, kind, file, requests))

    def delete(self, file: str) -> None:
        """The account's storage is limited; it does not matter where this fails."""
        try:
            self._client.files.delete(file)
        except openai.OpenAIError as error:
            log.info("file %s stays at the server: %s", file, client.line(str(error)))

    @property
    def _client(self) -> openai.OpenAI:
        if self._connection is None:
            self._connection = openai.OpenAI(**client.options(self.api))
        return self._connection

    def _patiently(self, step: Callable[[bool], T], sending: bool = False) -> T:
        """A step, told whether it was tried before. sending: what is not found is the API."""
        failures, patience = 0, Patience(self.api.patience_minutes)
        while True:
            self.stop.check()
            try:
                done = step(failures > 0)
                self._heard = True
                return done
            except openai.NotFoundError as error:
                if sending:
                    raise UserError(
                        f"{self.name} has no Batch API; set execution.api.mode: sync"
                        f" ({client.line(error.message)})"
                    ) from None
                raise UserError(
                    f"{self.name}: {client.line(error.message)}; batches in {self.orders.folder} "
                    "belong to another account? Use its key, or remove their files to ask (and "
                    "pay) again"
                ) from None
            except (openai.OpenAIError, httpx2.HTTPError) as error:
                problem = client.trouble(error, self.model)
                failures += 1
                self._heard = self._heard or problem.kind == "slow"
                hopeless = problem.kind == "again" and failures >= TRIES and not self._heard
                if problem.kind == "refused" or hopeless:
                    raise StageError(f"{self.name}: {problem.text}; nothing is lost") from None
                if patience.left <= 0:
                    raise patience.end(self.name, problem.text) from None
                pause = retry_after(problem.headers)
                if pause is None:
                    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures - 1, 20))
                log.info("%s; again in %.1f s", problem.text, pause)
                self.stop.wait(min(pause, patience.left))

    def _upload(self, order: Order, look: bool) -> str:
        path = self.orders.requests(order.name)
        for file in self._client.files.list(purpose="batch") if look else ():
            if file.filename == path.name and file.bytes == path.stat().st_size:
                return file.id
        with path.open("rb") as content:
            return _id(self._client.files.create(file=(path.name, content), purpose="batch").id)

    def _create(self, order: Order, look: bool) -> str:
        for batch in self._client.batches.list(limit=100) if look else ():
            if (batch.metadata or {}).get("tacolab") == order.name:
                return batch.id
        batch = self._client.batches.create(
            input_file_id=order.file or "",
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={"tacolab": order.name},
        )
        return _id(batch.id)

    def _results(
        self, order: Order, kind: str, file: str, requests: Mapping[str, Request]
    ) -> tuple[Results, bool]:
        found: Results = {}
        damaged = False
        try:
            with self._client.files.with_streaming_response.content(file) as response:
                # It came whole: its last line needs no newline.
                for line in json_lines.read(chain(response.iter_bytes(), [b"\n"])):
                    content = line.content
                    damaged = damaged or content is None
                    if content and (key := requests.get(str(content.get("custom_id")))):
                        found[key] = found.get(key) or answer(content)
        except openai.NotFoundError as error:
            gone = f"the {kind} file of batch {order.batch} is gone ({client.line(error.message)})"
            if kind == "output":
                raise UserError(f"{gone}. {self.orders.remedy(order)}") from None
            log.warning("%s; nothing in it was paid for", gone)
        if damaged:
            log.warning("the %s file of batch %s is damaged", kind, order.batch)
        return found, damaged


def answer(result: dict[str, Any]) -> Answer | None:
    """Of a line of a result; None for a request that brought nothing (an error of the server, the
    end of the day)."""
    response = result.get("response")
    if not isinstance(response, dict):
        return None
    status, body = response.get("status_code"), response.get("body")
    if status == 200:
        return Answer.of(body) or Answer.lost("the answer is no chat completion")
    if status in REFUSED:
        error = body.get("error") if isinstance(body, dict) else None
        message = error.get("message") if isinstance(error, dict) else None
        return Answer.rejected(client.line(f"HTTP {status}: {message}"))
    return None


def _id(found: str) -> str:
    """Raises StageError for none."""
    if not found:
        raise StageError(
            "the server gives no id to what it was sent; nothing is lost, and the same command "
            "looks for it there"
        )
    return found
