"""What is written to a file is what the decoder shows, whatever the picture's size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tacolab.codec import Elic, Taco
from tacolab.codec.bitstream import OVERHEAD, pack, unpack
from tacolab.codec.checkerboard import Colour, anchor_mask, squeeze, unsqueeze

Sample = Callable[..., tuple[Tensor, Tensor]]


@pytest.mark.parametrize("arm", ["taco", "elic"])
@pytest.mark.parametrize("size", [(1, 1), (65, 257), (124, 63), (17, 300), (128, 64)])
def test_file_decodes_to_what_forward_shows(
    arm: str,
    size: tuple[int, int],
    request: pytest.FixtureRequest,
    sample: Sample,
    tmp_path: Path,
) -> None:
    model: Elic = request.getfixturevalue(arm)
    model.update(force=True)
    x, text = sample(*size)
    with torch.no_grad():
        forward = model(x, text)

    compressed = model.compress(x, text)
    assert set(compressed) == {"strings", "shape"}
    path = tmp_path / "picture.bin"
    path.write_bytes(pack(compressed["strings"], compressed["shape"]))
    strings, shape = unpack(path.read_bytes())
    x_hat = model.decompress(strings, shape)["x_hat"]

    assert x_hat.shape == x.shape
    assert (x_hat - forward["x_hat"]).abs().max() <= 1e-4
    assert path.stat().st_size == OVERHEAD + sum(len(s[0]) for s in strings)

    encoded = model.encode(x, text)
    assert encoded.strings == compressed["strings"]
    assert model.decode(strings, shape)[1] == encoded.checksum
    for estimated, likelihood in zip(
        (encoded.bits_y, encoded.bits_z), forward["likelihoods"].values(), strict=True
    ):
        assert estimated == pytest.approx(-likelihood.double().log2().sum().item(), rel=1e-6)


@pytest.mark.parametrize(
    ("published", "size"),
    [
        (False, (64, 64)),
        (False, (100, 130)),
        pytest.param(True, (64, 64), marks=pytest.mark.slow),
    ],
)
def test_what_was_analysed_in_a_batch_decodes_alone_to_the_bit(
    published: bool, size: tuple[int, int], taco: Taco, filled: Callable[[Elic], Elic]
) -> None:
    """Also where the picture was analysed once for several captions."""
    model = filled(Taco(text_dim=32)).eval() if published else taco
    model.update(force=True)
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(3, 3, *size, generator=generator)
    texts = torch.randn(6, 7, 32, generator=generator)
    pictures = [0, 0, 1, 1, 2, 2]
    ys, zs = model.latents(model.features(x)[pictures], texts)
    for y, z, picture, text in zip(ys.split(1), zs.split(1), pictures, texts, strict=True):
        encoded = model.encode_latents(y, z, *size)
        x_hat, checksum = model.decode(encoded.strings, encoded.shape)
        assert checksum == encoded.checksum
        assert x_hat.shape == (1, 3, *size)
        # No other file than from the picture alone, but for roundings of last bits.
        alone = model.encode(x[picture : picture + 1], text[None])
        assert encoded.bits_y == pytest.approx(alone.bits_y, rel=1e-3)
        assert encoded.bits_z == pytest.approx(alone.bits_z, rel=1e-3)
    # Synthesis in a batch shows what it shows alone, but for roundings of processors' kernels.
    y_hat = torch.cat([model.decode_latents(encoded.strings, encoded.shape)[0]] * 2)
    difference = (model.synthesise(y_hat, *size)[:1] - x_hat).abs().max()
    assert difference < 1e-5 * x_hat.abs().max()


def test_plain_shape_gives_the_padded_picture(elic: Elic, sample: Sample) -> None:
    elic.update()
    x, _ = sample(65, 20)
    compressed = elic.compress(x)
    assert compressed["shape"] == (2, 1)
    assert elic.decompress(compressed["strings"], (2, 1))["x_hat"].shape == (1, 3, 128, 64)
    assert elic.decompress(**compressed)["x_hat"].shape == (1, 3, 65, 20)


def test_one_picture_at_a_time(elic: Elic, sample: Sample) -> None:
    elic.update()
    with pytest.raises(ValueError, match="one picture"):
        elic.compress(sample(64, 64, batch=2)[0])
    with pytest.raises(ValueError, match="one picture"):
        elic.decompress([[b"", b""], [b"", b""]], (1, 1))


def test_nothing_is_coded_without_tables(elic: Elic, sample: Sample) -> None:
    with pytest.raises(RuntimeError, match=r"update\(force=True\)"):
        elic.compress(sample(64, 64)[0])
    with pytest.raises(RuntimeError, match=r"update\(force=True\)"):
        elic.decompress([[bytes(8)], [bytes(8)]], (1, 1))


def test_a_picture_of_nan_is_refused(elic: Elic) -> None:
    elic.update()
    with pytest.raises(ValueError, match="not finite"):
        elic.compress(torch.full((1, 3, 64, 64), torch.nan))


def test_colours_are_coded_row_by_row() -> None:
    x = torch.arange(16).view(1, 1, 4, 4)
    assert squeeze(x, Colour.ANCHOR).flatten().tolist() == [1, 3, 4, 6, 9, 11, 12, 14]
    assert squeeze(x, Colour.NON_ANCHOR).flatten().tolist() == [0, 2, 5, 7, 8, 10, 13, 15]
    for colour, mask in ((Colour.ANCHOR, anchor_mask(x)), (Colour.NON_ANCHOR, ~anchor_mask(x))):
        assert torch.equal(unsqueeze(squeeze(x, colour), colour), x * mask)
