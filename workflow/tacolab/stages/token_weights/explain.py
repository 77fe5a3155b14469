"""Why each token of a caption has its weight, for a person to see."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from tacolab.config import nearest
from tacolab.errors import UserError
from tacolab.plan import Plan, stages
from tacolab.stages.token_weights import vocabulary
from tacolab.stages.token_weights.salience import Weigher


@dataclass(frozen=True)
class Explanation:
    """How an arm's text encoder reads and weighs a caption.

    parts: the caption in pieces, and whether a salient token that is read is in them.
    tokens: as the encoder's vocabulary spells them; weight; reasons, "" for none. No padding.
    notes: what else is to be known.
    """

    parts: list[tuple[str, bool]]
    tokens: list[tuple[str, float, str]]
    notes: list[str]


def explain(
    plan: Plan,
    caption: str,
    arm: str | None = None,
    *,
    config: Path,
    overrides: Sequence[str] = (),
) -> Explanation:
    """With the encoder, the criteria and (where it was made) the vocabulary of an arm.

    arm: None for the first with token weights, else the protocol's baseline. config, overrides:
    what the plan was read from, for commands in notes. Raises UserError where the arm is not there
    or reads no text, or its tokenizer is not there.
    """
    study = plan.study
    weighted = [name for name, how in study.arms.items() if how.token_weighting != "none"]
    arm = arm or [*weighted, study.protocol.baseline][0]
    if arm not in study.arms:
        raise UserError(f"the config means no arm '{arm}'{nearest(arm, study.arms)}")
    encoder = study.arms[arm].text
    if encoder is None:
        raise UserError(f"arm {arm} reads no text; name another with --arm")
    notes = [f"as arm {arm} reads it, by encoder {encoder}"]
    idf = None
    if study.token_weights.tfidf:
        fitted = stages.vocabulary(plan, arm)
        if fitted.done:
            idf = vocabulary.load(fitted.path)
            notes.append(f"TF-IDF by {fitted.path}")
        else:
            command = ["snakemake", str(fitted.path), "--profile", "profiles/local"]
            command += ["--configfile", str(config)]
            command += ["--config", *overrides] if overrides else []
            notes.append(
                f"without TF-IDF, since its vocabulary is not made yet: `{shlex.join(command)}`"
            )
    weigher = Weigher(study.token_weights, study.encoders[encoder], idf)
    weighed = weigher([caption])
    tokens, weights, (reasons,) = weighed.tokens, weighed.weights[0], weighed.reasons
    read = int((tokens.spans[0, :, 0] >= 0).sum())
    if cut := int(tokens.lengths[0]) - read:
        notes.append(f"{cut} of {read + cut} tokens are cut off: the encoder does not see them")
    salient = [False] * len(caption)
    for (start, end), why in zip(tokens.spans[0], reasons, strict=True):
        salient[start:end] = [bool(why) or was for was in salient[start:end]]
    marked = groupby(zip(caption, salient, strict=True), key=lambda pair: pair[1])
    spelled = weigher.tokenizer.text(tokens.ids[0].tolist())
    return Explanation(
        parts=[("".join(c for c, _ in pairs), emphasis) for emphasis, pairs in marked],
        tokens=[
            (token, float(weight), ", ".join(why))
            for token, weight, why in zip(spelled, weights, reasons, strict=True)
            if weight > 0
        ],
        notes=notes,
    )
