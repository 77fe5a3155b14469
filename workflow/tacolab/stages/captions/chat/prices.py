"""What answers cost: prices, an estimate before the first request, a budget while it runs.

Arithmetic without the API. `prices.csv` has USD per million input and output tokens (sync) and how
an image is counted: `base_tokens`, and at high detail `tile_tokens` for every tile of 512 pixels.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tacolab.config import Api, Gpt4o, Study
from tacolab.errors import UserError
from tacolab.plan import Artefact
from tacolab.readers.packed import Packed
from tacolab.stages.captions.chat.answers import Answers, Usage
from tacolab.stages.captions.chat.question import Question

TABLE = Path(__file__).with_name("prices.csv")
FACTOR = {"sync": 1.0, "batch": 0.5}
SHORT_SIDE, TILE = 768, 512  # [pixels] of an image as the API counts it at high detail
CAPTION_TOKENS = 150  # of a caption, until there are some to take the mean of
ENOUGH = 20  # of them
OVERHEAD = 12  # tokens of a message beside its text and image
UNKNOWN_PROMPT = 3000  # most tokens of a request to a model that nobody knows, until it answers

Mode = Literal["sync", "batch"]


@dataclass(frozen=True)
class Price:
    """USD per million input and output tokens, sync; where that stands."""

    input: float
    output: float
    origin: str

    def usd(self, prompt_tokens: float, completion_tokens: float, mode: str) -> float:
        plain = prompt_tokens * self.input + completion_tokens * self.output
        return plain * FACTOR[mode] / 1e6


def _row(model: str) -> Mapping[str, str] | None:
    with TABLE.open(newline="", encoding="utf-8") as file:
        return next((row for row in csv.DictReader(file) if row["model"] == model), None)


def price(model: str, api: Api) -> Price | None:
    """As the config says, else as known for the model at OpenAI; None where nobody knows."""
    if api.price is not None:
        return Price(*api.price, "execution.api.price")
    row = _row(model) if api.base_url is None else None
    if row is None:
        return None
    origin = f"{row['source']} in {row['date']}; execution.api.price overrules it"
    return Price(float(row["input"]), float(row["output"]), origin)


def prompt_tokens(question: Question) -> int:
    """Of one request, its image included; for models not in the table as for GPT-4o."""
    row = _row(question.model) or {"base_tokens": "85", "tile_tokens": "170"}
    tokens = int(row["base_tokens"])
    if question.detail == "high":
        across = math.ceil(question.image_side / TILE)
        down = math.ceil(min(question.image_side, SHORT_SIDE) / TILE)
        tokens += across * down * int(row["tile_tokens"])
    return tokens + OVERHEAD + math.ceil(len(question.prompt) / 4)


@dataclass(frozen=True)
class Estimate:
    """What is still to be asked, and what it costs.

    requests: None where nobody knows how many images there are. prompt, completion: tokens of one;
    most: of the longest answer. certain: whether `prompt` is known, or guessed for a model that is
    not in the table and has not answered yet.
    """

    requests: int | None
    prompt: float
    completion: float
    most: int
    certain: bool
    price: Price | None

    def usd(self, mode: str) -> float | None:
        """Of all requests, as expected; None: unknown."""
        if self.requests == 0:
            return 0.0
        if self.price is None or self.requests is None:
            return None
        return self.requests * self.price.usd(self.prompt, self.completion, mode)

    def worst(self, mode: str, longest: int) -> float:
        """Of one request with the longest answer [USD]; 0 where nobody knows.

        longest: most input tokens that the server has counted so far, 0 before it has.
        """
        prompt = max(self.prompt, longest)
        if not (self.certain or longest):
            prompt = max(prompt, UNKNOWN_PROMPT)
        return self.price.usd(prompt, self.most, mode) if self.price else 0.0

    def __str__(self) -> str:
        if self.requests is None:
            return "unknown until the data set's files are there"
        tokens = f"{self.requests:,} requests, about {self.requests * self.prompt:,.0f} input and "
        tokens += f"{self.requests * self.completion:,.0f} output tokens"
        sync, batch = self.usd("sync"), self.usd("batch")
        if sync is None or batch is None:
            return f"{tokens}; the price of the model is unknown (execution.api.price says it)"
        money = f"${sync:,.2f} sync, ${batch:,.2f} batch"
        return f"{tokens}: {money}" + (f" ({self.price.origin})" if self.price else "")


def estimate(
    question: Question, api: Api, requests: int | None, known: Answers | None = None
) -> Estimate:
    """Tokens as the answers so far had them, else as assumed."""
    prompt: float = prompt_tokens(question)
    completion: float = min(CAPTION_TOKENS, question.max_tokens)
    certain = _row(question.model) is not None
    total = _total(known) if known else Usage()
    if total.metered >= ENOUGH:
        certain = True
        prompt = total.prompt_tokens / total.metered
        completion = total.completion_tokens / total.metered
    cost = price(question.model, api)
    return Estimate(requests, prompt, completion, question.max_tokens, certain, cost)


def answers(study: Study, artefact: Artefact, data: Packed) -> Answers:
    """What is known about the images of a table."""
    question = Question.of(artefact.spec)
    return Answers(study.data_root, question, data.shown, artefact.spec["per_image"])


def outstanding(study: Study, artefact: Artefact, images: int | None) -> Estimate:
    """What a table still costs; before its data set is packed, as if nothing were answered.

    images: of the data set; None: unknown.
    """
    made_from = artefact.inputs["data"]
    source = study.captions[artefact.names["source"]]
    assert isinstance(source, Gpt4o)
    if made_from.done:
        known = answers(study, artefact, Packed(made_from.folder))
        missing = known.count_missing(source.attempts)
        return estimate(known.question, study.execution.api, missing, known)
    requests = None if images is None else images * artefact.spec["per_image"]
    return estimate(Question.of(artefact.spec), study.execution.api, requests)


def _total(answers: Answers) -> Usage:
    total = Usage()
    for usage in answers.usage.values():
        total.metered += usage.metered
        total.prompt_tokens += usage.prompt_tokens
        total.completion_tokens += usage.completion_tokens
    return total


def spent(answers: Answers, price: Price | None) -> float:
    """On this table by all runs so far [USD]; 0 where nobody knows."""
    if price is None:
        return 0.0
    return sum(
        price.usd(usage.prompt_tokens, usage.completion_tokens, mode)
        for mode, usage in answers.usage.items()
    )


class Budget:
    """Money spent on a table and money that may be owed for what is in flight [USD].

    in_flight: requests being answered now; queued: those of batches. Each may cost `worst`, and did
    where the server does not say what an answer took.
    """

    def __init__(
        self, answers: Answers, expected: Estimate, mode: str, limit: float | None
    ) -> None:
        """expected: of what is missing, in this mode."""
        self._answers, self._expected, self._mode = answers, expected, mode
        self.limit = math.inf if limit is None else limit
        self.in_flight = self.queued = 0

    @property
    def worst(self) -> float:
        """Most that one request may cost, by what is known now."""
        return self._expected.worst(self._mode, self._answers.longest)

    def check(self) -> None:
        """Raises UserError where what is missing will cost more than is allowed."""
        expected, mode = self._expected, self._mode
        if self.limit == math.inf or expected.requests == 0:
            return
        usd = expected.usd(mode)
        if usd is None:
            raise UserError(
                f"--max-cost {self.limit:g} (execution.api.max_cost) cannot be kept, since nobody "
                "knows the price of the model; give execution.api.price"
            )
        if self.spent + usd > self.limit:
            raise UserError(
                f"${usd:.2f} ({mode}) for {expected.requests:,} requests, with ${self.spent:.2f} "
                f"spent on this table before, are more than --max-cost {self.limit:g} "
                "(execution.api.max_cost); nothing was asked"
            )

    @property
    def spent(self) -> float:
        unmetered = sum(usage.unmetered for usage in self._answers.usage.values())
        return spent(self._answers, self._expected.price) + unmetered * self.worst

    def allows(self, requests: int = 1) -> bool:
        """Whether so many more can be sent without a risk."""
        owed = (self.in_flight + self.queued + requests) * self.worst
        return self.spent + owed <= self.limit

    @property
    def refusal(self) -> str:
        return (
            f"${self.spent:.4f} are spent and one more request may cost ${self.worst:.4f}: "
            f"--max-cost {self.limit:g} (execution.api.max_cost) allows no more; answers "
            "are kept"
        )
