"""The table of token weights: whole, the same by any number of processes, read without torch."""

import json
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_weighting import MINILM, TEST, TRAINING, write_captions

from running import run_stage
from tacolab.config import TokenWeights
from tacolab.errors import UserError
from tacolab.plan import Artefact, Plan
from tacolab.readers.token_weight_table import WeightTable
from tacolab.stages.token_weights import table, vocabulary
from tacolab.stages.token_weights.salience import Weigher

TACOLAB = Path(sys.executable).with_name("tacolab")
Made = Callable[..., Artefact]


def test_the_table_holds_a_weight_per_token_that_the_encoder_reads(made: Made) -> None:
    artefact = made()
    idf = vocabulary.load(artefact.inputs["vocabulary"].path)
    weigher = Weigher(TokenWeights(), MINILM, idf)
    read = WeightTable(artefact.path)
    assert (read.ids, len(read), read.positions) == (list(TEST), 3, 16)
    for image_id, captions in TEST.items():
        found = read.for_image(image_id)
        assert found.dtype == np.float16
        np.testing.assert_array_equal(found, weigher(captions).weights)
    # A zebra on a red sofa with a dog: no zebra in training; red, sofa and dog by 1.69, 1.69, 1.
    assert read.for_image("three.jpg").tolist() == [
        [1, 1, 1.5, 1, 1, 1, 1.5, 1, 1, 1.5, 1, 1, 0, 0, 0, 0],
        [1, 1] + [0] * 14,
    ]


def test_the_summary_says_what_the_encoder_does_not_see(study: Callable[..., Plan]) -> None:
    plan = study(tfidf=False, entities=False)
    artefact = plan.find("token_weights", dataset="testset")
    assert set(artefact.inputs) == {"captions"}
    # 3 of 17 tokens are cut off; one word is salient.
    write_captions(artefact.inputs["captions"], {"a.jpg": ["dog" + " the" * 16, "", ""]})
    run_stage(plan, artefact, 1)
    summary = json.loads(artefact.files[1].read_text())
    assert summary["text"] == artefact.ingredients and summary["provenance"]["spacy"]
    assert (summary["captions"], summary["positions"]) == (3, 16)
    assert summary["mean_tokens"] == pytest.approx(17 / 3, abs=1e-3)
    assert summary["captions_cut"] == pytest.approx(1 / 3, abs=1e-6)
    assert summary["tokens_cut"] == pytest.approx(3 / 17, abs=1e-6)
    assert summary["salient"] == pytest.approx(1 / 14, abs=1e-6)


@pytest.mark.slow
def test_the_number_of_processes_changes_no_byte(
    study: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = study(tfidf=False)
    artefact = plan.find("token_weights", dataset="testset")
    monkeypatch.setattr(table, "CHUNK", 50)
    captions = {f"{n}.jpg": [f"{text} {n}"] for n in range(70) for text in TRAINING["two.jpg"][:1]}
    captions |= {f"{n}-.jpg": [f"The dog {n} of Paris", ""] for n in range(20)}
    write_captions(artefact.inputs["captions"], captions)
    run_stage(plan, artefact, 2)
    first = artefact.path.read_bytes()
    artefact.path.unlink()
    run_stage(plan, artefact, 1)
    assert artefact.path.read_bytes() == first
    assert len(WeightTable(artefact.path)) == 110
    assert pq.ParquetFile(artefact.path).metadata.row_group(0).column(2).compression == "ZSTD"


@pytest.mark.slow
def test_killed_it_leaves_no_table_and_no_process(study: Callable[..., Plan]) -> None:
    plan = study(tfidf=False)
    artefact = plan.find("token_weights", dataset="testset")
    write_captions(artefact.inputs["captions"], {f"{n}.jpg": ["a dog"] for n in range(30_000)})
    process = subprocess.Popen(
        [
            TACOLAB,
            "token-weights",
            "testset",
            "human",
            *("--config", "study.yaml"),
            *("--threads", "2"),
        ]
    )
    try:
        while not list(artefact.folder.glob(".*.parquet")):  # begun to write
            assert process.poll() is None
            time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        workers = [pid for pid in children if "LokyProcess" in command(pid)]
        assert len(workers) == 2
    finally:
        process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    assert not any(path.exists() for path in artefact.files)
    end = time.monotonic() + 60
    while any("LokyProcess" in command(pid) for pid in workers):
        assert time.monotonic() < end
        time.sleep(0.2)


def command(pid: str) -> str:
    """Empty for a process that has ended."""
    path = Path(f"/proc/{pid}/cmdline")
    return path.read_text() if path.exists() else ""


def test_a_missing_or_damaged_table_is_named(made: Made) -> None:
    path = made(tfidf=False).path
    table = WeightTable(path)
    assert len(pickle.dumps(table)) < 300
    assert pickle.loads(pickle.dumps(table)).for_image("four.jpg").shape == (1, 16)
    with pytest.raises(UserError, match=r"no caption for image nobody\.png"):
        table.for_image("nobody.png")
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(UserError, match=r"damaged .*`tacolab token-weights testset human`"):
        WeightTable(path)
    path.write_bytes(next(Path("results/captions/testset/human").iterdir()).read_bytes())
    with pytest.raises(UserError, match=r"damaged \(no column weights\); remove it"):
        WeightTable(path)
    path.unlink()
    with pytest.raises(UserError, match=r"no token weights; .*`tacolab token-weights testset"):
        WeightTable(path)


def test_reading_needs_neither_torch_nor_spacy(made: Made) -> None:
    path = made(tfidf=False).path
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from tacolab.readers.token_weight_table import WeightTable\n"
        f"assert WeightTable(Path({str(path)!r})).positions == 16\n"
        "assert not {'torch', 'spacy', 'transformers', 'pandas'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_error_in_a_process_is_the_same_line(study: Callable[..., Plan]) -> None:
    plan = study(spacy="en_none", tfidf=False)
    artefact = plan.find("token_weights", dataset="testset")
    write_captions(artefact.inputs["captions"], {f"{n}.jpg": ["a dog"] for n in range(2000)})
    with pytest.raises(UserError, match=r"weights\.spacy: the model 'en_none' is not installed"):
        run_stage(plan, artefact, 2)
    assert not list(artefact.folder.glob("*"))
