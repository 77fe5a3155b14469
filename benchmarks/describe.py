"""Seconds per image of OFA with random weights: 480x480 pixels, beam 5, 16 tokens.

    python benchmarks/describe.py tiny large --threads 2

Random weights take as long as trained ones, but for captions that trained ones end early. The
baseline is a batch of one. CPU seconds say what a machine does that others use, too.
"""

import argparse
import time

import torch

from tacolab.stages.captions.network.describe import BATCH
from tacolab.stages.captions.network.ofa import SIDE
from tacolab.stages.captions.network.ofa_network import OfaNetwork, Shape
from tacolab.stages.captions.network.ofa_search import beam_search

VOCABULARY = 59_457
SHAPES = {
    "tiny": Shape(VOCABULARY, 256, (4, 4), (4, 4), (1024, 1024), "resnet50"),
    "large": Shape(VOCABULARY, 1024, (12, 12), (16, 16), (4096, 4096), "resnet152"),
}


@torch.no_grad()
def seconds(network: OfaNetwork, device: torch.device, batch: int) -> tuple[float, float]:
    """Wall and CPU seconds per image."""
    images = torch.rand(batch, 3, SIDE, SIDE, device=device) * 2 - 1
    question = torch.tensor([0, 99, 473, 5, 2274, 6190, 116, 2], device=device).expand(batch, -1)
    wall, cpu = time.perf_counter(), time.process_time()
    # Reads the captions back, and so waits for the GPU.
    beam_search(network, network.encode(images, question), beam=5, max_tokens=16)
    return (time.perf_counter() - wall) / batch, (time.process_time() - cpu) / batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="+", choices=SHAPES)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    print(f"{options.device}, {options.threads} threads, random weights")
    for size in options.sizes:
        torch.manual_seed(0)
        network = OfaNetwork(SHAPES[size]).to(device).eval()
        seconds(network, device, 1)  # warm up
        one, one_cpu = seconds(network, device, 1)
        many, many_cpu = seconds(network, device, BATCH)
        print(
            f"{size}: {many:.2f} s per image (CPU {many_cpu:.2f} s) in batches of {BATCH}; "
            f"alone {one:.2f} s (CPU {one_cpu:.2f} s); ratio {one / many:.2f}"
        )


if __name__ == "__main__":
    main()
