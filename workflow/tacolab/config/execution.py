"""The section `execution` of the study's YAML: what changes no result."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tacolab.config.fields import Strict

Price = Annotated[float, Field(ge=0)]


class Api(Strict):
    """How answers are asked for; what is asked is a caption source."""

    mode: Literal["batch", "sync"] = Field(
        "batch", description="`batch`: half the price, each batch within a day; `sync`: now"
    )
    base_url: str | None = Field(
        None,
        description="of another server that speaks the API; its captions need a `model` of their "
        "own name; `null`: OpenAI",
    )
    concurrency: int = Field(
        32,
        ge=1,
        description="`sync`: requests in flight at once; fewer after the server says so",
    )
    max_cost: float | None = Field(
        None,
        ge=0,
        description="never spend more on one table, all runs together [USD]; as `--max-cost`",
    )
    price: tuple[Price, Price] | None = Field(
        None,
        description="`[input, output]`: USD per million tokens, `sync`; `null`: as in "
        "`workflow/tacolab/stages/captions/chat/prices.csv`",
    )
    queued_tokens: int = Field(
        90_000,
        ge=1,
        description="`batch`: input tokens that the account may have in the queue at once (see its "
        "limits page)",
    )
    patience_minutes: float = Field(
        60.0,
        gt=0,
        description="minutes without one answer until the stage stops (exit code 75; the same "
        "command goes on). A batch that has not ended so long after its 24 h stops it, too",
    )


class Execution(Strict):
    """What changes no result and so is in no key."""

    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="`auto` (a GPU where there is one; a SLURM job that was given one fails "
        "without), `cpu`, `cuda`",
    )
    gpus: int = Field(
        1,
        ge=1,
        description="GPUs that train one model together, on one node; a divisor of "
        "`training.batch`, which is shared among them",
    )
    workers: int = Field(2, ge=0, description="processes that load training images, for each GPU")
    log_every: int = Field(100, ge=1, description="steps between two lines of `train.jsonl`")
    validate_every: int = Field(
        1, ge=1, description="epochs between two validations, which are only reported"
    )
    checkpoint_minutes: float = Field(20.0, gt=0, description="minutes between two checkpoints")
    margin_seconds: float | None = Field(
        120.0,
        ge=0,
        description="in a SLURM job: seconds before its time limit at which it saves (plus twice "
        "the slowest checkpoint); `null`: only on SLURM's signal",
    )
    lease_seconds: float = Field(
        120.0, gt=0, description="seconds without a sign of life until a trainer counts as dead"
    )
    api: Api = Field(Api(), description="how a chat model is asked")
