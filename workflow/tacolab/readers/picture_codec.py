"""Single pictures to bytes and back, by a trained model: `tacolab.load` and the codec's commands.

`docs/codec.md` describes both.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from pydantic import TypeAdapter

from tacolab.codec import bundled
from tacolab.codec.bitstream import require_size
from tacolab.codec.container import (
    OTHER_SYMBOLS,
    Container,
    decode_container,
    pack_container,
    unpack_container,
)
from tacolab.codec.elic import Encoded
from tacolab.codec.network import load_network
from tacolab.codec.pixels import to_pixels, to_tensor
from tacolab.codec.precision import Precision, native
from tacolab.config import TextEncoder
from tacolab.errors import UserError
from tacolab.files.texts import loads, refuse_half_characters
from tacolab.readers.pictures import UnreadableError, _seen, read
from tacolab.text.encoders import FrozenText, Weighting, build

Picture = Image.Image | np.ndarray | Path | str

# Bytes that coding takes for each pixel, either way, measured with the bundled models' size.
BYTES_PER_PIXEL = 80


class PictureCodec:
    """A trained model, its identity, and (to compress with a caption) its text encoder."""

    def __init__(self, model: Path, precision: Precision | Literal["auto"] = "auto") -> None:
        """`model`: a model.safetensors with its model.json beside it. `auto`: what is quickest."""
        try:
            content = model.read_bytes()
            description = loads(model.with_name("model.json").read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(
                f"{error.filename}: {error.strerror}; a model is a trained model.safetensors "
                "with its model.json beside it"
            ) from None
        except ValueError as error:
            raise UserError(f"{model.with_name('model.json')}: not JSON ({error})") from None
        self.path = model
        self.identity = hashlib.sha256(content).digest()
        try:
            spec = description["text"]["spec"]
            self.text = spec["text"]
            self.weighting: Weighting = spec.get("token_weighting", "none")
            self.weights_key = description["text"]["inputs"].get("weights")
            told = description.get("sha256", {}).get(model.name)
        except (AttributeError, KeyError, TypeError):
            raise UserError(f"{model.with_name('model.json')}: describes no model") from None
        if told not in (None, self.identity.hex()):
            raise UserError(
                f"{model}: damaged (other bytes than were written): its pictures would be worse "
                "without a word; restore it"
            )
        device = torch.device("cpu")
        how = native(device) if precision == "auto" else precision
        self.network = load_network(model, spec, device, how)
        self._reader: FrozenText | None = None

    @classmethod
    def load(cls, model: str | Path) -> PictureCodec:
        """`tacolab.load`."""
        path = Path(model)
        return cls(path if path.suffix == ".safetensors" else bundled.path(str(model)))

    # -- for programs --------------------------------------------------------------------------

    def compress(
        self, image: Picture, caption: str | None = None, weights: np.ndarray | None = None
    ) -> bytes:
        """The content of a .taco file.

        image: a picture of Pillow, an array H x W x 3 of uint8 (sRGB), or the path of a file.
        caption: what steers a model that reads text (it may be empty, and is not stored); None for
        any other. weights: of the caption's tokens, 1 x positions, for a model that weighs them.

        Raises UserError for a picture that cannot be used, and a caption that does not fit.
        """
        with naming(image if isinstance(image, str | Path) else "the picture"):
            return self.pack(self.encode(to_array(image), caption, weights))

    def decompress(self, content: bytes) -> Image.Image:
        """The picture (RGB) of a .taco file that this model made. Raises UserError, also for a
        damaged file: never returns a broken picture."""
        with naming("the file"):
            return Image.fromarray(self.decode(content))

    # -- the steps, for the commands; of ValueErrors the message goes behind the file's name ------

    def encode(
        self, pixels: np.ndarray, caption: str | None, weights: np.ndarray | None = None
    ) -> Encoded:
        """pixels: H x W x 3, uint8. Raises ValueError; UserError for the caption."""
        if bool(self.text) != (caption is not None):
            raise UserError(
                "this model reads no text: give no caption"
                if caption is not None
                else "this model is steered by text: give a caption (it may be empty)"
            )
        require_size(*pixels.shape[:2])
        _require_memory(*pixels.shape[:2])
        hidden = None
        if caption is not None:
            refuse_half_characters(caption, "the caption")
            rows = None if weights is None else torch.from_numpy(weights)
            hidden, _ = self._encoder()([caption], rows)
        return self.network.encode(to_tensor(pixels), hidden)

    def pack(self, encoded: Encoded) -> bytes:
        """The content of a .taco file."""
        return pack_container(encoded, self.identity)

    def psnr(self, pixels: np.ndarray, encoded: Encoded) -> float:
        """Of what was coded against `pixels` [dB]; infinite where they are equal.

        The encoder knows y_hat to the bit, so that the decoder's picture costs its synthesis alone.
        """
        shown = to_pixels(self.network.synthesise(encoded.y_hat, *pixels.shape[:2]))
        error = np.mean(np.square(pixels.astype(np.float32) - shown), dtype=np.float64)
        return 10 * math.log10(255**2 / error) if error else math.inf

    def decode(self, content: bytes) -> np.ndarray:
        """H x W x 3, uint8. Raises ValueError."""
        _require_memory(*(unpack_container(content).shape.picture or (0, 0)))
        return to_pixels(decode_container(self.network, self.identity, content))

    def group_bits(self, container: Container) -> list[float]:
        """What each channel group takes in the y string. Raises ValueError."""
        container.require_model(self.identity)
        _require_memory(*(container.shape.picture or (0, 0)))
        bits: list[float] = []
        codec = self.network.latent_codec()
        _, (checksum,) = codec.decode([container.strings], container.shape, bits)
        if checksum != container.checksum:
            raise ValueError(OTHER_SYMBOLS)
        return bits

    def _encoder(self) -> FrozenText:
        if self._reader is None:
            config: TextEncoder = TypeAdapter(TextEncoder).validate_python(self.text)
            self._reader = build(config, self.weighting)
        return self._reader


def model_of(container: Container) -> Path:
    """The bundled model that made a file. Raises ValueError where it was another one."""
    name = bundled.name_of(container.model)
    if name is None:
        raise ValueError(
            f"was made by model {container.model.hex()}, which is not bundled: name it with "
            "--model (its model.safetensors has a sha256 that begins so)"
        )
    return bundled.path(name)


@contextmanager
def naming(name: object) -> Iterator[None]:
    """What goes wrong with a picture or file is a UserError of one line that begins with `name`."""
    try:
        yield
    except ValueError as error:
        raise UserError(f"{name}: {error}") from None
    except OSError as error:
        if error.strerror is None:
            raise
        raise UserError(f"{name}: cannot be read ({error.strerror})") from None
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "can't allocate memory" not in str(error):
            raise
        raise UserError(
            f"{name}: is too large for this machine's memory; make it smaller"
        ) from None


def to_array(image: Picture | bytes) -> np.ndarray:
    """H x W x 3, uint8, of a picture of which nothing is lost but its metadata.

    image: as `PictureCodec.compress` takes it, or the content of a file. Colours and orientation
    are read as everywhere (`docs/data.md`). Raises ValueError, also for what data sets accept: a
    picture that is transparent somewhere, and one that is several.
    """
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ValueError(f"must be H x W x 3 of uint8, not {image.shape} of {image.dtype}")
        return image
    if isinstance(image, Image.Image):
        _require_one(image)
        try:
            image.load()
        except (OSError, SyntaxError) as error:  # as Pillow's decoders raise them
            raise UnreadableError(f"is damaged ({error})") from None
        picture = _seen(image, image, None)
    else:
        content = image if isinstance(image, bytes) else Path(image).read_bytes()
        picture = read(content)
        with Image.open(io.BytesIO(content)) as opened:
            _require_one(opened)
    if "on white" in picture.done:
        raise UnreadableError(
            "is transparent in places, which is not kept; put it on a background and save it "
            "without transparency (ImageMagick: -background white -alpha remove)"
        )
    return picture.pixels


def _require_memory(height: int, width: int) -> None:
    """Raises ValueError where the system would end the process: a few bytes that pass for a plain
    picture may name 268 million pixels."""
    try:
        told = Path("/proc/meminfo").read_text()
    except OSError:  # no Linux
        return
    free = 1024 * int(told.split("MemAvailable:")[1].split()[0])
    needed = BYTES_PER_PIXEL * height * width
    if needed > free:
        raise ValueError(
            f"{width} x {height} pixels need some {needed / 1e9:.1f} GB of memory, "
            f"{free / 1e9:.1f} GB are free: use another machine, or a smaller picture"
        )


def _require_one(image: Image.Image) -> None:
    """An MPO of a camera or phone is one: previews and depth maps follow the photo."""
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise UnreadableError(
            "holds several pictures (an animation, pages or layers); save the one to compress "
            "in a file of its own"
        )
