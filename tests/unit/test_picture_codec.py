"""The codec as a tool: pictures to files and back by commands and from Python."""

import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import small_models
import tacolab
from tacolab import cli
from tacolab.codec import Elic, bundled
from tacolab.codec.bitstream import pack
from tacolab.codec.container import pack_container, unpack_container
from tacolab.codec.elic import Encoded
from tacolab.codec.network import load_network
from tacolab.codec.shape import LatentShape
from tacolab.errors import UserError
from tacolab.readers.picture_codec import PictureCodec, to_array

DOCS = Path(__file__).parents[2] / "docs"
REAL = bundled.MODELS
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    small_models.write(folder)
    return folder


@pytest.fixture(autouse=True)
def here(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.setattr(bundled, "MODELS", models)
    folder = tmp_path / "a folder, große"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """The program in this process: exit code, standard output, standard error."""

    def program(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tacolab", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        told = capfd.readouterr()
        code = stop.value.code
        assert isinstance(code, int)
        return code, told.out, told.err

    return program


def photo(width: int = 70, height: int = 50, seed: int = 0) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(seed).integers(0, 30, (height, width))
    planes = [200 * x / width + noise, 220 * y / height + noise, 90 + x * y / 400 + 0 * noise]
    return Image.fromarray(np.dstack(planes).clip(0, 255).astype(np.uint8))


def saved(image: Image.Image, name: str, **options: object) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def one_line(message: str) -> str:
    assert message.startswith("tacolab: ") and message.count("\n") == 1, message
    return message.removeprefix("tacolab: ").strip()


# -- commands --------------------------------------------------------------------------------------


def test_a_photo_there_and_back_with_no_more_than_its_name(run: Run) -> None:
    saved(photo(), "photo.jpg")
    code, out, err = run("compress", "photo.jpg")
    assert (code, err) == (0, "")
    code, told, _ = run("decompress", "photo.taco")
    assert code == 0 and told.startswith("photo.png: 70 x 50")
    with Image.open("photo.png") as decoded, Image.open("photo.jpg") as original:
        error = np.asarray(decoded).astype(float) - np.asarray(original)
        codec = tacolab.load("middle")
        again = codec.decompress(Path("photo.taco").read_bytes())
        assert np.array_equal(np.asarray(again), np.asarray(decoded))
    psnr = 10 * np.log10(255**2 / np.square(error).mean())
    size = Path("photo.taco").stat().st_size
    assert out.startswith(
        f"photo.taco: 70 x 50, {size:,} bytes, {8 * size / 3500:.3f} bpp, {psnr:.2f} dB"
    )


@pytest.mark.parametrize("rate", [*bundled.RATES, None])
def test_the_rate_chooses_the_model_which_decompress_finds_again(
    run: Run, rate: str | None
) -> None:
    saved(photo(), "a.png")
    assert run("compress", "a.png", *(("--rate", rate) if rate else ()))[0] == 0
    name = rate or "middle"
    digest = hashlib.sha256(bundled.path(name).read_bytes()).digest()
    model = unpack_container(Path("a.taco").read_bytes()).model
    assert digest.startswith(model) and bundled.name_of(model) == name
    assert run("decompress", "a.taco", "-o", "b.png")[0] == 0
    others = set(bundled.NAMES) - {name}
    with pytest.raises(UserError, match=r"the file: was made by model"):
        tacolab.load(others.pop()).decompress(Path("a.taco").read_bytes())


def test_a_caption_steers_and_is_not_stored(run: Run) -> None:
    saved(photo(), "a.png")
    for name, caption in (("dog", "a black dog"), ("cat", "a cat"), ("empty", "")):
        code, *_ = run("compress", "a.png", "--caption", caption, "-o", f"{name}.taco")
        assert code == 0
        content = Path(f"{name}.taco").read_bytes()
        assert b"black" not in content
        assert bundled.name_of(unpack_container(content).model) == "text"
    assert Path("dog.taco").read_bytes() != Path("cat.taco").read_bytes()
    assert run("decompress", "dog.taco")[0] == 0
    code, _, err = run("compress", "a.png", "--caption", "a dog", "--rate", "low")
    assert code == 2 and "middle rate" in one_line(err)
    model = bundled.path("text")
    code, _, err = run("compress", "a.png", "--model", model)
    assert code == 2 and "give a caption" in one_line(err)
    code, _, err = run("compress", "a.png", "--model", model, "--rate", "low")
    assert code == 2 and "give one of them" in one_line(err)
    code, _, err = run("compress", "a.png", "--caption", "caf\udce9")
    assert code == 2 and "no text" in one_line(err)


def test_a_model_of_ones_own_is_named_when_it_is_needed(run: Run) -> None:
    torch.manual_seed(0)
    own = small_models.save(Elic(8, 8, (2, 6)), Path("own"))
    saved(photo(), "a.png")
    assert run("compress", "a.png", "--model", own, "-o", "b.taco")[0] == 0
    identity = hashlib.sha256(own.read_bytes()).hexdigest()[:8]
    for command in ("decompress", "inspect"):
        code, out, err = run(command, "b.taco")
        if command == "decompress":
            assert code == 2 and re.match(rf"b\.taco: was made by model {identity}", one_line(err))
            assert "--model" in err
        else:
            assert code == 0 and f"{identity}: not bundled" in out
        code, _, err = run(command, "b.taco", "--model", bundled.path("low"))
        assert code == 2 and "was made by model" in one_line(err)
        assert run(command, "b.taco", "--model", own)[0] == 0


def test_files_folders_and_patterns_each_once(run: Run) -> None:
    for place, name in enumerate(("in/a.png", "in/b.jpg", "in/deep/c.webp", "d [1].png")):
        saved(photo(seed=place), name)
    for other in ("in/notes.txt", "in/.hidden.png"):
        Path(other).write_text("no picture")
    code, out, err = run("compress", "in", "in/**/*.webp", "in/a.png", "d [1].png")
    assert (code, err) == (0, "")
    made = {str(path) for path in Path().rglob("*.taco")}
    assert made == {"in/a.taco", "in/b.taco", "in/deep/c.taco", "d [1].taco"}
    assert out.splitlines()[-1].startswith("4 files: ")
    Path("out").mkdir()
    assert run("decompress", "in/*.taco", "-o", "out")[0] == 0
    assert {path.name for path in Path("out").iterdir()} == {"a.png", "b.png"}


def test_one_bad_picture_does_not_stop_the_others(run: Run) -> None:
    saved(photo(), "a.png")
    saved(photo(), "c.png")
    Path("b.png").write_text("no picture")
    code, out, err = run("compress", "a.png", "b.png", "gone.png", "c.png", "--json")
    assert code == 1
    told = json.loads(out)
    size = Path("a.taco").stat().st_size
    assert told["files"][0].items() >= {"input": "a.png", "output": "a.taco", "bytes": size}.items()
    assert told["total"].items() >= {"done": 2, "failed": 2, "bytes": 2 * size}.items()
    errors = {entry["input"]: entry["error"] for entry in told["files"] if "error" in entry}
    assert errors.keys() == {"b.png", "gone.png"}
    lines = err.splitlines()
    assert "b.png: is not an image" in lines[0] and "gone.png: cannot be read" in lines[1]
    assert lines[2:] == ["tacolab: 2 of 4 files could not be done, see above"]
    damaged = bytearray(Path("a.taco").read_bytes())
    damaged[-1] ^= 1
    Path("b.taco").write_bytes(damaged)
    code, _, err = run("decompress", "a.taco", "b.taco", "c.taco", "--force")
    assert code == 1 and "b.taco: is damaged or cut" in err
    assert not Path("b2.png").exists() and Path("b.png").read_text() == "no picture"


def test_no_file_is_lost(run: Run) -> None:
    saved(photo(), "a.png")
    saved(photo(), "a.jpg")
    Path("b").mkdir()
    saved(photo(), "b/a.png")
    code, _, err = run("compress", "a.png", "a.jpg", "--force")
    assert code == 1 and "a.jpg: would be written to a.taco, as a.png is" in err
    Path("a.taco").write_text("precious")
    code, _, err = run("compress", "a.png")
    assert code == 2 and one_line(err) == "a.taco: exists; --force replaces it"
    assert Path("a.taco").read_text() == "precious"
    assert run("compress", "a.png", "--force")[0] == 0
    code, _, err = run("compress", "a.png", "b/a.png", "-o", "a.png", "--force")
    assert code == 2 and "is no folder" in one_line(err)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("compress", "gone.png"), r"gone\.png: cannot be read \(No such file"),
        (("compress", "nothing"), "nothing: this folder holds nothing to read"),
        (("compress", "*.jpg"), r"\*\.jpg: no file is called so"),
        (("compress", "a.png", "-o", "no/a.taco"), "no: is no folder; make it first"),
        (("compress", "a.png", "-o", "a.png"), "a.png: is what is read"),
        (("compress", "a.png", "--model", "no.safetensors"), "no.safetensors: No such file"),
        (("compress", "a.png", "--json", "-o", "-"), "--json and the coded bytes cannot both"),
        (("compress", "-", "-o", "nothing"), "nothing: is a folder; for the standard input"),
        (("decompress", "a.png"), "a.png: is what is read"),
        (("decompress", "a.png", "-o", "b.png"), "a.png: is no file of tacolab"),
        (("decompress", "a.png", "-o", "b.jpg"), "b.jpg: write to one of .png"),
        (("inspect", "a.png"), "a.png: is no file of tacolab"),
        (("inspect", "nothing"), "nothing: cannot be read"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    run: Run, arguments: tuple[str, ...], says: str
) -> None:
    saved(photo(), "a.png")
    Path("nothing").mkdir()
    before = sorted(Path().rglob("*"))
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert re.match(says, one_line(err)), err
    assert sorted(Path().rglob("*")) == before


def test_in_a_pipe(run: Run, monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    source = saved(photo(), "a.png")
    program = [sys.executable, "-c", PIPED, str(bundled.MODELS)]
    coded = subprocess.run([*program, "compress", "-"], input=source.read_bytes(), check=True,
                           capture_output=True)  # fmt: skip
    assert run("compress", source)[0] == 0
    assert coded.stdout == Path("a.taco").read_bytes()
    assert b"70 x 50" in coded.stderr
    decoded = subprocess.run([*program, "decompress", "-"], input=coded.stdout, check=True,
                             capture_output=True)  # fmt: skip
    assert run("decompress", "a.taco", "-o", "b.png")[0] == 0
    assert decoded.stdout == Path("b.png").read_bytes()


PIPED = """
import sys
from pathlib import Path
from tacolab import cli
from tacolab.codec import bundled
bundled.MODELS = Path(sys.argv.pop(1))
cli.main()
"""


def test_inspect_tells_where_the_bytes_are(run: Run) -> None:
    saved(photo(200, 130), "a.png")
    run("compress", "a.png")
    code, out, _ = run("inspect", "a.taco", "--json")
    told = json.loads(out)
    size = Path("a.taco").stat().st_size
    assert code == 0
    assert (told["width"], told["height"], told["bytes"]) == (200, 130, size)
    assert (told["bundled"], told["version"]) == ("middle", 3)
    parts = {part["part"]: part for part in told["parts"]}
    assert sum(part["bytes"] for part in told["parts"]) == pytest.approx(size, abs=0.5)
    assert [parts[f"y group {n}"]["channels"] for n in (1, 2, 3)] == [4, 8, 12]
    assert all(parts[f"y group {n}"]["bytes"] > 0 for n in (1, 2, 3))
    assert parts["z"]["bytes"] == len(unpack_container(Path("a.taco").read_bytes()).z_string)
    assert 4 <= parts["y end of stream"]["bytes"] <= 8
    code, out, _ = run("inspect", "a.taco")
    assert code == 0 and "bundled as middle" in out and "y group 3 (12 channels)" in out
    # Without its model there are no groups, and no more is claimed.
    own = small_models.save(Elic(8, 8, (2, 6)), Path("own"))
    run("compress", "a.png", "--model", own, "-o", "own.taco")
    _, out, _ = run("inspect", "own.taco", "--json")
    assert [part["part"] for part in json.loads(out)["parts"]] == ["header", "z", "y"]


def test_a_file_of_the_version_before_is_decoded(run: Run) -> None:
    content = tacolab.load("low").compress(photo())
    found = unpack_container(content)
    identity = hashlib.sha256(bundled.path("low").read_bytes()).digest()[:8]
    start = struct.pack(">4sB8sI", b"tclb", 2, identity, found.checksum)
    payload = pack(found.strings, found.shape)
    crc = struct.pack(">I", zlib.crc32(start + payload))
    Path("old.taco").write_bytes(start + crc + payload)
    assert run("decompress", "old.taco")[0] == 0
    with Image.open("old.png") as image:
        assert np.array_equal(np.asarray(image), tacolab.load("low").decompress(content))
    code, out, _ = run("inspect", "old.taco")
    assert code == 0 and "container version 2" in out and "bundled as low" in out


def test_sizes_that_memory_does_not_hold_are_refused_before_it_is_taken(run: Run) -> None:
    """A forged file whose checksum is right. Where there is so much memory, z ends too early."""
    content = tacolab.load().compress(photo())
    found = unpack_container(content)
    encoded = Encoded(
        *(found.y_string, found.z_string, LatentShape.of(16384, 16384), found.checksum),
        *(0.0, 0.0, torch.zeros(0)),
    )
    Path("bomb.taco").write_bytes(pack_container(encoded, found.model))
    for command in ("decompress", "inspect"):
        code, _, err = run(command, "bomb.taco")
        assert code == 2
        assert re.match("bomb.taco: .*(GB of memory|decodes to other|is damaged)", one_line(err))
    assert not Path("bomb.png").exists()


# -- pictures --------------------------------------------------------------------------------------


def turned(image: Image.Image) -> dict[str, object]:
    exif = Image.Exif()
    exif[0x0112] = 6
    return {"exif": exif}


KINDS: dict[str, tuple[str, Callable[[], Image.Image]]] = {
    "grey": ("png", lambda: photo().convert("L")),
    "bits": ("png", lambda: photo().convert("1")),
    "palette": ("gif", lambda: photo().quantize()),
    "deep": ("png", lambda: Image.fromarray(np.asarray(photo().convert("L")).astype("u2") * 257)),
    "cmyk": ("jpg", lambda: photo().convert("CMYK")),
    "opaque": ("png", lambda: photo().convert("RGBA")),
    "jpeg 2000": ("jp2", photo),
    "webp": ("webp", photo),
    "one pixel": ("png", lambda: photo(1, 1)),
    "a line": ("png", lambda: photo(1, 5000)),
    "a row": ("png", lambda: photo(5000, 1)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_any_picture_of_pillow(kind: str) -> None:
    """The decoded picture has the size and, as far as these weights go, the colours."""
    form, make = KINDS[kind]
    image = make()
    path = saved(image, f"a.{form}")
    codec = tacolab.load()
    content = codec.compress(path)
    decoded = codec.decompress(content)
    assert (decoded.size, decoded.mode) == (image.size, "RGB")
    with Image.open(path) as opened:
        assert codec.compress(opened) == content
    assert codec.compress(to_array(path)) == content


def test_a_picture_in_memory_is_turned_upright_as_its_file_is() -> None:
    path = saved(photo(), "a.jpg", **turned(photo()))
    with Image.open(path) as image:
        assert to_array(image).shape == to_array(path).shape == (70, 50, 3)
        assert np.array_equal(to_array(image), to_array(path))


def test_what_would_be_lost_is_refused(run: Run) -> None:
    clear = photo().convert("RGBA")
    clear.putpixel((3, 3), (1, 2, 3, 254))
    saved(clear, "clear.png")
    saved(photo(), "moving.gif", save_all=True, append_images=[photo(seed=1)])
    saved(photo(), "moving.webp", save_all=True, append_images=[photo(seed=1)])
    saved(photo(), "pages.tiff", save_all=True, append_images=[photo(seed=1)])
    for name, says in (
        ("clear.png", "is transparent in places"),
        ("moving.gif", "holds several pictures"),
        ("moving.webp", "holds several pictures"),
        ("pages.tiff", "holds several pictures"),
    ):
        code, _, err = run("compress", name)
        assert code == 2 and one_line(err).startswith(f"{name}: {says}")
        with pytest.raises(UserError, match=f"the picture: {says}"), Image.open(name) as image:
            tacolab.load().compress(image)
    assert not [*Path().glob("*.taco")]
    # The previews that cameras put behind a photo are no further pictures.
    saved(photo(), "camera.mpo", save_all=True, append_images=[photo(16, 16)])
    assert run("compress", "camera.mpo")[0] == 0


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_an_array_of_another_kind_is_refused(image: np.ndarray) -> None:
    with pytest.raises(UserError, match="must be H x W x 3 of uint8"):
        tacolab.load().compress(image)


# -- from Python -----------------------------------------------------------------------------------


def test_the_example_in_the_documentation(models: Path) -> None:
    saved(photo(), "photo.jpg")
    (example,) = re.findall(r"```python\n(.*?)```", (DOCS / "codec.md").read_text(), re.S)
    exec(example, {})
    with Image.open("decoded.png") as decoded:
        assert decoded.size == (70, 50)


def test_a_model_with_other_numbers_than_were_written_is_refused(models: Path) -> None:
    """It would code every picture, only worse."""
    shutil.copytree(models / "middle", "mine")
    path = Path("mine/model.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"mine/model\.safetensors: damaged \(other bytes"):
        tacolab.load(path)


def test_a_name_that_is_no_model_is_refused_with_those_that_are() -> None:
    with pytest.raises(UserError, match=r"highest: .*\(low, middle, high, text\)"):
        tacolab.load("highest")


def test_half_precision_files_mean_exactly_their_numbers() -> None:
    """So that encoder and decoder, and every later version, compute with the same."""
    path = bundled.path("middle")
    network = load_network(path, {"text": None})
    weights = load_file(path)
    assert {value.dtype for value in weights.values()} > {torch.float16}
    for name, value in network.state_dict().items():
        assert value.dtype != torch.float16
        assert torch.equal(value, weights[name].to(value.dtype))


@pytest.mark.parametrize("name", bundled.NAMES)
def test_the_models_of_the_package(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is found by its identity, says what it reads, and codes."""
    monkeypatch.setattr(bundled, "MODELS", REAL)
    codec = PictureCodec.load(name)
    told = json.loads(codec.path.with_name("model.json").read_text())
    assert told["sha256"] == {codec.path.name: codec.identity.hex()}
    assert bundled.sha256(bundled.name_of(codec.identity) or "") == codec.identity.hex()
    # In fp16 the least likelihood would be 0, and the bits of a symbol without end.
    bounds = {n: v for n, v in Elic(8, 8, (8,)).named_buffers() if n.endswith(".bound")}
    found = dict(codec.network.named_buffers())
    assert bounds and all(torch.equal(found[name], value) for name, value in bounds.items())
    content = codec.compress(photo(256, 256), "" if name == bundled.TEXT else None)
    assert codec.decompress(content).size == (256, 256)
    assert sum(file.stat().st_size for file in REAL.rglob("*")) < 24 * 2**20


def test_importing_the_package_imports_nothing_dear() -> None:
    told = "import sys, tacolab; print(*{'torch', 'PIL', 'pydantic', 'typer'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == ""


def test_the_documented_header_is_read_so() -> None:
    """docs/format.md shows a small file byte by byte."""
    rows = re.findall(
        r"^\| (\d+) \| (\d+) \| `([0-9a-f ]+)` \|", (DOCS / "format.md").read_text(), re.M
    )
    content = b""
    for offset, size, shown in rows:
        assert len(content) == int(offset)
        part = bytes.fromhex(shown)
        assert len(part) == int(size)
        content += part
    found = unpack_container(content)
    assert found.shape.picture == (300, 200)
    assert PictureCodec.load("low").identity[:4] != found.model == bytes.fromhex("1a2b3c4d")
    assert (found.checksum, len(found.z_string), len(found.y_string)) == (0x01234567, 8, 12)
