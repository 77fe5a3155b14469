"""Whatever lines sinfo prints of partitions, nodes and GPUs."""

import os
from pathlib import Path

import pytest

from tacolab.cluster import slurm
from tacolab.cluster.slurm import Partition
from tacolab.errors import UserError


@pytest.fixture
def sinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of that name; empty."""
    path = tmp_path / "sinfo"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    prints(path, "")
    return path


def prints(path: Path, lines: str, code: int = 0) -> None:
    path.write_text(f"#!/bin/sh\ncat <<'EOF'\n{lines}\nEOF\nexit {code}\n")
    path.chmod(0o755)


def test_partitions(sinfo: Path) -> None:
    lines = """
        gpu 2-00:00:00 192000
        gpu 2-00:00:00 384000+
        cpu* infinite 64000
        debug 30:00 1000
        new n/a N/A
        the site's wrapper says hello
        """
    prints(sinfo, lines)
    assert slurm.partitions() == {
        "gpu": Partition(172800, 384000),
        "cpu": Partition(None, 64000),
        "debug": Partition(1800, 1000),
        "new": Partition(None, 0),
    }


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("gpu:v100:2(S:0-1)", [("v100", 2)]),
        ("gpu:a100:4(S:0,2),gpu:k80:1,lustre:1", [("a100", 4), ("k80", 1)]),
        ("gpu:3090:2", [("3090", 2)]),
        ("gpu:2", [("", 2)]),
        ("gpu", [("", 1)]),
        ("gpu:v100:no_consume:4", [("v100", 4)]),
        ("gpu:1g.5gb:7", [("1g.5gb", 7)]),
        ("craynetwork:4,shard:gpu:8,mygpu:3", []),
        ("(null)", []),
    ],
)
def test_gpus_of_a_node(sinfo: Path, gres: str, gpus: list[tuple[str, int]]) -> None:
    prints(sinfo, f"{gres}\n(null)\n{gres}")
    assert slurm.gpus("gpu") == gpus


@pytest.mark.parametrize(
    ("lines", "states"),
    [
        ("up idle\nup down*", ""),
        ("up idle~", ""),  # switched off until a job wants it
        ("up alloc*\nup drain", ""),
        ("up mix$", ""),  # a maintenance is planned
        ("up down*\nup drain$\nup drng", "down, drain, drng"),
        ("inact idle", "inact"),
        ("up n/a", "n/a"),
        ("", ""),
    ],
)
def test_a_partition_none_of_whose_nodes_starts_jobs(sinfo: Path, lines: str, states: str) -> None:
    prints(sinfo, lines)
    assert slurm.all_away("gpu") == states


def test_no_answer_is_never_taken_for_no_gpus(sinfo: Path) -> None:
    prints(sinfo, "", code=1)
    for ask in (slurm.partitions, lambda: slurm.gpus("gpu"), lambda: slurm.all_away("gpu")):
        with pytest.raises(UserError, match=r"sinfo: .* cannot be reached"):
            ask()
