"""How soon a run asks its first question when nearly all of MS-COCO is answered, and its memory.

    python benchmarks/captions_resume.py [--images 82783] [--answered 400000]

Five captions of some 150 tokens for each image. `tacolab captions` is started as a process: time
until its first request arrives at tests/mock_openai.py, and, with every answer there, time and peak
memory until the table is written; CPU time, too, for a machine that does other work. Images are
small, since their size is no part of this.
"""

import argparse
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from mock_openai import DETAILS, serving  # noqa: E402
from tacolab import config  # noqa: E402
from tacolab.plan import Artefact, Plan  # noqa: E402
from tacolab.stages.captions.chat.question import Question  # noqa: E402
from tacolab.stages.data.pack import FEATURES  # noqa: E402

PER_IMAGE = 5
TEXT = " ".join([*DETAILS, *DETAILS])[:750]


def study(url: str) -> Plan:
    content: dict[str, Any] = {
        "title": "benchmark",
        "lambdas": ["0.01"],
        "datasets": {
            "set": {"kind": "folder", "images": "images", "list": "list.json", "min_side": 256}
        },
        "captions": {"gpt": {"kind": "gpt4o", "per_image": {"set": PER_IMAGE}}},
        "encoders": {"text": {"kind": "clip"}},
        "training": {"dataset": "set"},
        "arms": {"taco": {"text": "text", "captions": "gpt"}},
        "protocol": {"baseline": "taco", "datasets": {"set": {}}},
        "execution": {"api": {"mode": "sync", "base_url": url}},
    }
    Path("study.yaml").write_text(yaml.safe_dump(content))
    return Plan(config.validate(content, "benchmark"))


def digest(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def pack(data: Artefact, count: int) -> None:
    """A packed data set, written as `tacolab data` would."""
    data.folder.mkdir(parents=True)
    buffer = io.BytesIO()
    Image.new("RGB", (256, 256)).save(buffer, "JPEG")
    rows = {
        "image_id": [f"COCO_train2014_{n:012}.jpg" for n in range(count)],
        "image": [buffer.getvalue()] * count,
        "width": [256] * count,
        "height": [256] * count,
        "sha256": [digest(n) for n in range(count)],
        "captions": [[]] * count,
    }
    table = pa.table(rows, schema=FEATURES.arrow_schema)
    with pa.ipc.new_stream(str(data.folder / "data.arrow"), table.schema) as stream:
        stream.write_table(table, max_chunksize=16)
    state = {"_data_files": [{"filename": "data.arrow"}]}
    (data.folder / "state.json").write_text(json.dumps(state))
    data.path.write_text(json.dumps({"count": count}))


def answer(folder: Path, first: int, last: int) -> None:
    """Stored answers, as a run would leave them."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{first}.jsonl").open("w") as file:
        for number in range(first, last):
            line = {
                "image": digest(number // PER_IMAGE),
                "index": number % PER_IMAGE,
                "mode": "batch",
                "server": "https://api.openai.com/v1",
                "outcome": "stop",
                "text": f"{number} {TEXT}",
                "model": "gpt-4o-2024-11-20",
                "created": 1_760_000_000 + number,
                "prompt_tokens": 115,
                "completion_tokens": 150,
                "id": f"chatcmpl-{number:024}",
            }
            file.write(json.dumps(line) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=82_783)
    parser.add_argument("--answered", type=int, default=400_000)
    options = parser.parse_args()
    command = [str(Path(sys.executable).with_name("tacolab")), "captions", "set", "gpt"]
    command += ["-c", "study.yaml"]
    environment = os.environ | {"OPENAI_API_KEY": "mock"}
    with tempfile.TemporaryDirectory() as folder, serving() as (mock, url):
        os.chdir(folder)
        plan = study(url)
        table = plan.find("captions", source="gpt")
        pack(table.inputs["data"], options.images)
        answers = Path("data/answers") / Question.of(table.spec).name
        total, step = options.images * PER_IMAGE, 20_000
        for first in range(0, options.answered, step):
            answer(answers, first, min(first + step, options.answered))
        n_bytes = sum(path.stat().st_size for path in answers.iterdir())

        arrived: list[float] = []
        mock.before["POST /chat/completions"] = lambda: arrived.append(time.perf_counter())
        began = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        while not arrived:
            time.sleep(0.01)
        peak, cpu = _peak(process.pid), _cpu(process.pid)
        process.kill()
        process.wait()
        print(f"{options.answered:,} of {total:,} answers, {n_bytes / 1e6:.0f} MB: first request")
        print(f"  {arrived[0] - began:.1f} s, {cpu:.1f} s of CPU, {peak / 2**20:.0f} MiB")

        answer(answers, options.answered, total)
        began = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        peak, cpu = 0, 0.0
        while process.poll() is None:
            peak, cpu = max(peak, _peak(process.pid)), max(cpu, _cpu(process.pid))
            time.sleep(0.02)
        seconds = time.perf_counter() - began
        size = table.path.stat().st_size
        print(f"table of {total:,} captions, {size / 1e6:.0f} MB")
        print(f"  {seconds:.1f} s, {cpu:.1f} s of CPU, {peak / 2**20:.0f} MiB")
        print(f"load {os.getloadavg()[0]:.1f}")
        os.chdir(ROOT)


def _peak(pid: int) -> int:
    """Largest resident memory so far [bytes]; 0 when the process has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = [line for line in text.splitlines() if line.startswith("VmHWM")]
    return 1024 * int(lines[0].split()[1]) if lines else 0


def _cpu(pid: int) -> float:
    """Seconds of CPU so far; 0 when the process has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
