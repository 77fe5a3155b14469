"""Answers one by one, many at a time."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any

import httpx2
import openai

from tacolab.config import Api
from tacolab.errors import StageError
from tacolab.files.texts import loads
from tacolab.stages.captions.chat import client
from tacolab.stages.captions.chat.answers import Answers
from tacolab.stages.captions.chat.client import Trouble
from tacolab.stages.captions.chat.pace import FIRST_PAUSE, LONGEST_PAUSE, Pace, Patience
from tacolab.stages.captions.chat.prices import Budget
from tacolab.stages.captions.chat.question import LOST, Answer
from tacolab.stages.captions.chat.refusals import Doubts
from tacolab.stages.captions.chat.stop import Stop

log = logging.getLogger(__name__)

TRIES = 10  # of one request, before it is left for another run: some three minutes
WITHOUT_ANSWER = 5  # rounds of them, at a server of which nothing was heard
GRACE = 25.0  # seconds for answers in flight after a signal; SLURM kills after 30
SYNC_SECONDS = 0.5  # between two fsyncs

Place = tuple[int, int]


class Asker:
    """Asks for places until each has a caption or has used up its attempts.

    Answers are stored as they come. When something ends the run, no new request is sent, and those
    in flight may still be answered: they are paid for.
    """

    def __init__(
        self,
        api: Api,
        answers: Answers,
        attempts: int,
        budget: Budget,
        stop: Stop,
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
        self._end: Exception | None = None

    def run(self, places: Iterator[Place]) -> None:
        """Raises Interrupted, StageError or UserError; what was answered is stored by then."""
        asyncio.run(self._run(places))
        if self._end:
            raise self._end
        self.stop.check()

    async def _run(self, places: Iterator[Place]) -> None:
        loop = asyncio.get_running_loop()
        self._ended, self._settled = asyncio.Event(), asyncio.Event()
        self._pace = Pace(self.api.concurrency)
        self._patience = Patience(self.api.patience_minutes)
        self._asking: set[asyncio.Task[None] | None] = set()  # with a request in flight
        queue: asyncio.Queue[tuple[Place, bytes] | None] = asyncio.Queue(self.api.concurrency)
        limits = httpx2.Limits(max_connections=self.api.concurrency, keepalive_expiry=15)
        # On aiohttp, since a request then takes half the time of a core.
        http = openai.DefaultAioHttpClient(timeout=client.TIMEOUT, limits=limits)
        self.stop.tell(lambda: loop.call_soon_threadsafe(self._ended.set))
        try:
            async with openai.AsyncOpenAI(
                **client.options(self.api), http_client=http
            ) as self._client:
                workers = [
                    asyncio.create_task(self._work(queue)) for _ in range(self.api.concurrency)
                ]
                ended = asyncio.create_task(self._ended.wait())
                helpers = [
                    ended,
                    asyncio.create_task(self._feed(places, queue)),
                    asyncio.create_task(self._sync()),
                    asyncio.create_task(self._watch()),
                ]
                work = asyncio.create_task(_all(workers))
                await asyncio.wait([work, ended], return_when=asyncio.FIRST_COMPLETED)
                for worker in workers:
                    if worker not in self._asking:
                        worker.cancel()
                _, late = await asyncio.wait(workers, timeout=GRACE)
                for task in [*late, *helpers]:
                    task.cancel()
                await _all([*workers, *helpers, work])
            if not self._ended.is_set():
                self._reject(self.doubts.rest())
        finally:
            self.stop.tell(lambda: None)
            self.answers.close()

    async def _feed(
        self, places: Iterator[Place], queue: asyncio.Queue[tuple[Place, bytes] | None]
    ) -> None:
        try:
            async for item in self._requests(places):
                await queue.put(item)
        except Exception as error:
            self._finish(error)
        for _ in range(self.api.concurrency):
            await queue.put(None)

    async def _requests(self, places: Iterator[Place]) -> AsyncIterator[tuple[Place, bytes]]:
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
                        yield place, encoded

    def _body(self, image: int) -> bytes:
        return json.dumps(self.answers.question.body(self.picture(image))).encode()

    async def _sync(self) -> None:
        while True:
            await asyncio.sleep(SYNC_SECONDS)
            await asyncio.to_thread(self.answers.sync)

    async def _watch(self) -> None:
        """Nothing that a server does, or leaves undone, lasts for ever."""
        while (left := self._patience.left) > 0:
            await asyncio.sleep(left)
        self._finish(self._patience.end(client.server(self.api), self._trouble))

    def _finish(self, error: Exception) -> None:
        self._end = self._end or error
        self._ended.set()

    async def _work(self, queue: asyncio.Queue[tuple[Place, bytes] | None]) -> None:
        try:
            while not self._ended.is_set() and (item := await queue.get()):
                await self._settle(*item)
        except Exception as error:
            self._finish(error)

    async def _settle(self, place: Place, body: bytes) -> None:
        """Ask until there is a caption, or the attempts are used up, or nothing helps."""
        failures, before = 0, self._answered
        while not self.answers.good[place] and self.answers.tries[place] < self.attempts:
            await self._turn()
            task = asyncio.current_task()
            self._asking.add(task)
            try:
                problem = await self._ask(place, body)
            finally:
                self._asking.discard(task)
                self.budget.in_flight -= 1
                self._pace.leave()
                self._settled.set()
            if self._ended.is_set():
                return
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

    async def _turn(self) -> None:
        """Wait until the server, the budget and doubts about the config allow a request."""
        await self._pace.enter()
        while why := self.doubts.suspicion or ("" if self.budget.allows() else self.budget.refusal):
            if self.budget.in_flight == 0:
                self._pace.leave()
                raise StageError(why)
            self._settled.clear()
            try:
                # Most answers cost less than the longest one, and a good one takes doubts away.
                await self._settled.wait()
            except asyncio.CancelledError:
                self._pace.leave()
                raise
        self.budget.in_flight += 1

    async def _ask(self, place: Place, body: bytes) -> Trouble | None:
        """One request. None: it brought an answer, good or bad, which is stored."""
        sent = self.doubts.send()
        try:
            # Bytes both ways: the client would walk through an image's 100 kB again and again, and
            # build objects of what is read once.
            response = await self._client.post(
                "/chat/completions",
                cast_to=httpx2.Response,
                content=body,
                options={"headers": {"Content-Type": "application/json"}},
            )
            answer = Answer.of(loads(response.content))
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
        except asyncio.CancelledError:
            self._store(place, Answer.lost("left before it was answered"))
            raise
        else:
            self._pace.answered(response.headers)
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


async def _all(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Until all are over, whatever became of them."""
    await asyncio.gather(*tasks, return_exceptions=True)
