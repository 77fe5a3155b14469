"""Captions by a network on this machine that describes images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from tacolab.config import Study
from tacolab.keys import Artefact
from tacolab.packed import Packed


def captions(study: Study, artefact: Artefact, data: Packed) -> tuple[pa.Table, Mapping[str, Any]]:
    """The rows of the table, and facts for its summary."""
    raise NotImplementedError
