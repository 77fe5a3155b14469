"""The OFA captioner: weights and tokenizer in the authors' layout, images to captions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor

from tacolab.config import Ofa
from tacolab.errors import UserError
from tacolab.files import torch_files
from tacolab.files.texts import loads
from tacolab.stages.captions.network.ofa_network import BOS, EOS, PAD, REBUILT, OfaNetwork, Shape
from tacolab.stages.captions.network.ofa_search import beam_search

PROMPT = " what does the image describe?"
SIDE = 480  # pixels
FILES = ("config.json", "pytorch_model.bin", "vocab.json", "merges.txt")
CODES, BINS = 8192, 1000  # tokens for pieces of images and for coordinates
TIED = (
    "encoder.embed_tokens.weight",
    "decoder.embed_tokens.weight",
    "decoder.output_projection.weight",
)


class OfaCaptioner:
    """Describes images; one caption each, the best of a beam search."""

    prompt = PROMPT

    def __init__(self, folder: Path, source: Ofa, device: torch.device) -> None:
        """folder: the authors' files. Raises UserError where they are missing or of no OFA."""
        for name in FILES:
            if not (folder / name).is_file():
                raise UserError(
                    f"{folder / name}: is missing; OFA's authors give {', '.join(FILES)} "
                    "(other layouts, like that of ofa-base-caption, cannot be read)"
                )
        config = folder / "config.json"
        try:
            shape = Shape.read(loads(config.read_text(encoding="utf-8")))
        except KeyError as error:
            raise UserError(
                f"{config}: no OFA: {error} is missing; give {FILES[0]} of OFA"
            ) from None
        except (ValueError, TypeError) as error:
            raise UserError(f"{config}: no OFA that can be computed: {error}") from None
        self._tokenizer = tokenizer(folder, shape.vocabulary)
        self._network = load(folder / "pytorch_model.bin", shape).to(device)
        self._device = device
        self._beam, self._max_tokens = source.beam, source.max_tokens

    @torch.no_grad()
    def __call__(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[str]:
        """images: uint8, height x width x 3 each, any size."""
        pixels = torch.stack([prepare(image) for image in images]).to(self._device)
        ids = [BOS, *self._tokenizer.encode(PROMPT).ids, EOS]
        question = torch.tensor(ids, device=self._device).expand(len(images), -1)
        memory = self._network.encode(pixels, question)
        found = beam_search(self._network, memory, self._beam, self._max_tokens)
        return [self._text(hypotheses[0].tokens) for hypotheses in found]

    def _text(self, tokens: Sequence[int]) -> str:
        words = [token for token in tokens if token not in (BOS, PAD, EOS)]
        text: str = self._tokenizer.decode(words)
        return text.strip()


def prepare(image: npt.NDArray[np.uint8]) -> Tensor:
    """uint8, height x width x 3 -> 3 x 480 x 480 in -1 ... 1; stretched, not cropped."""
    resized = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1) / 127.5 - 1


def tokenizer(folder: Path, count: int) -> Tokenizer:
    """BART's byte-pair tokenizer with OFA's further tokens; `count` of them in all."""
    vocabulary = folder / "vocab.json"
    try:
        pairs = models.BPE.from_file(str(vocabulary), str(folder / "merges.txt"))
    except Exception as error:  # the library raises plain exceptions
        raise UserError(f"{vocabulary}: no byte-pair vocabulary ({error})") from None
    found = Tokenizer(pairs)
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    marks = [found.token_to_id(mark) for mark in ("<s>", "<pad>", "</s>")]
    if marks != [BOS, PAD, EOS]:
        raise UserError(f"{vocabulary}: <s>, <pad>, </s> are {marks}, not {[BOS, PAD, EOS]}")
    found.add_tokens([f"<code_{i}>" for i in range(CODES)])
    found.add_tokens([f"<bin_{i}>" for i in range(BINS)])
    if found.get_vocab_size() != count:
        raise UserError(
            f"{vocabulary}: with <code_*> and <bin_*> it has {found.get_vocab_size()} tokens, "
            f"{folder / 'config.json'} says {count}; take both from one model"
        )
    return found


def load(path: Path, shape: Shape) -> OfaNetwork:
    """The network with the weights of a file, ready to describe.

    Raises UserError when weights are missing, left over or of another shape. Tables of indices
    in the file are not read: they are computed.
    """
    remedy = "give pytorch_model.bin as OFA's authors have it (ofa-base-caption has another layout)"
    with path.open("rb") as file:
        content = torch_files.read(file, path)
    with torch.device("meta"):
        network = OfaNetwork(shape)
    weights = {}
    if isinstance(content, dict):
        weights = {k: v for k, v in content.items() if k not in REBUILT and torch.is_tensor(v)}
    shared = [weights[name] for name in TIED if name in weights]
    if any(not torch.equal(shared[0], other) for other in shared[1:]):
        raise UserError(f"{path}: {' and '.join(TIED[1:])} differ, which OFA has not; {remedy}")
    weights |= dict.fromkeys(TIED, shared[0]) if shared else {}
    wanted = network.state_dict()
    counters = {name: torch.tensor(0) for name in wanted if name.endswith("num_batches_tracked")}
    weights = counters | weights
    lacking = [name for name in wanted if name not in weights]
    foreign = [name for name in weights if name not in wanted]
    misfits = [n for n in wanted if n in weights and wanted[n].shape != weights[n].shape]
    for what, names in {"lacks": lacking, "misfits": misfits, "has foreign": foreign}.items():
        if names:
            raise UserError(
                f"{path}: {what} {len(names)} of {len(wanted)} weights, first {names[0]}; {remedy}"
            )
    network.load_state_dict(weights, assign=True)
    network.tie()
    return network.float().eval().requires_grad_(False)
