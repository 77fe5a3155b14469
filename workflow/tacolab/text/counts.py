"""How much of its captions a text encoder reads: what is beyond its positions is cut off."""

from __future__ import annotations

from collections.abc import Sequence

from tacolab.text.tokens import Tokenizer

SAMPLE = 5_000  # captions: enough for two digits, and counted in seconds


def count(captions: Sequence[str], tokenizer: Tokenizer) -> dict[str, float]:
    """Of an even sample of the captions (at least one), as JSON.

    captions: how many there are. positions: what the encoder reads, begin, end and padding
    included. mean_tokens: of a whole caption, without begin and end. tokens_cut, captions_cut:
    the share of all these tokens, and of the captions, that is cut off.
    """
    sample = captions[:: -(-len(captions) // SAMPLE)]
    tokens = tokenizer(sample)
    cut = tokens.lengths - (tokens.spans[:, :, 0] >= 0).sum(1)
    return {
        "captions": len(captions),
        "positions": tokenizer.positions,
        "mean_tokens": round(float(tokens.lengths.mean()), 3),
        "tokens_cut": round(int(cut.sum()) / max(1, int(tokens.lengths.sum())), 6),
        "captions_cut": round(float((cut > 0).mean()), 6),
    }


def sentence(counts: dict[str, float]) -> str:
    """For a log."""
    return (
        f"{counts['captions']:,} captions of {counts['mean_tokens']:.1f} tokens; the text encoder "
        f"reads {counts['positions']} positions: {counts['tokens_cut']:.1%} of the tokens are cut "
        f"off, of {counts['captions_cut']:.1%} of the captions"
    )
