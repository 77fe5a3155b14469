"""Token weights of a caption that stands in no table, by what a trained model was trained with."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from tacolab.config import TextEncoder, TokenWeights
from tacolab.errors import UserError
from tacolab.files.texts import loads
from tacolab.stages.token_weights import vocabulary
from tacolab.stages.token_weights.salience import Weigher


def weigh(caption: str, model: Path, key: str) -> npt.NDArray[np.float16]:
    """1 x positions: as the tokens of the model's training captions were weighed.

    key: of the table of these weights (`text.inputs.weights` of model.json). Its description and
    vocabulary are looked for where the pipeline makes them, in the results folder that the model
    lies in, and beside the model. Raises UserError when they are not there.
    """
    name = f"{key}.json"
    folders = [model.parent]
    # results/models/{arm}/{lambda}/{seed}/{key}/model.safetensors
    if len(model.absolute().parents) > 5:
        folders += (model.absolute().parents[5] / "token_weights").glob("*/*")
    folder = next((folder for folder in folders if (folder / name).is_file()), None)
    if folder is None:
        raise UserError(
            f"{model}: this model weighs tokens, by what {name} and its .vocabulary.json say; they "
            "are not in token_weights/ of the results folder: copy them beside the model"
        )
    try:
        text = loads((folder / name).read_text(encoding="utf-8"))["text"]
        fitted = text["inputs"].get("vocabulary")
        encoder: TextEncoder = TypeAdapter(TextEncoder).validate_python(text["spec"]["encoder"])
        config = TokenWeights.model_validate(text["spec"]["weights"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"{folder / name}: damaged; copy it again from where the weights were made"
        ) from None
    idf = vocabulary.load(folder / f"{fitted}.vocabulary.json") if fitted else None
    weigher = Weigher(config, encoder, idf)
    return weigher([caption]).weights
