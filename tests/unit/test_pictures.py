"""A picture is read in one way: whole, upright, in sRGB, or refused with the reason."""

import io
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, ImageCms, PngImagePlugin

from tacolab.readers.pictures import UnreadableError, read

SHARED = Path(__file__).parents[2].parent / "shared"
SRGB = ImageCms.createProfile("sRGB")


@pytest.fixture
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"needs the files in {SHARED}")
    return SHARED


def photo(width: int = 160, height: int = 120) -> Image.Image:
    """Smooth colours and some noise, another one at each corner."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).integers(0, 30, (height, width))
    planes = [200 * x / width + noise, 220 * y / height + noise, 90 + x * y / 400 + 0 * noise]
    return Image.fromarray(np.dstack(planes).clip(0, 255).astype(np.uint8))


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def refusal(content: bytes) -> str:
    with pytest.raises(UnreadableError) as error:
        read(content)
    message = str(error.value)
    assert "\n" not in message
    return message


def profile(gamma: float, space: str = "RGB") -> bytes:
    """A small ICC profile: Adobe RGB's primaries with a gamma, or a grey of a gamma."""

    def fixed(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(map(fixed, values))

    name = f"gamma {gamma:g}".encode()
    curve = b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256)) + bytes(2)
    described = b"desc" + struct.pack(">II", 0, len(name) + 1) + name + bytes(1 + 12 + 67)
    tags = {b"desc": described + bytes(-len(described) % 4), b"wtpt": xyz(0.9642, 1, 0.8249)}
    if space == "RGB":
        tags[b"rXYZ"] = xyz(0.60974, 0.31111, 0.01947)
        tags[b"gXYZ"] = xyz(0.20528, 0.62567, 0.06087)
        tags[b"bXYZ"] = xyz(0.14919, 0.06322, 0.74457)
        tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    else:
        tags[b"kTRC"] = curve
    table, body = b"", b""
    for tag, content in tags.items():
        table += tag + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(body), len(content))
        body += content
    size = 128 + 4 + len(table) + len(body)
    head = struct.pack(
        ">I4sI4s4s4s", size, bytes(4), 0x02100000, b"mntr", space.ljust(4).encode(), b"XYZ "
    )
    head += bytes(12) + b"acsp" + bytes(28) + fixed(0.9642) + fixed(1) + fixed(0.8249) + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + body


# -- damage ----------------------------------------------------------------------------------------


def cut(content: bytes) -> bytes:
    """In the middle of the scan, and closed."""
    return content[: len(content) * 3 // 4] + b"\xff\xd9"


def open_end(content: bytes) -> bytes:
    return content[: len(content) * 3 // 4]


def zeroed(content: bytes) -> bytes:
    """From the middle of the scan on."""
    kept = len(content) * 3 // 4
    return content[:kept] + bytes(len(content) - kept)


def lost_block(content: bytes) -> bytes:
    """An eighth of the file."""
    kept = len(content) * 3 // 4
    return content[:kept] + content[kept + len(content) // 8 :]


def repeated_block(content: bytes) -> bytes:
    kept = len(content) * 3 // 4
    return content[:kept] + content[kept - len(content) // 8 :]


@pytest.mark.parametrize("harm", [cut, open_end, zeroed, lost_block, repeated_block])
@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {}),
        ("RGB", {"progressive": True}),
        ("RGB", {"optimize": True, "subsampling": 0}),
        ("RGB", {"restart_marker_rows": 1}),
        ("L", {}),
        ("CMYK", {}),
    ],
)
def test_a_damaged_jpeg_is_named_though_it_can_be_decoded(
    mode: str, options: dict[str, object], harm: Callable[[bytes], bytes]
) -> None:
    content = saved(photo().convert(mode), "JPEG", quality=90, **options)
    read(content)
    assert refusal(harm(content)).startswith("is damaged (")


def test_a_progressive_jpeg_that_lacks_whole_scans_is_damaged() -> None:
    content = saved(photo(), "JPEG", progressive=True)
    scans = [found.start() for found in re.finditer(b"\xff\xda", content)]
    assert len(scans) == 10
    for scan in scans[1:]:
        assert "ends before its last scan" in refusal(content[:scan] + b"\xff\xd9")


@pytest.mark.parametrize("name", ["cut_eoi.jpg", "tail_zero_0.9.jpg"])
def test_damage_from_the_field(shared: Path, name: str) -> None:
    assert refusal((shared / "field" / name).read_bytes()).startswith("is damaged (")


def test_what_libjpeg_warns_of_but_loses_no_pixel_by_is_no_damage() -> None:
    content = saved(photo(), "JPEG")
    revision = content.index(b"JFIF\0") + 5
    unknown = content[:revision] + b"\x09" + content[revision + 1 :]
    assert np.array_equal(read(unknown).pixels, read(content).pixels)
    assert np.array_equal(read(content + b"appended").pixels, read(content).pixels)


@pytest.mark.slow
def test_intact_photos_pass_with_pillows_pixels(shared: Path) -> None:
    paths = sorted((shared / "data").glob("*/*.jpg")) + sorted((shared / "data").glob("*/*/*.jpg"))
    assert len(paths) > 400
    for path in [*paths, *(shared / "data/kodak").glob("*.png")]:
        picture = read(path.read_bytes())
        with Image.open(path) as image:
            plain = not picture.done
            assert not plain or np.array_equal(picture.pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("size", [(17, 13), (1, 1), (64, 48)])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_the_pixels_of_a_jpeg_are_pillows(
    mode: str, options: dict[str, object], size: tuple[int, int]
) -> None:
    content = saved(photo(*size).convert(mode), "JPEG", **options)
    with Image.open(io.BytesIO(content)) as image:
        assert np.array_equal(read(content).pixels, np.asarray(image.convert("RGB")))
    assert read(content).done == ()


# -- colour ----------------------------------------------------------------------------------------


def test_a_picture_in_another_colour_space_is_converted(shared: Path) -> None:
    path = shared / "field/p3.png"
    with Image.open(path) as image:
        own = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        right = np.asarray(ImageCms.profileToProfile(image, own, SRGB)).astype(int)
    picture = read(path.read_bytes())
    assert np.abs(picture.pixels - right).max() <= 1
    assert picture.done


@pytest.mark.parametrize(
    ("form", "options"), [("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})]
)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA"])
def test_every_kind_of_file_and_pixels_is_converted(
    mode: str, form: str, options: dict[str, object]
) -> None:
    """Linear light: mid-grey is 188 in sRGB."""
    space = "GRAY" if mode in ("L", "LA") and form != "WEBP" else "RGB"
    grey = Image.new("RGB", (8, 8), (128, 128, 128))
    grey = grey.quantize() if mode == "P" else grey.convert(mode)
    content = saved(grey, form, icc_profile=profile(1, space), **options)
    assert np.abs(read(content).pixels.astype(int) - 188).max() <= 1
    assert read(content).done == ("from gamma 1",)


def test_a_profile_of_srgb_changes_no_pixel() -> None:
    icc = ImageCms.ImageCmsProfile(SRGB).tobytes()
    for content in (
        saved(photo(), "JPEG", icc_profile=icc),
        saved(photo(), "PNG", icc_profile=icc),
    ):
        with Image.open(io.BytesIO(content)) as image:
            assert np.array_equal(read(content).pixels, np.asarray(image))
        assert read(content).done == ()


def test_a_profile_is_known_by_what_it_does_not_by_its_name(shared: Path) -> None:
    """That of the file calls itself sRGB."""
    assert read((shared / "field/p3.png").read_bytes()).done == ("from sRGB built-in",)


@pytest.mark.parametrize("icc", [b"nonsense", profile(1, "GRAY")])
def test_a_profile_that_fits_no_pixel_is_left_aside(icc: bytes) -> None:
    content = saved(photo(), "PNG", icc_profile=icc)
    assert np.array_equal(read(content).pixels, np.asarray(photo()))


# -- orientation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_picture_is_read_as_it_was_seen(form: str, orientation: int) -> None:
    seen = photo(48, 32)
    way = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }.get(orientation)
    held = seen.transpose(way) if way is not None else seen
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(form, {})
    content = saved(held, form, exif=exif, **options)
    difference = read(content).pixels.astype(int) - np.asarray(seen)
    assert np.abs(difference).max() <= (4 if form == "JPEG" else 0)


def test_a_drawing_in_postscript_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a program, which Pillow would hand to Ghostscript."""
    content = saved(photo(), "EPS")

    def run(*_: object, **__: object) -> None:
        raise AssertionError("it was run")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", run)
    for convert in (True, False):
        with pytest.raises(UnreadableError, match="is a program that draws"):
            read(content, convert)


def test_damaged_exif_data_are_no_reason_to_refuse_a_picture() -> None:
    content = saved(photo(), "PNG", exif=b"Exif\0\0nonsense")
    assert np.array_equal(read(content).pixels, np.asarray(photo()))


# -- transparency and depth ------------------------------------------------------------------------


def test_what_is_transparent_is_white() -> None:
    layers = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    layers.putpixel((1, 0), (255, 0, 0, 128))
    for content in (saved(layers, "PNG"), saved(layers, "WEBP", lossless=True, exact=True)):
        assert read(content).pixels.tolist() == [[[255, 255, 255], [255, 127, 127]]]
    palette = saved(Image.new("P", (2, 1)), "PNG", transparency=0)
    assert read(palette).pixels.tolist() == [[[255] * 3] * 2]
    opaque = photo().copy()
    opaque.putalpha(255)
    assert np.array_equal(read(saved(opaque, "PNG")).pixels, np.asarray(photo()))


def test_sixteen_bits_are_scaled() -> None:
    deep = np.array([[0, 257, 32896, 65535]], np.uint16)
    for form in ("PNG", "TIFF"):
        pixels = read(saved(Image.fromarray(deep), form)).pixels
        assert pixels[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(np.ones((4, 4), np.int32)),
        Image.fromarray(np.ones((4, 4), np.float32)),
        Image.new("LAB", (4, 4)),
    ],
    ids=["32 bits", "float", "Lab"],
)
def test_pixels_of_no_known_meaning_are_refused_with_the_remedy(image: Image.Image) -> None:
    assert refusal(saved(image, "TIFF")).endswith("save it as RGB with 8 bits")


# -- parts -----------------------------------------------------------------------------------------


def kinds() -> dict[str, bytes]:
    """Files that are read in different ways."""
    turned = Image.Exif()
    turned[0x0112] = 6
    clear = photo().copy()
    clear.putalpha(photo().convert("L"))
    deep = Image.fromarray(np.asarray(photo().convert("L")).astype(np.uint16) * 200)
    return {
        "plain": saved(photo(), "JPEG"),
        "4:4:4": saved(photo(), "JPEG", subsampling=0, progressive=True),
        "grey": saved(photo().convert("L"), "JPEG"),
        "four colours": saved(photo().convert("CMYK"), "JPEG"),
        "profile": saved(photo(), "JPEG", icc_profile=profile(1.5)),
        "turned": saved(photo(), "JPEG", exif=turned),
        "turned, profile": saved(photo(), "JPEG", exif=turned, icc_profile=profile(1.5)),
        "transparent, turned": saved(clear, "PNG", exif=turned, icc_profile=profile(1.5)),
        "palette": saved(photo().quantize(), "PNG", transparency=3),
        "deep, turned": saved(deep, "PNG", exif=turned, transparency=2000),
    }


@pytest.mark.parametrize("convert", [True, False])
@pytest.mark.parametrize("kind", kinds())
def test_a_part_is_cut_from_the_whole(kind: str, convert: bool) -> None:
    whole = read(kinds()[kind], convert).pixels
    height, width = whole.shape[:2]
    for box in [(0, 0, 31, 17), (width - 33, height - 9, width, height), (7, 5, 72, 70)]:
        left, top, right, bottom = box
        part = read(kinds()[kind], convert, box).pixels
        assert np.array_equal(part, whole[top:bottom, left:right])


def test_damage_beside_a_part_is_found() -> None:
    with pytest.raises(UnreadableError, match="is damaged"):
        read(cut(saved(photo(), "JPEG")), box=(0, 0, 8, 8))


# -- limits ----------------------------------------------------------------------------------------


def test_a_long_text_in_a_png_is_a_limit_and_no_damage() -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("comment", "x" * 1_100_000, zip=True)
    message = refusal(saved(photo(), "PNG", pnginfo=notes))
    assert "1 MB of a text or a profile" in message
    assert "damaged" not in message


def test_a_large_profile_in_a_png_is_a_limit_and_no_damage() -> None:
    message = refusal(saved(photo(), "PNG", icc_profile=bytes(1_100_000)))
    assert "1 MB of a text or a profile" in message


def test_too_many_pixels_are_a_limit_and_no_damage() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 10_000, 8, 0, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(bytes(20_001 * 10_000), 1))
    message = refusal(b"\x89PNG\r\n\x1a\n" + head + rows + chunk(b"IEND", b""))
    assert "limit of 178956970 pixels" in message
    assert "damaged" not in message
