"""JSON of brackets within brackets, 100,000 deep: one line with the remedy, wherever it lies."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from tacolab.errors import UserError
from tacolab.files.intact import check
from tacolab.readers.packed import Packed
from tacolab.readers.picture_codec import PictureCodec
from tacolab.stages.captions.chat import order
from tacolab.stages.report.input_files import description
from tacolab.stages.token_weights import vocabulary
from tacolab.stages.token_weights.single import weigh
from tacolab.text.pretrained import pretrained

DEEP = '{"text": ' + "[" * 100_000


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("model.json", lambda folder: PictureCodec(folder / "model.safetensors")),
        ("key.json", lambda folder: weigh("a dog", folder / "model.safetensors", "key")),
        ("words.json", lambda folder: vocabulary.load(folder / "words.json")),
        ("manifest.json", Packed),
        ("codes.json", lambda folder: check(folder / "codes", folder / "codes.json", "remedy")),
        ("order.json", lambda folder: order.read(folder / "order.json")),
        ("own.json", lambda folder: description(folder / "own.json")),
        ("config.json", lambda folder: pretrained(AutoConfig, str(folder))),
    ],
)
def test_a_file_is_named(tmp_path: Path, name: str, read: Callable[[Path], Any]) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / name).write_text(DEEP)
    with pytest.raises(UserError) as caught:
        read(tmp_path)
    assert str(caught.value).isprintable() and str(tmp_path) in str(caught.value)
