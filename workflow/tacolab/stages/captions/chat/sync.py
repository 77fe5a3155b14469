"""Answers one by one, many at a time."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import groupby

import httpx2
import openai

from tacolab.config import Api
from tacolab.errors import StageError
from tacolab.files.texts import loads
from tacolab.stages.captions.chat import client
from tacolab.stages.captions.chat.answers import Answers
from tacolab.stages.captions.chat.client import Trouble
from tacolab.stages.captions.chat.prices import Budget
from tacolab.stages.captions.chat.question import LOST, Answer
from tacolab.stages.captions.chat.rate_limits import FIRST_PAUSE, LONGEST_PAUSE, Pace, Patience
from tacolab.stages.captions.chat.refusals import Doubts
from tacolab.stages.captions.chat.stop_request import StopRequest

log = logging.getLogger(__name__)

TRIES = 10  # of one request, before it is left for another run: some three minutes
WITHOUT_ANSWER = 5  # rounds of them, at a server of which nothing was heard
GRACE = 25.0  # seconds for answers in flight after a signal; SLURM kills after 30
SYNC_SECONDS = 0.5  # between two fsyncs

Place = tuple[int, int]
Response = asyncio.Task[httpx2.Response]
Queue = asyncio.Queue[tuple[Place, bytes] | None]


class Asker:
    """Asks for places until each has a caption or has used up its attempts.

    Answers are stored as they come. The first task that fails ends the run, and one of them fails
    when a person or SLURM wants it to end: the others are cancelled, so no new request is sent, but
    those in flight may still be answered (`_ask`): they are paid for.
    """

    def __init__(
        self,
        api: Api,
        answers: Answers,
        attempts: int,
        budget: Budget,
        stop: StopRequest,
        doubts: Doubts,
        picture: Callable[[int], str],
        show: Callable[[], object],
    ) -> None:
        """picture: data URL of an image, called in threads. show: called after every answer."""
        self.api, self.answers, self.attempts = api, answers, attempts
        self.budget, self.stop, self.doubts = budget, stop, doubts
        self.picture, self.show = picture, show
        self.unanswered: dict[Place, str] = {}  # and why
        self._answered = 0
        self._heard = False  # of the server: an answer, or that it is busy
        self._trouble = ""  # the last

    def run(self, places: Iterator[Place]) -> None:
        """Raises Interrupted, StageError or UserError; what was answered is stored by then."""
        try:
            asyncio.run(self._run(places))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None  # the first; the others came of it
        finally:
            self.answers.close()
        self.stop.check()

    async def _run(self, places: Iterator[Place]) -> None:
        self._settled = asyncio.Event()
        self._pace = Pace(self.api.concurrency)
        self._patience = Patience(self.api.patience_minutes)
        queue: Queue = asyncio.Queue(self.api.concurrency)
        limits = httpx2.Limits(max_connections=self.api.concurrency, keepalive_expiry=15)
        # On aiohttp, since a request then takes half the time of a core.
        http = openai.DefaultAioHttpClient(timeout=client.TIMEOUT, limits=limits)
        options = client.options(self.api)
        async with (
            openai.AsyncOpenAI(**options, http_client=http) as self._client,
            asyncio.TaskGroup() as tasks,
        ):
            beside = [
                tasks.create_task(task) for task in (self._sync(), self._watch(), self._listen())
            ]
            work = [tasks.create_task(self._feed(places, queue))]
            work += [tasks.create_task(self._work(queue)) for _ in range(self.api.concurrency)]
            await asyncio.wait(work)
            for task in beside:
                task.cancel()
        self._reject(self.doubts.rest())

    # -- beside the requests ---------------------------------------------------------------------

    async def _sync(self) -> None:
        while True:
            await asyncio.sleep(SYNC_SECONDS)
            await asyncio.to_thread(self.answers.sync)

    async def _watch(self) -> None:
        """Nothing that a server does, or leaves undone, lasts for ever."""
        while (left := self._patience.left) > 0:
            await asyncio.sleep(left)
        raise self._patience.end(client.server(self.api), self._trouble)

    async def _listen(self) -> None:
        """Raises Interrupted when the run is to end."""
        loop, asked = asyncio.get_running_loop(), asyncio.Event()
        self.stop.tell(lambda: loop.call_soon_threadsafe(asked.set))
        try:
            await asked.wait()
        finally:
            self.stop.tell(lambda: None)
        self.stop.check()

    # -- the requests ----------------------------------------------------------------------------

    async def _feed(self, places: Iterator[Place], queue: Queue) -> None:
        """Places with their requests, which are encoded a little ahead and once for an image."""
        loop = asyncio.get_running_loop()
        cores = len(os.sched_getaffinity(0))
        ahead: deque[tuple[list[Place], asyncio.Future[bytes]]] = deque()
        with ThreadPoolExecutor(cores) as pool:
            images = groupby(places, key=lambda place: place[0])
            more = True
            while more or ahead:
                while more and len(ahead) < 4 * cores:
                    image, group = next(images, (None, iter(())))
                    more = image is not None
                    if image is not None:
                        ahead.append((list(group), loop.run_in_executor(pool, self._body, image)))
                if ahead:
                    asked, body = ahead.popleft()
                    encoded = await body
                    for place in asked:
                        await queue.put((place, encoded))
        for _ in range(self.api.concurrency):
            await queue.put(None)

    def _body(self, image: int) -> bytes:
        return json.dumps(self.answers.question.body(self.picture(image))).encode()

    async def _work(self, queue: Queue) -> None:
        while item := await queue.get():
            await self._settle(*item)

    async def _settle(self, place: Place, body: bytes) -> None:
        """Ask until there is a caption, or the attempts are used up, or nothing helps."""
        failures, before = 0, self._answered
        while not self.answers.good[place] and self.answers.tries[place] < self.attempts:
            async with self._turn():
                problem = await self._ask(place, body)
            if problem is None:
                failures = 0
                continue
            if problem.kind == "refused":
                return
            self._trouble = problem.text
            failures += problem.kind == "again" or problem.paid
            others, before = self._answered > before, self._answered
            if others and failures >= TRIES:
                self.unanswered[place] = problem.text
                return
            if problem.kind == "slow" or not others:
                self._heard = self._heard or problem.kind == "slow"
                pause = self._pace.refused(problem.headers)
                if not self._heard and self._pace.refusals >= WITHOUT_ANSWER:
                    raise StageError(f"{client.server(self.api)}: no answers: {problem.text}")
                log.info("%s; %s, again in %.1f s", problem.text, self._pace, pause)
            else:  # it is this request's own trouble
                pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (failures - 1))
                log.info("%s; again in %.1f s", problem.text, pause)
                await asyncio.sleep(pause * random.uniform(0.5, 1))

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """A request, as soon as the server, the budget and doubts about the config allow one."""
        await self._pace.enter()
        try:
            while why := self.doubts.suspicion or self._too_dear():
                if self.budget.in_flight == 0:
                    raise StageError(why)
                self._settled.clear()
                # Most answers cost less than the longest one, and a good one takes doubts away.
                await self._settled.wait()
            self.budget.in_flight += 1
            try:
                yield
            finally:
                self.budget.in_flight -= 1
        finally:
            self._pace.leave()
            self._settled.set()

    def _too_dear(self) -> str:
        return "" if self.budget.allows() else self.budget.refusal

    async def _ask(self, place: Place, body: bytes) -> Trouble | None:
        """One request. None: it brought an answer, good or bad, which is stored."""
        sent = self.doubts.send()
        # A task of its own, for it may outlive what ends this one.
        response: Response = asyncio.create_task(self._post(body))
        try:
            await asyncio.wait([response])
        except asyncio.CancelledError:
            try:
                await asyncio.wait([response], timeout=GRACE)
            finally:
                if response.done() and not response.cancelled():
                    self._take(place, sent, response)
                else:
                    response.cancel()
                    self._store(place, Answer.lost("left before it was answered"))
            raise
        return self._take(place, sent, response)

    async def _post(self, body: bytes) -> httpx2.Response:
        # Bytes both ways: the client would walk through an image's 100 kB again and again, and
        # build objects of what is read once.
        return await self._client.post(
            "/chat/completions",
            cast_to=httpx2.Response,
            content=body,
            options={"headers": {"Content-Type": "application/json"}},
        )

    def _take(self, place: Place, sent: int, response: Response) -> Trouble | None:
        """Store what came of a request, as `_ask` says."""
        try:
            answer = Answer.of(loads(response.result().content))
        except ValueError:
            answer = None
        except openai.OpenAIError as error:
            problem = client.trouble(error, self.answers.question.model)
            if problem.paid:
                self._store(place, Answer.lost(problem.text))
            if problem.kind == "refused":
                self._patience.heard()
                self._refused(place, sent, problem.text)
            return problem
        else:
            self._pace.answered(response.result().headers)
        if answer is None:
            answer = Answer.lost("the answer is no chat completion")
        else:
            self.doubts.taken(sent)
        self._store(place, answer)
        self._reject(self.doubts.explained())
        return Trouble("again", answer.text) if answer.outcome == LOST else None

    def _refused(self, place: Place, sent: int, reason: str) -> None:
        image, index = self.answers.images[place[0]], place[1]
        if self.answers.was_rejected(image, index):
            self._store(place, Answer.rejected(reason))
        else:
            self.doubts.refused((image, index), sent, reason)
            self._reject(self.doubts.explained())

    def _reject(self, refused: list[tuple[tuple[str, int], str]]) -> None:
        """Store what the images are at fault for."""
        for (image, index), reason in refused:
            self._store((self.answers.number[image], index), Answer.rejected(reason))

    def _store(self, place: Place, answer: Answer) -> None:
        if answer.outcome != LOST:
            self._answered, self._heard = self._answered + 1, True
            self._patience.heard()
        self.answers.append(self.answers.line(place, answer, "sync", client.server(self.api)))
        self.show()
