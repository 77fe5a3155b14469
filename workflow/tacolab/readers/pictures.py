"""Pictures as they are seen: the one place where a file's bytes become upright 8-bit sRGB pixels.

Whether a picture can be used, and what its pixels are, is decided here for everybody: data sets,
single pictures, and what captioners and APIs are shown. `docs/data.md` says how.
"""

from __future__ import annotations

import functools
import io
import re
from dataclasses import dataclass

import numpy as np
import simplejpeg
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

JPEG = ("JPEG", "MPO")
TURNED = "turned"
# As simplejpeg and Pillow name the pixels of a JPEG. Four colours are inverted, as Adobe has it.
_JPEG_MODES = {"L": ("GRAY", "L"), "RGB": ("RGB", "RGB"), "CMYK": ("CMYK", "CMYK;I")}
# Warnings of libjpeg that say nothing about pixels; any other one means that some are lost.
_HARMLESS = (
    "Warning: unknown JFIF revision number",
    "Unknown Adobe color transform code",
    "Invalid SOS parameters for sequential JPEG",
    "Corrupt JPEG data: bad ICC marker",
)
_MARKER = re.compile(rb"\xff+([^\x00\x01\xff\xd0-\xd8])")  # not in data, nor between its parts
_START_OF_SCAN, _END = 0xDA, 0xD9
_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1, 0xC9), (0xC2, 0xCA)  # starts of frames
_ALL = 2**64 - 1  # a bit for each coefficient of a block

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_GREY = ("1", "L", "LA", "La")
_READ = (*_GREY, "P", "PA", "RGB", "RGBX", "RGBA", "RGBa", "YCbCr", "CMYK")
_FITTING = {"L": ("GRAY", "RGB"), "RGB": ("RGB",), "CMYK": ("CMYK",)}  # profiles, by mode
_SRGB = ImageCms.createProfile("sRGB")
_ROUNDING = 2  # levels; profiles of sRGB by several makers differ by 1

Box = tuple[int, int, int, int]  # left, top, right, bottom of a part [pixels]


class UnreadableError(ValueError):
    """A file that is no picture to be used. The message goes behind the file's name."""


@dataclass(frozen=True)
class Picture:
    """pixels: H x W x 3, uint8. done: besides decoding (`from` a profile, `on white`, `turned`);
    nothing for most pictures."""

    pixels: np.ndarray
    done: tuple[str, ...] = ()

    @property
    def turned(self) -> bool:
        return TURNED in self.done


def read(content: bytes, convert: bool = True, box: Box | None = None) -> Picture:
    """The picture of a file. Raises UnreadableError where it is damaged or its pixels mean nothing.

    Turned as its EXIF data say, converted to sRGB from the profile that it brings, transparency
    put on white. Without a profile colours count as sRGB. convert: False reads pixels as they are
    stored, and by Pillow alone: so data sets were read that an earlier version has packed.
    box: a part of the picture as it is seen. Its pixels are those of the whole picture, which is
    decoded all the same; the rest is spared what comes afterwards.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.format == "EPS":  # Pillow would have Ghostscript run it
                raise UnreadableError("is a program that draws (PostScript); save it as PNG")
            if not convert:
                image.load()
                stored = image.crop(box) if box else image
                return Picture(np.asarray(_parts(_eight_bits(stored))[0].convert("RGB")))
            if image.format in JPEG:
                return _jpeg(image, content, box)
            if image.format == "PNG":
                with Image.open(io.BytesIO(content)) as again:
                    again.verify()  # checksums up to the last chunk
            image.load()
            return _seen(image, image, box)
    except (UnreadableError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise UnreadableError(f"is not an image ({len(content)} bytes)") from None
    except Image.DecompressionBombError as error:
        raise UnreadableError(
            f"is beyond a limit of Pillow ({_line(error)}); make it smaller"
        ) from None
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error ...
        if "MAX_TEXT" in str(error):
            raise UnreadableError(
                "is beyond a limit of Pillow (1 MB of a text or a profile, unpacked, or 64 MB of "
                "all texts); save it without them"
            ) from None
        raise UnreadableError(f"is damaged ({_line(error)})") from None


def centre_crop(pixels: np.ndarray, side: int) -> np.ndarray:
    """The middle `side` x `side` of H x W x 3; neither H nor W may be less."""
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    return pixels[top : top + side, left : left + side]


# -- JPEG ------------------------------------------------------------------------------------------


def _jpeg(image: Image.Image, content: bytes, box: Box | None) -> Picture:
    """By a decoder that does not keep libjpeg's warnings to itself; the pixels are Pillow's."""
    if not _complete(content):
        raise UnreadableError("is damaged (it ends before its last scan)")
    colours, raw = _JPEG_MODES[image.mode]
    try:
        pixels = simplejpeg.decode_jpeg(content, colours)
    except ValueError as error:
        if str(error).startswith(_HARMLESS):
            image.load()
            return _seen(image, image, box)
        cut = "truncated: " if "Premature end" in str(error) else ""
        raise UnreadableError(f"is damaged ({cut}{_line(error)})") from None
    profile = image.info.get("icc_profile")
    foreign = profile and _transform(profile, image.mode)[0]
    if image.mode == "RGB" and not foreign and _way(image) is None:
        left, top, right, bottom = box or (0, 0, *image.size)
        # Most pictures: what follows would copy it some times
        return Picture(pixels[top:bottom, left:right])
    return _seen(image, Image.frombuffer(image.mode, image.size, pixels, "raw", raw, 0, 1), box)


def _complete(content: bytes) -> bool:
    """Whether the scans of a JPEG hold every coefficient to its last bit.

    One that was cut between two scans, and closed again, decodes without a warning.
    """
    lacking: dict[int, int] = {}  # coefficients by component
    progressive = False
    at = 2
    while (found := _MARKER.search(content, at)) and found[1][0] != _END:
        marker, start = found[1][0], found.end()
        at = start + int.from_bytes(content[start : start + 2])
        segment = content[start + 2 : at]
        if marker in (*_SEQUENTIAL, *_PROGRESSIVE):
            progressive = marker in _PROGRESSIVE
            lacking = dict.fromkeys(segment[6 : 6 + 3 * segment[5] : 3], _ALL)
        elif marker == _START_OF_SCAN and lacking:
            components = segment[1 : 1 + 2 * segment[0] : 2]
            first, last, precision = segment[1 + 2 * segment[0] :][:3]
            if not progressive:
                first, last, precision = 0, 63, 0
            if precision & 0xF == 0:  # no more bits to come
                brought = (1 << (last + 1)) - (1 << first)
                lacking |= {component: lacking[component] & ~brought for component in components}
            if not any(lacking.values()):
                return True
    return not lacking  # of another kind, which has no such scans


# -- from pixels as they are stored to those that are seen -----------------------------------------


def _seen(image: Image.Image, stored: Image.Image, box: Box | None) -> Picture:
    """image: what knows the file's metadata. box: as in `read`."""
    done = []
    if (way := _way(image)) is not None:
        stored = stored.transpose(way)
    if box:
        stored = stored.crop(box)
    colours, alpha = _parts(_eight_bits(stored))
    if profile := image.info.get("icc_profile"):
        colours, name = _converted(colours, profile)
        done += [f"from {name}"] if name else []
    picture = colours if colours.mode == "RGB" else colours.convert("RGB")
    if alpha and alpha.getextrema() != (255, 255):
        picture = Image.composite(picture, Image.new("RGB", picture.size, "white"), alpha)
        done.append("on white")
    if way is not None:
        done.append(TURNED)
    return Picture(np.asarray(picture), tuple(done))


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey scaled; Pillow would clip it to white without a word."""
    if not image.mode.startswith("I;16"):
        return image
    deep = np.asarray(image)
    grey = Image.fromarray(np.round(deep.astype(np.float64) / 257).astype(np.uint8))
    grey.info = {k: v for k, v in image.info.items() if k != "transparency"}
    if (clear := image.info.get("transparency")) is not None:
        grey.putalpha(Image.fromarray(np.where(deep == clear, 0, 255).astype(np.uint8)))
    return grey


def _parts(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Colours, as L, RGB or CMYK, and what is transparent."""
    if image.mode not in _READ:
        why = "of no known range" if image.mode in ("I", "F") else "that are not read"
        raise UnreadableError(f"has pixels {why} (mode {image.mode}); save it as RGB with 8 bits")
    if image.has_transparency_data:
        *colours, alpha = image.convert("RGBA").split()
        return colours[0] if image.mode in _GREY else Image.merge("RGB", colours), alpha
    if image.mode in ("RGB", "L", "CMYK"):
        return image, None  # `convert` would copy it
    return image.convert("L" if image.mode in _GREY else "RGB"), None


def _converted(colours: Image.Image, profile: bytes) -> tuple[Image.Image, str]:
    """In sRGB, and the name of the profile; unchanged and "" where it changes nothing."""
    transform, mode, name = _transform(profile, colours.mode)
    if transform is None:
        return colours, ""
    return transform.apply(colours.convert(mode)), name


@functools.lru_cache(maxsize=64)
def _transform(profile: bytes, mode: str) -> tuple[ImageCms.ImageCmsTransform | None, str, str]:
    """To sRGB from pixels of a mode, which are to be converted to the second one first.

    None for a profile of sRGB itself, and for one that cannot be read or is of other colours:
    viewers take such a picture for sRGB, too.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        if space not in _FITTING[mode]:
            return None, mode, ""
        mode = "L" if space == "GRAY" else space
        transform = ImageCms.buildTransform(source, _SRGB, mode, "RGB")
        name = ImageCms.getProfileDescription(source)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None, mode, ""
    if mode != "CMYK":
        samples = Image.fromarray(_samples(1 if mode == "L" else 3))
        same = np.asarray(samples.convert("RGB")).astype(int)
        if np.abs(np.asarray(transform.apply(samples)) - same).max() <= _ROUNDING:
            return None, mode, ""
    return transform, mode, "".join(filter(str.isprintable, name)).strip()[:60] or "a profile"


def _samples(channels: int) -> np.ndarray:
    """Colours from all over the cube, or all greys."""
    if channels == 1:
        return np.arange(256, dtype=np.uint8)[None]
    levels = np.linspace(0, 255, 18).astype(np.uint8)
    red, green, blue = np.meshgrid(levels, levels, levels)
    return np.dstack([red.ravel(), green.ravel(), blue.ravel()])


def _way(image: Image.Image) -> Image.Transpose | None:
    """To turn a picture upright that was taken with the camera on its side."""
    try:
        return _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # of damaged EXIF data, about anything; the picture is whole all the same
        return None


def _line(error: Exception) -> str:
    """Messages of decoders may span lines; ours are one."""
    return " ".join(str(error).split()) or type(error).__name__
