"""A file that one machine wrote is read by all others, and what is written is the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from codec.golden_latents import latents, network
from tacolab.codec import Elic
from tacolab.codec.latent_codec import LatentCodec
from tacolab.codec.pixels import to_tensor

KODAK = Path(__file__).parents[3].parent / "shared" / "data" / "kodak"
PICTURES = ("kodim05.png", "kodim08.png", "kodim13.png")  # the busiest
GOLDEN = Path(__file__).with_name("golden_streams.json")
SCRIPT = Path(__file__).with_name("elsewhere.py")

# Instruction sets, libraries and their versions of algorithms, threads, what is computed together.
MACHINES: dict[str, tuple[dict[str, str], list[str]]] = {
    "one thread": ({}, ["--threads=1", "--batch=3"]),
    "AVX2": (
        {
            "ATEN_CPU_CAPABILITY": "avx2",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        },
        ["--threads=3", "--batch=2"],
    ),
    "no vectors": (
        {
            "ATEN_CPU_CAPABILITY": "default",
            "ONEDNN_MAX_CPU_ISA": "SSE41",
            "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        },
        ["--batch=3"],
    ),
    "without oneDNN": ({}, ["--without-onednn", "--batch=2"]),
}


def process(folder: Path, options: list[str], **environment: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder), *options],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.skipif(not KODAK.is_dir(), reason=f"no Kodak pictures at {KODAK}")
def test_the_published_network_codes_alike_on_every_machine(
    filled: Callable[[Elic], Elic], tmp_path: Path
) -> None:
    """In floats, half of such files were lost under another instruction set."""
    elic = filled(Elic()).eval()
    weights = elic.exported()  # once: torch's own random numbers differ between machines
    used = {name: weight for name, weight in weights.items() if not name.startswith(("g_", "h_a"))}
    save_file(used, tmp_path / "network.safetensors")
    pictures = [to_tensor(np.asarray(Image.open(KODAK / name))) for name in PICTURES]
    latents = [elic.latents(elic.features(picture)) for picture in pictures]
    y, z = (torch.cat(part).contiguous() for part in zip(*latents, strict=True))
    save_file({"y": y, "z": z}, tmp_path / "latents.safetensors")
    here = process(tmp_path, ["--write"])
    assert here["encoded"] == here["decoded"] and len(set(here["encoded"])) == len(PICTURES)
    floats = {here.pop("floats")}
    for name, (environment, options) in MACHINES.items():
        there = process(tmp_path, options, **environment)
        floats.add(there.pop("floats"))
        assert there == here, name
    assert len(floats) > 1  # these settings do change what is computed


def test_the_golden_streams_are_decoded_and_written_again_here() -> None:
    """Made once, of a network that is defined by integers alone; also on a processor of another
    kind (docs/performance.md)."""
    golden = json.loads(GOLDEN.read_text())
    codec = LatentCodec(network())
    strings = [[[bytes.fromhex(s["y"])], [bytes.fromhex(s["z"])]] for s in golden["strings"]]
    y_hat, checksums = codec.decode(strings, golden["shape"])
    assert checksums == golden["checksums"]
    units = (y_hat.double() * 2**12).round().long()
    assert [int(one.sum()) for one in units] == golden["sums"]
    coded = codec.encode(*latents())
    assert [[[y], [z]] for y, z in zip(coded.y_strings, coded.z_strings, strict=True)] == strings
