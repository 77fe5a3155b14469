"""A byte-pair tokenizer of CLIP's class with few merges, so that words fall into pieces."""

from collections.abc import Sequence
from pathlib import Path

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

BEGIN, END = "<|startoftext|>", "<|endoftext|>"
MERGES = ["t h", "th e</w>", "d o", "do g</w>", "r e", "re d</w>", "a n", "i n", "in g</w>"]


def save_clip_tokenizer(folder: Path, merges: Sequence[str] = MERGES) -> str:
    """Its files in `folder`, as the hub has them; gives the folder's name for a config."""
    letters = sorted(ByteLevel.alphabet())
    pieces = [*letters, *(f"{c}</w>" for c in letters), *(m.replace(" ", "") for m in merges)]
    vocab = {piece: i for i, piece in enumerate([*dict.fromkeys(pieces), BEGIN, END])}
    pairs = [tuple(merge.split()) for merge in merges]
    CLIPTokenizer(vocab=vocab, merges=pairs).save_pretrained(folder)
    return str(folder)
