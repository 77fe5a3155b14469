"""Whose fault is a refusal, the image's or the config's?

A server refuses an image with HTTP 400. But proxies say no more of a wrong key, a model that they
do not know or a budget that is used up, and then they refuse every image. An image is at fault
where a request that was sent *after* its own was taken. Until then nothing is held against it.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict

from tacolab.errors import StageError
from tacolab.stages.captions.chat.client import KEY
from tacolab.stages.captions.chat.question import Request

SEVERAL = 5  # images, refused in the same words with none taken after: it is the config


class Doubts:
    """The refusals of a run that are not explained yet."""

    def __init__(self, blame_images: bool) -> None:
        """blame_images: a person says that the config is right."""
        self._blame_images = blame_images
        self._refused: dict[Request, tuple[int, str]] = {}
        self._numbers = itertools.count(1)
        self._taken = 0

    def send(self) -> int:
        """A number for the next request."""
        return next(self._numbers)

    def refused(self, request: Request, sent: int, reason: str) -> None:
        self._refused[request] = sent, reason

    def taken(self, sent: int) -> None:
        """This request brought an answer of the model, whatever it says."""
        self._taken = max(self._taken, sent)

    def explained(self) -> list[tuple[Request, str]]:
        """Take out the refusals that the images are to blame for, with their reasons."""
        found = [
            (request, reason)
            for request, (sent, reason) in self._refused.items()
            if sent < self._taken or self._blame_images
        ]
        for request, _ in found:
            del self._refused[request]
        return found

    @property
    def suspicion(self) -> str:
        """Against the config, in words; empty without one."""
        images: defaultdict[str, set[str]] = defaultdict(set)
        for (image, _), (_, reason) in self._refused.items():
            words = re.sub(r"\S*\d\S*", "#", reason)  # names of requests change
            images[words].add(image)
            if len(images[words]) == SEVERAL:
                return _accuse(reason)
        return ""

    def rest(self) -> list[tuple[Request, str]]:
        """Take out what is left at the end of a run that the server has served until now.

        Raises StageError where that is not so, and the config may be wrong.
        """
        if self._refused and (not self._taken or self.suspicion):
            raise StageError(self.suspicion or _accuse(next(iter(self._refused.values()))[1]))
        left = [(request, reason) for request, (_, reason) in self._refused.items()]
        self._refused.clear()
        return left


def _accuse(reason: str) -> str:
    return (
        f"the server refuses these requests: {reason}; nothing is held against the images. Check "
        f"{KEY}, the model, execution.api.base_url and the account's budget; the same command goes "
        "on. If all are right, run it once with --blame-images"
    )
