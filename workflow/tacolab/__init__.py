"""tacolab: the study pipeline and the codec of text-guided neural image compression.

`load` gives the codec to programs. Nothing is imported before it is called: importing the package
costs nothing, and jobs that need no network import none.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tacolab.readers.picture_codec import PictureCodec


def load(model: str | Path = "middle") -> "PictureCodec":
    """A trained codec, whose `compress` and `decompress` turn pictures into bytes and back.

    model: `low`, `middle` or `high` (rates), `text` (steered by captions, at the middle rate), or
    the path of a model.safetensors with its model.json beside it. Raises tacolab.errors.UserError.
    """
    from tacolab.readers.picture_codec import PictureCodec

    return PictureCodec.load(model)
