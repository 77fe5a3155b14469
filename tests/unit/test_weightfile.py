"""Weight files of others: plain data is read, nothing is executed, and what is none is named."""

import argparse
import copy
import datetime
import gzip
import io
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPTextModel

from tacolab.errors import UserError
from tacolab.files import torch_files
from tacolab.text.pretrained import pretrained

WEIGHTS = {"g_a.weight": torch.arange(3.0)}
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 123456\n"
NOTES = {
    "loss": np.float64(0.25),
    "best": np.float32(30.1),
    "epoch_": np.int64(49),
    "done": np.bool_(True),
    "name": np.str_("taco"),
    "curve": np.linspace(0, 1, 5),
    "words": np.array(["a", None], dtype=object),
    "kind": np.float32,
    "order": np.dtype(">f4"),
    "args": argparse.Namespace(lr=1e-4, save=Path("out")),
    "day": datetime.datetime(2024, 5, 1),
    "torch": torch.torch_version.TorchVersion("2.1.0"),
    "frozen": frozenset({1, 2}),
}


def read(path: Path) -> Any:
    with path.open("rb") as file:
        return torch_files.read(file, path)


class Code:
    """What a pickle of bad will looks like: reading it calls a function."""

    def __init__(self, *what: Any) -> None:
        self.what = what

    def __reduce__(self) -> Any:
        return self.what


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("note", NOTES)
def test_notes_beside_weights_are_plain_data(note: str, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "model.pth.tar"
    content = {"state_dict": WEIGHTS, note: NOTES[note], "epoch": 3}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    found = read(path)
    assert torch.equal(found["state_dict"]["g_a.weight"], WEIGHTS["g_a.weight"])
    assert found["epoch"] == 3


def test_numpys_other_generation_of_names_is_known(tmp_path: Path) -> None:
    """Of numpy 1 where numpy 2 is installed, and the other way round."""
    file = io.BytesIO()
    content = {"state_dict": WEIGHTS, "loss": np.float64(1)}
    torch.save(content, file, _use_new_zipfile_serialization=False)
    path = tmp_path / "model.pt"
    for here, there in ((b"numpy.core.", b"numpy._core."), (b"numpy._core.", b"numpy.core.")):
        path.write_bytes(file.getvalue().replace(here, there))
        assert torch.equal(read(path)["state_dict"]["g_a.weight"], WEIGHTS["g_a.weight"])


def test_bytes_never_become_addresses(tmp_path: Path) -> None:
    """With a dtype of objects that denies it numpy follows any pointer: nothing is made of it."""
    denied = (3, "|", None, None, None, -1, -1, 0)
    forged = Code(np.dtype, ("O", False, True), denied)
    path = tmp_path / "model.pt"
    torch.save(WEIGHTS | {"note": Code(np.ndarray, ((1,), forged, b"\x01" * 8))}, path)
    assert not isinstance(read(path)["note"], np.ndarray)


def archive(path: Path, kind: str) -> None:
    (path.parent / "inner").mkdir()
    (path.parent / "inner/weights.pth").write_text("weights")
    shutil.move(shutil.make_archive(str(path), kind, path.parent, "inner"), path)


HARMLESS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pointer": (lambda path: path.write_text(POINTER), r"pointer of Git LFS.*git lfs pull"),
    "safetensors": (lambda path: save_file(WEIGHTS, path), "is a file of safetensors"),
    "a page": (lambda path: path.write_text(" <!DOCTYPE html><html>"), "is a web page"),
    "a zip": (lambda path: archive(path, "zip"), "is an archive; unpack it"),
    "a tar": (lambda path: archive(path, "tar"), "is an archive; unpack it"),
    "gzip": (lambda path: path.write_bytes(gzip.compress(b"weights")), "is an archive; unpack it"),
    "nothing": (lambda path: path.write_bytes(b""), "cut off or damaged"),
    "a text": (lambda path: path.write_text("codec:\nfoo: bar\n"), "cut off or damaged"),
    "noise": (
        lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)),
        "cut off or damaged",
    ),
    "a plain pickle": (lambda path: path.write_bytes(pickle.dumps({"a": [1.0]})), "torch.save"),
    "numpy's pickle": (lambda path: path.write_bytes(pickle.dumps(np.ones(3))), "torch.save"),
    "a newer pickle": (lambda path: torch.save(WEIGHTS, path, pickle_protocol=4), "of pickle"),
}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("what", HARMLESS)
def test_another_kind_of_file_is_named_as_such(what: str, tmp_path: Path) -> None:
    make, message = HARMLESS[what]
    path = tmp_path / "model.pth"
    make(path)
    with pytest.raises(UserError, match=message) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)
    assert "run code" not in str(error.value)


@pytest.mark.parametrize("how", ["packed", "overlapping"])
def test_what_unpacks_to_more_than_the_file_is_not_opened(how: str, tmp_path: Path) -> None:
    """A hundred megabytes of zeros in some kilobytes; or one stretch of bytes named many times."""
    path, whole = tmp_path / "bomb.pth", io.BytesIO()
    torch.save(WEIGHTS, whole)
    with zipfile.ZipFile(whole) as archive, zipfile.ZipFile(path, "w") as bomb:
        for name in archive.namelist():
            bomb.writestr(name, archive.read(name))
        if how == "packed":
            bomb.writestr("archive/data/1", bytes(10**8), zipfile.ZIP_DEFLATED)
        else:
            bomb.writestr("archive/data/1", bytes(10**5))
            for i in range(2, 100):
                again = copy.copy(bomb.infolist()[-1])
                again.filename = f"archive/data/{i}"
                bomb.filelist.append(again)
    with pytest.raises(UserError, match=r"bomb\.pth: holds more than its size .* was not opened"):
        read(path)


@pytest.mark.parametrize("cut", [3, 100, 1000])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_cut_off_is_damaged_and_no_code(cut: int, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    content = {"state_dict": {"w": torch.zeros(500)}, "loss": np.float64(1)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(UserError, match="cut off or damaged; fetch it again"):
        read(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("how", ["zip", "old", "protocol 4", "pickle", "pickle of text"])
def test_what_could_run_code_is_said_to_and_does_not(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pt"
    content = {
        "state_dict": WEIGHTS,
        "loss": np.float64(1),
        "x": Code(os.system, ("touch ran",)),
    }
    if how.startswith("pickle"):
        path.write_bytes(pickle.dumps(content["x"], 0 if how == "pickle of text" else None))
    elif how == "protocol 4":
        torch.save(content, path, pickle_protocol=4)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(UserError, match=r"model\.pt: .*posix\.system.*could run code"):
        read(path)
    assert not Path("ran").exists()


def test_a_clone_without_lfs_is_named_where_a_models_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "clip_text_model"}')
    (tmp_path / "model.safetensors").write_text(POINTER)
    with pytest.raises(UserError, match=r"model\.safetensors: is a pointer of Git LFS"):
        pretrained(CLIPTextModel, str(tmp_path))
