"""How much of captions is read, counted on captions whose tokens are known."""

from pathlib import Path

import pytest

from clip_tokenizer import save_clip_tokenizer
from tacolab.config import ClipText
from tacolab.text import counts as tokencounts
from tacolab.text.tokens import tokenizer_of


@pytest.mark.parametrize(("windows", "read"), [(1, 10), (2, 20)])
def test_shares_of_tokens_and_captions_cut_off(windows: int, read: int, tmp_path: Path) -> None:
    folder = save_clip_tokenizer(tmp_path)
    config = ClipText(kind="clip", model=folder, max_tokens=12, windows=windows)
    counts = tokencounts.count(["dog " * n for n in (0, 5, 10, 25)], tokenizer_of(config))
    assert counts == {
        "captions": 4,
        "positions": 12 * windows,
        "mean_tokens": 10.0,
        "tokens_cut": (25 - read) / 40,
        "captions_cut": 0.25,
    }
    said = tokencounts.sentence(counts)
    assert f"reads {12 * windows} positions: {(25 - read) / 40:.1%} of the tokens" in said


def test_of_many_captions_an_even_sample_is_counted(tmp_path: Path) -> None:
    """Those of the second half have a token: so has every second of the sample."""
    folder = save_clip_tokenizer(tmp_path)
    tokenizer = tokenizer_of(ClipText(kind="clip", model=folder, max_tokens=12))
    seen: list[int] = []

    class Counting:
        positions = tokenizer.positions

        def __call__(self, captions: list[str]):  # type: ignore[no-untyped-def]
            seen.append(len(captions))
            return tokenizer(captions)

    captions = [""] * 10_000 + ["dog"] * 10_001
    counts = tokencounts.count(captions, Counting())  # type: ignore[arg-type]
    assert counts["captions"] == 20_001 and seen[0] <= 5_000
    assert counts["mean_tokens"] == pytest.approx(0.5, abs=1e-3)
    assert tokencounts.count([""], tokenizer)["tokens_cut"] == 0
