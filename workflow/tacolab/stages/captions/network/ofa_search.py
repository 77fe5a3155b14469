"""Beam search for OFA's captions, as its authors have it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tacolab.stages.captions.network.ofa_layers import KeyValue
from tacolab.stages.captions.network.ofa_network import BOS, EOS, PAD, Memory, OfaNetwork

NGRAM = 3  # no run of so many tokens stands twice in a caption


@dataclass(frozen=True)
class Hypothesis:
    """A finished caption: tokens without BOS, with EOS; mean log-probability per token."""

    tokens: tuple[int, ...]
    score: float


@torch.no_grad()
def beam_search(
    network: OfaNetwork, memory: Memory, beam: int, max_tokens: int
) -> list[list[Hypothesis]]:
    """At most `beam` captions for each image in `memory`, the best first.

    A caption has 1 to `max_tokens` tokens and EOS. Of the 2 x beam best continuations of an
    image's captions, EOS ends one only among the first `beam`; the best that go on are kept. An
    image is done with `beam` captions.
    """
    images = len(memory.padding)
    device = memory.padding.device
    captions = torch.full((images * beam, 1), BOS, device=device)
    # All captions of an image begin alike: only the first counts in the first step.
    scores = torch.full((images, beam), -torch.inf, device=device)
    scores[:, 0] = 0
    past: list[KeyValue] | None = None
    finished: list[list[Hypothesis]] = [[] for _ in range(images)]
    first_rows = torch.arange(images, device=device)[:, None] * beam
    for step in range(max_tokens + 1):
        logits, past = network.decoder(captions[:, -1:], memory, past)
        step_scores = _allowed(logits[:, -1].float().log_softmax(1), captions, step, max_tokens)
        vocabulary = step_scores.shape[1]
        total = (scores.flatten()[:, None] + step_scores).view(images, -1)
        best, places = total.topk(2 * beam)
        rows, tokens = first_rows + places // vocabulary, places % vocabulary
        ends = tokens == EOS
        for image, rank in (ends & best.isfinite())[:, :beam].nonzero().tolist():
            if len(finished[image]) < beam:
                caption = captions[rows[image, rank], 1:].tolist()
                score = best[image, rank].item() / (step + 1)
                finished[image].append(Hypothesis((*caption, EOS), score))
        if all(len(hypotheses) == beam for hypotheses in finished):
            break
        going_on = ends.long().sort(dim=1, stable=True).indices[:, :beam]
        scores = best.gather(1, going_on)
        kept = rows.gather(1, going_on).flatten()
        chosen = tokens.gather(1, going_on).view(-1, 1)
        captions = torch.cat([captions[kept], chosen], 1)
        past = [(keys[kept], values[kept]) for keys, values in past]
    return [sorted(hypotheses, key=lambda h: -h.score) for hypotheses in finished]


def _allowed(scores: Tensor, captions: Tensor, step: int, max_tokens: int) -> Tensor:
    """Log-probabilities of the next token, those of forbidden ones minus infinity."""
    scores[:, PAD] = -torch.inf
    if step == 0:
        scores[:, EOS] = -torch.inf
    if step == max_tokens:
        scores[:, :EOS] = scores[:, EOS + 1 :] = -torch.inf
    # Where the last NGRAM - 1 tokens stood before, what followed them then.
    if captions.shape[1] >= NGRAM:
        runs = captions.unfold(1, NGRAM, 1)
        again = (runs[..., :-1] == captions[:, None, 1 - NGRAM :]).all(2)
        rows, places = again.nonzero(as_tuple=True)
        scores[rows, runs[rows, places, -1]] = -torch.inf
    return scores
