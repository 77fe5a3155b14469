"""Throughput of captions asked one by one, against a server with a known latency.

    python benchmarks/captions_throughput.py [--images 1200] [--latency 0.05] [--in-flight 64]

Asks for five captions of each photo (640 x 480 pixels) as `tacolab captions` does, with
tests/mock_openai.py in another process. Ideal: in-flight / latency. Beside it, what the parts take
of a core: encoding an image for a fifth of its requests, the whole client, the server.
"""

import argparse
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

from tacolab import config
from tacolab.plan import Plan
from tacolab.readers.packed import Packed
from tacolab.stages import data
from tacolab.stages.captions.chat import captions as chat
from tacolab.stages.captions.chat import prices
from tacolab.stages.captions.chat.question import data_url

ROOT = Path(__file__).parents[1]
PER_IMAGE = 5


def study(url: str, in_flight: int, count: int) -> Plan:
    """A data set of `count` different photos in this folder."""
    photo = load_sample_image("china.jpg")
    photo = np.pad(photo, ((0, 53), (0, 0), (0, 0)), mode="reflect")[:480, :640]
    Path("data/images").mkdir(parents=True)
    names = [f"{n:05}.jpg" for n in range(count)]
    for n, name in enumerate(names):
        Image.fromarray(np.roll(photo, (n // 640, n % 640), (0, 1))).save(
            f"data/images/{name}", quality=90
        )
    Path("data/list.json").write_text(json.dumps(names))
    content = {
        "title": "benchmark",
        "lambdas": ["0.01"],
        "datasets": {
            "set": {"kind": "folder", "images": "images", "list": "list.json", "min_side": 256}
        },
        "captions": {"gpt": {"kind": "gpt4o", "model": "mock", "per_image": {"set": PER_IMAGE}}},
        "encoders": {"text": {"kind": "clip"}},
        "training": {"dataset": "set"},
        "arms": {"taco": {"text": "text", "captions": "gpt"}},
        "protocol": {"baseline": "taco", "datasets": {"set": {}}},
        "execution": {"api": {"mode": "sync", "base_url": url, "concurrency": in_flight}},
    }
    plan = Plan(config.validate(content, "benchmark"))
    data.run(plan, plan.find("data", dataset="set"))
    return plan


def cpu() -> float:
    return sum(resource.getrusage(resource.RUSAGE_SELF)[:2])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=1200)
    parser.add_argument("--latency", type=float, default=0.05)
    parser.add_argument("--in-flight", type=int, default=64)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    os.environ["OPENAI_API_KEY"] = "mock"
    command = [sys.executable, str(ROOT / "tests/mock_openai.py"), "--port", "0", "--plain"]
    command += ["--latency", str(options.latency)]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,
    ):
        os.chdir(folder)
        assert server.stdout
        url = server.stdout.readline().split("base_url: ")[1].strip("}\n")
        plan = study(url, options.in_flight, options.images)
        artefact = plan.find("captions", source="gpt")
        packed = Packed(artefact.inputs["data"].folder)
        started = cpu()
        for i in range(50):
            data_url(packed.picture(i % len(packed)), 512)
        encoding = (cpu() - started) / 50 / PER_IMAGE

        known = prices.answers(plan.study, artefact, packed)
        started, began = cpu(), time.perf_counter()
        chat.ask(plan.study.execution.api, artefact, packed, known, attempts=1, blame_images=False)
        seconds, used = time.perf_counter() - began, cpu() - started
        count = known.done
        with Path(f"/proc/{server.pid}/stat").open() as file:
            ticks = sum(int(field) for field in file.read().rpartition(")")[2].split()[11:13])
        server.kill()
        os.chdir(ROOT)
    serving = ticks / os.sysconf("SC_CLK_TCK") / count
    rate, ideal = count / seconds, options.in_flight / options.latency
    print(f"{count} captions in {seconds:.1f} s: {rate:.0f}/s, {rate / ideal:.0%} of {ideal:.0f}/s")
    print(f"of a core, per caption: client {1e3 * used / count:.2f} ms (encoding "
          f"{1e3 * encoding:.2f}), server {1e3 * serving:.2f} ms; "
          f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}")  # fmt: skip


if __name__ == "__main__":
    main()
