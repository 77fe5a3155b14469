"""Damage to files, drawn from a seed: what disks, networks and people of bad will make of them."""

import io
import random
import re
import struct
import zipfile

EXTREMES = (
    0,
    1,
    2,
    2**7,
    2**8 - 1,
    2**15,
    2**16 - 1,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63,
    2**64 - 1,
)
NUMBERS = (
    *(str(number) for number in EXTREMES),
    "-1",
    "1e999",
    "-9" * 30,
    "NaN",
    "null",
    "[]",
    "{}",
)
_DIGITS = re.compile(rb"\d+")


def mutate(content: bytes, numbers: random.Random) -> bytes:
    """One to four kinds of damage, one after another."""
    for _ in range(numbers.choice((1, 1, 1, 2, 4))):
        content = numbers.choice(KINDS)(content, numbers)
    return content


def flip(content: bytes, numbers: random.Random) -> bytes:
    """A few bits."""
    damaged = bytearray(content)
    for _ in range(numbers.choice((1, 1, 2, 8)) if damaged else 0):
        damaged[numbers.randrange(len(damaged))] ^= 1 << numbers.randrange(8)
    return bytes(damaged)


def overwrite(content: bytes, numbers: random.Random) -> bytes:
    """A stretch of zeros, of ones or of noise."""
    start, stop = _stretch(content, numbers)
    fill = numbers.choice((bytes, lambda n: b"\xff" * n, numbers.randbytes))
    return content[:start] + fill(stop - start) + content[stop:]


def cut(content: bytes, numbers: random.Random) -> bytes:
    """The end is missing; now and then all of it."""
    return content[: numbers.choice((0, numbers.randint(0, len(content)), len(content) - 1))]


def lengthen(content: bytes, numbers: random.Random) -> bytes:
    """Something follows that does not belong there."""
    more = numbers.choice((bytes(1), bytes(4096), numbers.randbytes(9), content))
    return content + more


def swap(content: bytes, numbers: random.Random) -> bytes:
    """Two neighbouring stretches in the wrong order."""
    first, middle, last = sorted(numbers.randint(0, len(content)) for _ in range(3))
    return content[:first] + content[middle:last] + content[first:middle] + content[last:]


def repeat(content: bytes, numbers: random.Random) -> bytes:
    """A stretch twice."""
    start, stop = _stretch(content, numbers)
    return content[:stop] + content[start:]


def leave_out(content: bytes, numbers: random.Random) -> bytes:
    """A stretch is missing."""
    start, stop = _stretch(content, numbers)
    return content[:start] + content[stop:]


def set_field(content: bytes, numbers: random.Random) -> bytes:
    """A number of 1 to 8 bytes, most of them near an end, where headers stand, is an extreme, or
    one more or less than it was."""
    size, code = numbers.choice(((1, "B"), (2, "H"), (4, "I"), (4, "I"), (8, "Q")))
    if len(content) < size:
        return content
    last = len(content) - size
    place = numbers.choice((min(last, numbers.randrange(64)), numbers.randint(0, last)))
    if numbers.random() < 0.3:
        place = last - place
    field = struct.Struct(numbers.choice("<>") + code)
    (was,) = field.unpack_from(content, place)
    value = numbers.choice((*EXTREMES, was + 1, was - 1, 2 * was, len(content)))
    damaged = bytearray(content)
    field.pack_into(damaged, place, value % 256**size)
    return bytes(damaged)


def set_digits(content: bytes, numbers: random.Random) -> bytes:
    """A number that is spelled out, as in JSON, is another."""
    found = list(_DIGITS.finditer(content[:20_000]))
    if not found:
        return content
    which = numbers.choice(found)
    return content[: which.start()] + numbers.choice(NUMBERS).encode() + content[which.end() :]


KINDS = (flip, flip, overwrite, cut, lengthen, swap, repeat, leave_out, set_field, set_digits)


def in_archive(content: bytes, numbers: random.Random) -> bytes:
    """A zip whose checksums are right and one of whose members is damaged, twice there, missing,
    packed, or has another name."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    chosen = numbers.choice(list(members))
    how = numbers.choice(("damaged",) * 6 + ("twice", "missing", "packed", "renamed"))
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, member in members.items():
            if name != chosen:
                archive.writestr(name, member)
            elif how == "damaged":
                archive.writestr(name, mutate(member, numbers))
            elif how == "twice":
                archive.writestr(name, member)
                archive.writestr("again", mutate(member, numbers))
                archive.infolist()[-1].filename = name
            elif how == "packed":
                archive.writestr(name, member, zipfile.ZIP_DEFLATED)
            elif how == "renamed":
                archive.writestr(numbers.choice(("../" + name, "/" + name, name + "x")), member)
    return written.getvalue()


def _stretch(content: bytes, numbers: random.Random) -> tuple[int, int]:
    """Where a stretch begins and ends: mostly a few bytes."""
    start = numbers.randint(0, len(content))
    longest = numbers.choice((1, 4, 8, 64, len(content)))
    return start, min(len(content), start + numbers.randint(0, longest))
