"""Orders: batches on their way, and their files in `batches/` beside the answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from tacolab.errors import UserError
from tacolab.files import atomic
from tacolab.files.texts import loads
from tacolab.stages.captions.chat.question import Request


class State(StrEnum):
    """How far an order is. Its file says so before and after each step: what a step that was cut
    may have left at the server is looked for there, and nothing is ordered twice."""

    PREPARED = "prepared"  # its requests are a file here, which the server may have got
    UPLOADED = "uploaded"  # the server has that file
    CREATING = "creating"  # the server may have a batch of it, whose id nobody knows
    CREATED = "created"  # the server works on the batch, or has ended it


@dataclass(frozen=True)
class Order:
    """A batch on its way. tokens: of its input. max_tokens: of an answer. file: at the server, from
    UPLOADED on. batch: its id there, when it is CREATED."""

    name: str
    server: str
    tokens: int
    max_tokens: int
    requests: list[Request]
    state: State = State.PREPARED
    file: str | None = None
    batch: str | None = None


def read(path: Path) -> Order:
    """Raises UserError for a file that is no order."""
    try:
        content = loads(path.read_text(encoding="utf-8"))
        content["requests"] = [(image, index) for image, index in content["requests"]]
        content["state"] = State(content.get("state") or _state(content))
        content.pop("creating", None)
        return Order(**content)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"{path}: damaged; the server may hold answers to a batch of this name. Remove the "
            "file to ask (and pay) again"
        ) from None


def _state(content: dict[str, Any]) -> State:
    """As a version said it that had no word for it: what it has ordered is paid for, too."""
    if content["batch"]:
        return State.CREATED
    if content["creating"]:
        return State.CREATING
    return State.UPLOADED if content["file"] else State.PREPARED


class Orders:
    """Those of a question, for this table and for others. Only who holds the lease has them."""

    def __init__(self, folder: Path) -> None:
        """Raises UserError for a damaged one."""
        self.folder = folder
        found = [read(path) for path in sorted(folder.glob("tacolab-*.json"))]
        self._known = {order.name: order for order in found}

    def __iter__(self) -> Iterator[Order]:
        """Of a copy: they may change meanwhile."""
        return iter([*self._known.values()])

    def __len__(self) -> int:
        return len(self._known)

    @property
    def tokens(self) -> int:
        """That wait in the queue of the account."""
        return sum(order.tokens for order in self)

    def note(self, order: Order) -> Order:
        """Let the disk hold how far it is."""
        atomic.write_json(self.file(order), asdict(order))
        self._known[order.name] = order
        return order

    def forget(self, order: Order) -> None:
        self.file(order).unlink()
        del self._known[order.name]

    def sweep(self) -> None:
        """Remove what was killed while it was written."""
        known = {self.requests(order.name) for order in self}
        for path in {*self.folder.glob("*.jsonl"), *self.folder.glob(".*.tmp.*")} - known:
            path.unlink()

    def file(self, order: Order) -> Path:
        return self.folder / f"{order.name}.json"

    def requests(self, name: str) -> Path:
        """What is uploaded, until the server has it."""
        return self.folder / f"{name}.jsonl"

    def remedy(self, order: Order) -> str:
        return f"Remove {self.file(order)} to ask (and pay) again for what is missing"
