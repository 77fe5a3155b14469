"""Single pictures to files and back, in the container that knows its model."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from pydantic import TypeAdapter

from tacolab.codec.bitstream import require_size
from tacolab.codec.container import decode_container, pack_container
from tacolab.codec.network import load_network
from tacolab.codec.pixels import to_pixels, to_tensor
from tacolab.codec.precision import Precision, native
from tacolab.config import TextEncoder
from tacolab.errors import UserError
from tacolab.files import atomic
from tacolab.files.texts import loads
from tacolab.readers.pictures import UnreadableError, read
from tacolab.text.encoders import FrozenText, Weighting, build

LOSSLESS = (".png", ".bmp", ".ppm", ".tif", ".tiff")


def require_free(output: Path, inputs: Sequence[Path], overwrite: bool) -> None:
    """Before the work. Raises UserError where `output` is no file that may be written: never one
    of `inputs`, another one that is there only to `overwrite`."""
    try:
        if not output.exists():
            return
        if output.is_dir():
            raise UserError(f"{output}: is a folder; -o names the file to write")
        if any(output.samefile(path) for path in inputs if path.exists()):
            raise UserError(f"{output}: is what is read; -o names another file")
        if not output.is_file():
            raise UserError(f"{output}: is no regular file; -o names the file to write")
        if not overwrite:
            raise UserError(f"{output}: exists; --overwrite replaces it")
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror})") from None


def _write(output: Path, save: Callable[[Path], object]) -> None:
    try:
        atomic.write(output, save)
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror or error})") from None


class PictureCodec:
    """A trained model, its identity, and (to compress) its text encoder."""

    def __init__(self, model: Path, precision: Precision | Literal["auto"] = "auto") -> None:
        """`model`: a model.safetensors with its model.json beside it. `auto`: what is quickest."""
        try:
            content = model.read_bytes()
            description = loads(model.with_name("model.json").read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(
                f"{error.filename}: {error.strerror}; --model names a trained model.safetensors "
                "with its model.json beside it"
            ) from None
        except ValueError as error:
            raise UserError(f"{model.with_name('model.json')}: not JSON ({error})") from None
        self.identity = hashlib.sha256(content).digest()[:8]
        try:
            spec = description["text"]["spec"]
            self.text = spec["text"]
            self.weighting: Weighting = spec.get("token_weighting", "none")
            self.weights_key = description["text"]["inputs"].get("weights")
        except (AttributeError, KeyError, TypeError):
            raise UserError(f"{model.with_name('model.json')}: describes no model") from None
        device = torch.device("cpu")
        how = native(device) if precision == "auto" else precision
        self.network = load_network(model, spec, device, how)

    def compress(
        self,
        picture: Path,
        caption: str | None,
        output: Path,
        weights: np.ndarray | None = None,
    ) -> float:
        """Write `output`; bits per pixel of the whole file.

        weights: of the caption's tokens, 1 x positions, for a model with `weighting`.
        """
        if bool(self.text) != (caption is not None):
            raise UserError(
                "this model reads no text: leave --caption out"
                if caption is not None
                else "this model is steered by text: give --caption (it may be empty)"
            )
        try:
            pixels = read(picture.read_bytes()).pixels
        except OSError as error:
            raise UserError(f"{picture}: cannot be read ({error.strerror})") from None
        except UnreadableError as error:
            raise UserError(f"{picture}: {error}") from None
        try:
            require_size(*pixels.shape[:2])
        except ValueError as error:
            raise UserError(f"{picture}: {error}") from None
        hidden = None
        if caption is not None:
            rows = None if weights is None else torch.from_numpy(weights)
            hidden, _ = self._encoder()([caption], rows)
        try:
            encoded = self.network.encode(to_tensor(pixels), hidden)
            content = pack_container(encoded, self.identity)
        except ValueError as error:
            raise UserError(f"{picture}: {error}") from None
        _write(output, lambda path: path.write_bytes(content))
        return 8 * len(content) / (pixels.shape[0] * pixels.shape[1])

    def decompress(self, file: Path, output: Path) -> None:
        """Write the picture of `file`, without loss; never a broken one."""
        if output.suffix.lower() not in LOSSLESS:
            raise UserError(f"{output}: write to one of {', '.join(LOSSLESS)}: others lose quality")
        try:
            x_hat = decode_container(self.network, self.identity, file.read_bytes())
        except OSError as error:
            raise UserError(f"{file}: {error.strerror}") from None
        except ValueError as error:
            raise UserError(f"{file}: {error}") from None
        _write(output, lambda path: Image.fromarray(to_pixels(x_hat)).save(path))

    def _encoder(self) -> FrozenText:
        config: TextEncoder = TypeAdapter(TextEncoder).validate_python(self.text)
        return build(config, self.weighting)
