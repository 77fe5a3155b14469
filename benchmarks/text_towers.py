"""What the frozen text tower costs of a training step, and what a cache of its output would take.

    python benchmarks/text_towers.py

CPU seconds of one thread per sample, the published sizes with random weights. The baseline of each
share is the step without any text tower, in the same run.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import CLIPConfig, CLIPModel

from tacolab.codec import Taco
from tacolab.quality.perceptual import Lpips
from tacolab.stages.train.losses import Joint

SAMPLES = 414_113  # (image, caption) pairs of MS-COCO 2014 train
READERS = {"38 tokens": (1, 38), "77 tokens": (1, 77), "3 windows of 77": (3, 77)}


def seconds(work: Callable[[], Any], times: int = 3) -> float:
    """The least of several, after a first one that is not counted."""
    work()
    found = []
    for _ in range(times):
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return min(found)


def tower(clip: CLIPModel, windows: int, tokens: int) -> Callable[[], Any]:
    ids = torch.randint(0, 49_000, (windows, tokens))
    return torch.no_grad()(
        lambda: clip.text_model(input_ids=ids, attention_mask=torch.ones_like(ids))
    )


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    clip = CLIPModel(CLIPConfig()).requires_grad_(False).eval()
    codec, lpips, joint = Taco(), Lpips(), Joint(clip, 40.0)
    x, text = torch.rand(1, 3, 256, 256), torch.randn(1, 38, 512)
    ids, mask = torch.randint(0, 49_000, (1, 38)), torch.ones(1, 38, dtype=torch.long)

    def step() -> None:
        """Without a text tower: L_joint takes the hidden states as given."""
        out = codec(x, text)
        bits = torch.stack([-p.log2().sum() for p in out["likelihoods"].values()]).sum()
        loss = bits / 65536 + lpips(x, out["x_hat"], "published").mean()
        (loss + joint(x, out["x_hat"], ids, mask, hidden=text)).backward()

    whole = seconds(step)
    print(f"a step without text tower: {whole:.3f} s per sample")
    for name, (windows, tokens) in READERS.items():
        once = seconds(tower(clip, windows, tokens))
        cache = SAMPLES * windows * tokens * 512 * 2 / 1e9
        print(f"{name}: {once:.3f} s, {once / whole:.1%} of it; cached in float16: {cache:.0f} GB")


if __name__ == "__main__":
    main()
