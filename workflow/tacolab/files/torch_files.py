"""Files of `torch.save` made elsewhere: read as plain data alone, and named where they are no such.

Imports torch only in `read`.
"""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from tacolab.errors import UserError
from tacolab.files.git_lfs import POINTER, POINTS

ARCHIVES = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd")

DAMAGED = "is not a whole file of torch.save: cut off or damaged; fetch it again"

# Beside weights people store notes of these kinds. To make one runs no code, but numpy can be
# led to take bytes for addresses in memory. Nobody reads the notes, so none is made.
_NOTES = (
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core")
      for name in ("scalar", "_reconstruct")),
    *("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"),
    *("numpy.ndarray", "numpy.dtype"),
    *{f"numpy.{kind.__name__}" for kind in np.sctypeDict.values()},
    *(f"datetime.{name}" for name in ("date", "datetime", "time", "timedelta", "timezone")),
    *(f"pathlib.{kind}{name}" for kind in ("", "Pure") for name in ("PosixPath", "WindowsPath")),
    *("pathlib.Path", "pathlib.PurePath", "argparse.Namespace", "types.SimpleNamespace"),
    *("builtins.frozenset", "builtins.range", "builtins.slice", "torch.torch_version.TorchVersion"),
)  # fmt: skip
# What torch makes of weights themselves.
_WEIGHTS = re.compile(
    r"collections\.(OrderedDict|Counter)|_codecs\.encode|builtins\.(set|bytearray|complex)"
    r"|torch\.(Size|device|Tensor|\w*Storage|[a-z]+\d+)|torch\.storage\.\w+|torch\._utils\._rebuild_\w+"
    r"|torch\.nn\.parameter\.Parameter"
)


class _Note:
    """Stands where the file has something that is not looked at."""

    def __new__(cls, *_: object) -> _Note:
        return super().__new__(cls)

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


def read(file: IO[bytes], path: Path) -> Any:
    """The content of a file of `torch.save` on the CPU; nothing in it is ever executed.

    Numbers of numpy, dates, paths and the like are no longer what they were. Raises UserError,
    which names `path`, where it is another kind of file, damaged, or holds what could run code.
    """
    import torch

    if other := kind(file):
        raise UserError(f"{path}: {other}")
    notes: list[Any] = [(_Note, name) for name in _NOTES]
    refused = False
    try:
        with torch.serialization.safe_globals(notes):
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        refused = True
    except Exception:  # a damaged pickle leads to any
        pass
    pickles = _pickles(file)
    if names := list(dict.fromkeys(name for names in pickles for name in names)):
        shown = ", ".join(names[:3])
        raise UserError(
            f"{path}: holds more than weights ({shown}), which could run code when it is read, "
            "and was not opened; take the state dict alone from its authors"
        )
    if refused and pickles:
        raise UserError(
            f"{path}: is no file as torch.save writes it by default (another program or another "
            "protocol of pickle), and was not opened; write it with torch.save(WEIGHTS, FILE)"
        )
    raise UserError(f"{path}: {DAMAGED}")


def kind(file: IO[bytes]) -> str | None:
    """What another kind of file this is and what to do, or None where it may be of torch.save."""
    head = file.read(512)
    file.seek(0)
    if head.startswith(POINTER):
        return POINTS
    if head[8:10] in (b'{"', b"{}", b"{ "):  # after the length of the header
        return (
            "is a file of safetensors, not of torch.save; convert it: "
            "`torch.save(safetensors.torch.load_file(OLD), NEW)`"
        )
    if head.lstrip()[:1] == b"<":
        return (
            "is a web page, not weights (Google Drive asks before it gives a large file); load it "
            "in a browser, or with gdown"
        )
    if head.startswith(b"PK"):
        try:
            with zipfile.ZipFile(file) as archive:
                members = {name.rpartition("/")[2] for name in archive.namelist()}
                content = sum(member.file_size for member in archive.infolist())
        except Exception:  # of a damaged list of members, about anything
            return DAMAGED
        if content > file.seek(0, os.SEEK_END):
            return (
                "holds more than its size (torch.save packs nothing), and was not opened; unpack "
                "it, and write the weights with torch.save(WEIGHTS, FILE)"
            )
        if "data.pkl" not in members:
            return "is an archive; unpack it, and name the file of weights in it"
        if "constants.pkl" in members:
            return (
                "is a program of TorchScript, which could run code when it is read, and was not "
                "opened; take the state dict alone from its authors"
            )
    file.seek(0)
    if head.startswith(ARCHIVES) or head[257:262] == b"ustar":
        return "is an archive; unpack it, and name the file of weights in it"
    return None


def _pickles(file: IO[bytes]) -> list[list[str]]:
    """For each whole pickle in a file what it names besides weights and notes."""
    file.seek(0)
    try:
        if not zipfile.is_zipfile(file):
            file.seek(0)
            return list(_named(file))
        with zipfile.ZipFile(file) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
            return list(_named(io.BytesIO(archive.read(name))))
    except Exception:  # of a damaged archive, about anything
        return []


def _named(file: IO[bytes]) -> Iterator[list[str]]:
    """Of one pickle after another, at most as many as torch.save once wrote. Only looks."""
    for _ in range(5):
        names: list[str] = []
        words: list[Any] = []  # what was pushed, and may be half of a name
        memo: dict[int, Any] = {}
        try:
            value: Any
            for code, value, _ in pickletools.genops(file):
                if code.name in ("GLOBAL", "INST"):
                    names.append(value.replace(" ", ".").replace("__builtin__", "builtins"))
                elif code.name == "STACK_GLOBAL":
                    names.append(".".join(map(str, words[-2:])))
                elif code.name in ("MEMOIZE", "BINPUT", "LONG_BINPUT"):
                    memo[len(memo) if value is None else value] = words[-1] if words else None
                else:
                    words.append(memo.get(value) if code.name.endswith("BINGET") else value)
        except Exception:  # no pickle, or not all of it
            return
        yield [name for name in names if name not in _NOTES and not _WEIGHTS.fullmatch(name)]
