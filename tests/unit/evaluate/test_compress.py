"""Single pictures: read as data sets are, and no file is lost to the output."""

import hashlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from PIL import Image, ImageCms
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_evaluation import find, plan

from tacolab import cli
from tacolab.codec import Elic
from tacolab.codec.container import unpack_container
from tacolab.codec.weights import CODING_TABLE
from tacolab.errors import UserError
from tacolab.files import intact
from tacolab.readers.packed import Packed
from tacolab.readers.picture_codec import PictureCodec
from tacolab.stages.evaluate.decode import StreamDecoder

Run = Callable[..., None]


@pytest.fixture
def model(folder: Path) -> Path:
    return find(plan(), "code", arm="image-only").inputs["model"].path


@pytest.fixture
def run(model: Path) -> Run:
    """A command with the model; raises what the program would print."""

    def command(*arguments: str | Path) -> None:
        cli.app([*map(str, arguments), "--model", str(model)], standalone_mode=False)

    return command


@pytest.fixture
def picture(folder: Path) -> Path:
    path = folder / "a.png"
    Image.effect_noise((70, 50), 60).convert("RGB").save(path)
    return path


def refused(run: Run, message: str, *arguments: str | Path) -> None:
    with pytest.raises(UserError, match=message) as error:
        run(*arguments)
    assert "\n" not in str(error.value)


def test_the_input_is_never_written(run: Run, picture: Path, model: Path) -> None:
    link, second = picture.with_name("link.png"), picture.with_name("hard.png")
    link.symlink_to(picture)
    second.hardlink_to(picture)
    kept = {path: path.read_bytes() for path in (picture, model, model.with_name("model.json"))}
    for output in (*kept, link, second, picture.parent / "results" / ".." / picture.name):
        for options in ([], ["--force"]):
            refused(run, "is what is read", "compress", picture, "-o", output, *options)
    run("compress", picture, "-o", "a.taco")
    Path("a.taco").rename("b.png")
    refused(run, "is what is read", "decompress", "b.png", "-o", "b.png", "--force")
    assert all(path.read_bytes() == content for path, content in kept.items())


def test_an_existing_output_is_replaced_only_on_request(run: Run, picture: Path) -> None:
    for name, arguments in (
        ("a.taco", ("compress", picture)),
        ("out.png", ("decompress", "a.taco")),
    ):
        run(*arguments, "-o", name)
        content = Path(name).read_bytes()
        Path(name).write_text("precious")
        refused(run, f"^{name}: exists; --force", *arguments, "-o", name)
        assert Path(name).read_text() == "precious"
        run(*arguments, "-o", name, "--force")
        assert Path(name).read_bytes() == content


def test_an_output_that_is_no_file_is_refused_in_one_line(run: Run, picture: Path) -> None:
    Path("there/a.taco").mkdir(parents=True)
    os.mkfifo("pipe")
    for options in ([], ["--force"]):
        refused(run, "there/a.taco: is a folder", "compress", picture, "-o", "there", *options)
        refused(run, "is no regular file", "compress", picture, "-o", "pipe", *options)
    refused(run, "a.png: is no folder", "compress", picture, "-o", picture / "below.taco")
    assert Path("pipe").is_fifo()


def test_a_damaged_jpeg_is_refused_and_nothing_is_written(run: Run, picture: Path) -> None:
    content = io.BytesIO()
    Image.open(picture).save(content, "JPEG")
    Path("cut.jpg").write_bytes(content.getvalue()[:-500] + b"\xff\xd9")
    refused(run, r"^cut\.jpg: is damaged \(", "compress", "cut.jpg", "-o", "cut.taco")
    refused(run, r"^no\.jpg: cannot be read", "compress", "no.jpg", "-o", "cut.taco")
    assert not Path("cut.taco").exists()


def test_what_is_compressed_is_the_upright_srgb_picture(
    run: Run, picture: Path, model: Path
) -> None:
    """The same file as that of the converted picture."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    linear = srgb.tobytes().replace(
        b"para\0\0\0\0\0\3\0\0\0\2\x66\x66", b"para\0\0\0\0\0\3\0\0\0\1\0\0"
    )
    assert linear != srgb.tobytes()
    exif = Image.Exif()
    exif[0x0112] = 8
    stored = Image.open(picture)
    stored.save("stored.png", icc_profile=linear, exif=exif)
    source = ImageCms.ImageCmsProfile(io.BytesIO(linear))
    seen = ImageCms.profileToProfile(stored, source, ImageCms.createProfile("sRGB"))
    seen.transpose(Image.Transpose.ROTATE_90).save("seen.png", icc_profile=None)
    contents = []
    for name in ("stored", "seen"):
        run("compress", f"{name}.png", "-o", f"{name}.taco")
        contents.append(Path(f"{name}.taco").read_bytes())
    assert contents[0] == contents[1]
    assert (
        hashlib.sha256(model.read_bytes()).digest().startswith(unpack_container(contents[0]).model)
    )
    assert PictureCodec(model).decompress(contents[0]).size == (50, 70)


def test_codes_of_pictures_as_they_were_stored_are_not_measured_against_converted_ones(
    folder: Path, undisturbed: Path
) -> None:
    """A data set of an earlier version was packed again; its codes are older."""
    code = find(plan(), "code")
    code.folder.mkdir(parents=True)
    for path in code.files:
        path.write_bytes((undisturbed / path).read_bytes())
    cpu = torch.device("cpu")
    path = next(code.inputs["data"].folder.glob("*.arrow"))
    rows = pa.ipc.open_stream(path.read_bytes()).read_all()
    done = pa.array(["turned", *[""] * (len(rows) - 1)])
    at = rows.column_names.index("conversion")
    rows = rows.set_column(at, rows.schema.field("conversion"), done)
    with pa.ipc.new_stream(path, rows.schema) as stream:
        stream.write_table(rows)
    assert any(Packed(path.parent).conversions)
    assert len(StreamDecoder(code, cpu).rows) == 6
    description = json.loads(code.files[2].read_text())
    del description["converts"]
    code.files[2].write_text(json.dumps(description))
    with pytest.raises(UserError, match=r"1 of 3 pictures were coded without .*delete .*again"):
        StreamDecoder(code, cpu)


def test_a_model_of_an_earlier_version_gets_its_coding_tables_once(
    run: Run, picture: Path, model: Path
) -> None:
    """It was exported without; its weights and what it is called by stay."""
    weights = load_file(model)
    empty = {n: w[:0] if CODING_TABLE.fullmatch(n) else w for n, w in weights.items()}
    save_file(empty, model, {"made_by": "step 7"})
    description = model.with_name("model.json")
    told = json.loads(description.read_text())
    description.write_text(json.dumps(told | {"sha256": intact.sha256(model)}))
    epoch = model.with_name("epoch-1.safetensors")
    save_file(empty, epoch)
    refused(run, "no coding tables.*tacolab upgrade", "compress", picture, "-o", "out.taco")
    for _ in range(2):
        cli.app(["upgrade", str(model), str(epoch)], standalone_mode=False)
        for path in (model, epoch):
            found = load_file(path)
            assert found.keys() == weights.keys()
            assert all(torch.equal(found[name], weights[name]) for name in weights)
        told = json.loads(description.read_text())
        assert told["sha256"] == intact.sha256(model) and "text" in told
        with safe_open(model, "pt") as file:
            assert file.metadata() == {"made_by": "step 7"}
    run("compress", picture, "-o", "out.taco")
    with pytest.raises(UserError, match=r"1 of 2 files were left as they are"):
        cli.app(["upgrade", str(picture), str(model)], standalone_mode=False)


def test_a_picture_beyond_every_file_is_refused_before_it_is_coded(
    run: Run, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def coded(*_: object) -> None:
        raise AssertionError("coded in vain")

    monkeypatch.setattr(Elic, "encode", coded)
    Image.new("RGB", (1, 4_194_305)).save(picture)
    refused(run, r"a\.png: a picture of 4194305 x 1 pixels", "compress", picture, "-o", "a.taco")


def describe(model: Path) -> None:
    """As if its bytes were those that a training had written."""
    description = model.with_name("model.json")
    told = json.loads(description.read_text())
    description.write_text(json.dumps(told | {"sha256": intact.sha256(model)}))


def test_a_model_that_shows_no_picture_writes_none(run: Run, picture: Path, model: Path) -> None:
    run("compress", picture, "-o", "out.taco")
    weights = load_file(model)
    weights["g_s.synthesis_transform.3.branch.0.weight"][0] = torch.nan
    save_file(weights, model)
    refused(run, "damaged", "decompress", "out.taco", "-o", "out.png")
    describe(model)
    refused(run, "made by model", "decompress", "out.taco", "-o", "out.png")
    refused(run, r"a\.png: .*not finite", "compress", picture, "-o", "other.taco")
    Path("other.taco").write_bytes(PictureCodec(model).compress(picture))
    refused(run, "not finite", "decompress", "other.taco", "-o", "out.png")
    weights["g_a.analysis_transform.3.branch.0.weight"][0] = torch.nan
    save_file(weights, model)
    describe(model)
    refused(run, r"a\.png: .*not finite", "compress", picture, "-o", "third.taco")
    assert not Path("out.png").exists() and not Path("third.taco").exists()
