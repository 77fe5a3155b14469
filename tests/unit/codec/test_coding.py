"""What is written to a file is what the decoder shows, whatever the picture's size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tacolab.codec import Elic, Taco
from tacolab.codec.bitstream import OVERHEAD, pack, unpack
from tacolab.codec.checkerboard import Colour, anchor_mask, put, take
from tacolab.codec.entropy_coding import OtherSymbolsError

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
    # A latent at the edge of rounding may fall to the other side in the networks' exact twins.
    assert (x_hat - forward["x_hat"]).square().mean() < 1e-3 * forward["x_hat"].square().mean()
    assert path.stat().st_size == OVERHEAD + sum(len(s[0]) for s in strings)

    encoded = model.encode(x, text)
    assert encoded.strings == compressed["strings"]
    assert model.decode(strings, shape)[1] == encoded.checksum
    for estimated, likelihood in zip(
        (encoded.bits_y, encoded.bits_z), forward["likelihoods"].values(), strict=True
    ):
        assert estimated == pytest.approx(-likelihood.double().log2().sum().item(), rel=1e-3)


@pytest.mark.parametrize("size", [(64, 64), (100, 130)])
def test_latents_that_are_coded_together_give_the_files_that_each_gives_alone(
    taco: Taco, size: tuple[int, int], sample: Sample
) -> None:
    """Also where the picture was analysed once for several captions; and they decode so."""
    taco.update(force=True)
    x, _ = sample(*size, batch=3)
    texts = torch.randn(6, 7, 32, generator=torch.Generator().manual_seed(1))
    y, z = taco.latents(taco.features(x)[[0, 0, 1, 1, 2, 2]], texts)
    together = taco.encode_latents(y, z, *size)
    alone = [
        taco.encode_latents(*one, *size)[0] for one in zip(y.split(1), z.split(1), strict=True)
    ]
    for one, other in zip(together, alone, strict=True):
        assert (one.strings, one.checksum) == (other.strings, other.checksum)
        assert one.bits_y == pytest.approx(other.bits_y, rel=1e-6)
        assert one.bits_z == pytest.approx(other.bits_z, rel=1e-6)
    shape = alone[0].shape
    y_hats, checksums = taco.decode_latents([one.strings for one in together], shape)
    assert checksums == [one.checksum for one in alone]
    for y_hat, one in zip(y_hats, alone, strict=True):
        assert torch.equal(y_hat[None], taco.decode_latents([one.strings], shape)[0])


def test_a_damaged_stream_among_others_is_named(elic: Elic, sample: Sample) -> None:
    elic.update(force=True)
    encoded = elic.encode(sample(64, 64)[0])
    cut = [[encoded.y_string[:-4]], [encoded.z_string]]
    with pytest.raises(OtherSymbolsError) as refused:
        elic.decode_latents([encoded.strings, encoded.strings, cut], encoded.shape)
    assert refused.value.picture == 2


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
    x = torch.arange(16).view(1, 4, 4, 1)
    assert take(x, Colour.ANCHOR).flatten().tolist() == [1, 3, 4, 6, 9, 11, 12, 14]
    assert take(x, Colour.NON_ANCHOR).flatten().tolist() == [0, 2, 5, 7, 8, 10, 13, 15]
    mask = anchor_mask(x[..., 0])[..., None]
    for colour, own in ((Colour.ANCHOR, mask), (Colour.NON_ANCHOR, ~mask)):
        back = torch.zeros_like(x)
        put(take(x, colour), back, colour)
        assert torch.equal(back, x * own)
