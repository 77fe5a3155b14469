"""The files that are damaged by `fuzz.py`, and the reader of each, as the project calls it.

Smallest ones: pictures of 64 x 64 pixels and a codec of two channels. All is made here from fixed
numbers, so that a seed and a number mean the same damage again.
"""

import hashlib
import io
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import save_file

import authors_file
from mutations import in_archive, mutate
from tacolab import config
from tacolab.codec import Elic, container
from tacolab.codec.bitstream import pack, unpack
from tacolab.codec.elic import Encoded
from tacolab.codec.network import load_network
from tacolab.codec.pixels import to_tensor
from tacolab.codec.weights import in_one_line
from tacolab.config import FileRef
from tacolab.errors import UserError
from tacolab.files import atomic, intact
from tacolab.files.parts import Part, Parts
from tacolab.plan import Artefact, Plan
from tacolab.plan.making import maker
from tacolab.plan.stages import CAPTIONS, CODE, DATA, TRAIN
from tacolab.readers import pictures
from tacolab.readers.caption_table import CaptionTable
from tacolab.readers.packed import Packed
from tacolab.readers.picture_codec import PictureCodec
from tacolab.readers.token_weight_table import WeightTable
from tacolab.stages.captions import sources
from tacolab.stages.evaluate import decode
from tacolab.stages.train import checkpoint, imported

MODEL = b"model #1"

Right = Callable[[Any], bool]

STUDY = {
    "title": "fuzz",
    "data_root": ".",
    "lambdas": ["0.01"],
    "datasets": {"set": {"kind": "folder", "images": ".", "list": "list.json", "min_side": 64}},
    "captions": {"mine": {"kind": "file", "files": {"set": "mine.json"}}},
    "codec": {"N": 8, "M": 8, "groups": [8]},
    "training": {"dataset": "set", "crop": 64, "joint_weight": 0},
    "arms": {"image-only": {"text": None, "captions": "mine"}},
    "protocol": {"baseline": "image-only", "datasets": {"set": {"crop": 64}}},
    "execution": {"device": "cpu"},
}


@dataclass(frozen=True)
class Subject:
    """A kind of file. damage: draws a damaged content, and what tells whether that which is read
    from it is right. read: puts the content where the reader looks, and calls it."""

    damage: Callable[[random.Random], tuple[Any, Right]]
    read: Callable[[Any], Any]


def subjects(work: Path) -> dict[str, tuple[int, Subject]]:
    """By name, each with its share of all damage. They read and write in `work`, an empty folder,
    which becomes the present one."""
    os.chdir(work)
    torch.set_num_threads(1)
    plan = _study()
    return {
        "container": (30, _containers()),
        "container, its crc made right": (8, _containers(sealed=False)),
        "published stream": (30, _streams()),
        "streams.zip": (2, _codes(plan, "streams.zip")),
        "codes.parquet": (1, _codes(plan, "codes.parquet")),
        "codes.json": (1, _codes(plan, "codes.json")),
        "unfinished part": (3, _part()),
        "caption table": (8, _caption_table(plan)),
        "captions of others, Parquet": (4, _given(plan, "theirs.parquet")),
        "captions of others, JSON": (3, _given(plan, "mine.json")),
        "token weights": (5, _token_weights()),
        "packed data set": (8, _packed(plan)),
        "checkpoint": (3, _checkpoints(named=True)),
        "checkpoint, its name made right": (8, _checkpoints(named=False)),
        "model.safetensors": (2, _weights(plan)),
        "model.json": (1, _description(plan)),
        "authors' .pth": (5, _pth()),
        "picture": (13, _pictures()),
    }


# -- what all are made of --------------------------------------------------------------------------


def _pixels(seed: int) -> np.ndarray:
    """64 x 64 x 3: a gradient, stripes and noise."""
    numbers = np.random.default_rng(seed)
    down, right = np.mgrid[:64, :64]
    plane = 2 * down + right + 40 * ((down // (seed + 3)) % 2)
    return (plane[..., None] + numbers.integers(0, 20, (64, 64, 3))).clip(0, 255).astype(np.uint8)


def _picture(name: str, seed: int) -> bytes:
    file = io.BytesIO()
    kind = {"jpg": "JPEG", "tif": "TIFF"}.get(name, name.upper())
    Image.fromarray(_pixels(seed)).save(file, kind)
    return file.getvalue()


def _codec(width: int = 2) -> Elic:
    codec = authors_file.golden(Elic(width, width, (width,))).eval()
    codec.update(force=True)
    return codec


def _study() -> Plan:
    """Packed pictures, captions, a model and its codes."""
    names = {}
    for seed, kind in enumerate(("png", "jpg", "webp")):
        Path(f"photo{seed}.{kind}").write_bytes(_picture(kind, seed))
        names[f"photo{seed}.{kind}"] = f"caption {seed}"
    Path("list.json").write_text(json.dumps(list(names)))
    Path("mine.json").write_text(json.dumps(names))
    rows = {"image_id": list(names), "index": [0, 1, 2], "caption": list(names.values())}
    pq.write_table(pa.table(rows), "theirs.parquet")
    plan = Plan(config.validate(STUDY, "fuzz"))
    for artefact in plan.needed():
        if artefact.stage is TRAIN:
            _write_model(artefact)
        elif artefact.stage in (DATA, CAPTIONS, CODE):
            maker(artefact.stage)(plan, artefact)
    return plan


def _write_model(artefact: Artefact) -> None:
    model, description = artefact.files
    atomic.write(model, lambda path: save_file(_codec(8).exported(), path))
    content = {"key": artefact.key, "text": artefact.ingredients, "sha256": intact.sha256(model)}
    atomic.write_json(description, content)


def _digest(*parts: Any) -> str:
    """Of what was read, NaN included."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    return sha.hexdigest()


def _only(*allowed: Any) -> Right:
    """What is read is what stood there."""
    return lambda found: found in allowed


def _anything(found: Any) -> bool:
    """Nothing can tell that it is damaged: it needs only to be read, or refused."""
    return True


def _damage(
    bases: Sequence[bytes], right: Right, *ways: Callable[[bytes, random.Random], bytes]
) -> Callable[[random.Random], tuple[bytes, Right]]:
    """Damage of any of these files, in any of these ways."""

    def damage(numbers: random.Random) -> tuple[bytes, Right]:
        return numbers.choice(ways)(numbers.choice(bases), numbers), right

    return damage


# -- coded pictures --------------------------------------------------------------------------------


def _encoded(codec: Elic) -> list[Encoded]:
    sizes = ((64, 64), (40, 64), (1, 1))
    return [codec.encode(to_tensor(_pixels(i)[:h, :w])) for i, (h, w) in enumerate(sizes)]


def _containers(sealed: bool = True) -> Subject:
    """As `tacolab compress` writes them, and once did. Not sealed: damaged before the checksum is
    computed, as a file by somebody of bad will: its header may say other sizes of the picture."""
    codec = _codec()

    @contextmanager
    def way() -> Iterator[None]:
        with nullcontext() if sealed else patch.object(container, "_crc", lambda *_: 0):
            yield

    def read(content: bytes) -> np.ndarray:
        with way():
            pixels: np.ndarray = container.decode_container(codec, MODEL, content).numpy()
            return pixels

    encoded = _encoded(codec)
    with way():
        bases = [container.pack_container(one, MODEL) for one in encoded]
        bases.append(_of_version_2(encoded[0]))
    whole = [read(base) for base in bases]

    def right(found: np.ndarray) -> bool:
        """The pixels that both have are equal: sizes change no other."""
        height, width = found.shape[-2:]
        return any(
            np.array_equal(one[..., :height, :width], found[..., : one.shape[-2], : one.shape[-1]])
            and (one.shape == found.shape or not sealed)
            for one in whole
        )

    return Subject(_damage(bases, right, mutate), read)


def _of_version_2(one: Encoded) -> bytes:
    start = container.MAGIC + bytes([2]) + MODEL + one.checksum.to_bytes(4)
    rest = pack(one.strings, one.shape)
    return start + container._crc(start, rest).to_bytes(4) + rest


def _streams() -> Subject:
    """In the published layout, which holds no checksum: it stands in a table, or in a container."""
    codec = _codec()
    encoded = _encoded(codec)
    shapes = {one.shape.picture: one.checksum for one in encoded}

    def read(content: bytes) -> Any:
        strings, shape = unpack(content)
        x_hat, checksum = codec.decode(strings, shape)
        if shapes.get(shape.picture) != checksum:
            raise ValueError("other symbols than were encoded")
        return _digest(x_hat.numpy())

    bases = [pack(one.strings, one.shape) for one in encoded]
    return Subject(_damage(bases, _only(*map(read, bases)), mutate), read)


def _codes(plan: Plan, name: str) -> Subject:
    """Of a study: the files of a coding, of which one is damaged."""
    code = plan.find("code")
    path = code.folder / name
    others = {file: file.read_bytes() for file in code.files}
    codec = load_network(code.inputs["model"].path, code.inputs["model"].spec)
    decode.load_model = lambda *_: codec  # a coding's files are read, not its model's

    def read(content: bytes) -> str:
        for file, whole in others.items():
            file.write_bytes(content if file == path else whole)
        decoder = decode.StreamDecoder(code, torch.device("cpu"))
        found = list(decoder(decoder.rows))
        return _digest(*(one.x_hat.numpy() for one in found), len(found))

    ways = (mutate, in_archive) if name.endswith(".zip") else (mutate,)
    return Subject(_damage([others[path]], _only(read(others[path])), *ways), read)


def _part() -> Subject:
    parts = Parts(Path("state"), [range(3)])
    parts.save(range(3), Part([{"a": 1.5}, {"b": "x"}], {"one": b"1" * 40, "two": b"2" * 9}))
    (path,) = parts.folder.iterdir()
    whole = path.read_bytes()

    def read(content: bytes) -> str:
        path.write_bytes(content)
        return _digest([(part.rows, sorted(part.files.items())) for part in parts])

    right = _only(read(whole))

    def damage(numbers: random.Random) -> tuple[bytes, Right]:
        if numbers.random() < 0.5:
            return mutate(whole, numbers), right
        return in_archive(whole, numbers), _anything

    return Subject(damage, read)


# -- tables and pictures ---------------------------------------------------------------------------


def _caption_table(plan: Plan) -> Subject:
    own = plan.find("captions", dataset="set").path
    path = Path("results/captions/set/mine/damaged.parquet")

    def read(content: bytes) -> Any:
        path.write_bytes(content)
        table = CaptionTable(path)
        return [*table], [table.for_image(image_id) for image_id in table.ids], len(table)

    plain = io.BytesIO()
    pq.write_table(pq.read_table(own), plain, compression="none")  # damage gets further in
    return Subject(_damage([own.read_bytes(), plain.getvalue()], _anything, mutate), read)


def _token_weights() -> Subject:
    folder = Path("results/token_weights/set/mine")
    folder.mkdir(parents=True)
    weights = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(6, dtype=np.float16)), 2)
    rows = {"image_id": ["a", "a", "b"], "index": [0, 1, 0], "weights": weights}
    bases = []
    for compression in ("zstd", "none"):
        file = io.BytesIO()
        pq.write_table(pa.table(rows), file, compression=compression)
        bases.append(file.getvalue())

    def read(content: bytes) -> Any:
        path = folder / "damaged.parquet"
        path.write_bytes(content)
        table = WeightTable(path)
        return [table.for_image(image_id).tolist() for image_id in table.ids]

    return Subject(_damage(bases, _anything, mutate), read)


def _given(plan: Plan, name: str) -> Subject:
    data = Packed(plan.find("data", dataset="set").folder)
    damaged = Path("damaged").with_suffix(Path(name).suffix)

    def read(content: bytes) -> Any:
        damaged.write_bytes(content)
        return sources.given(data, FileRef(path=damaged), Path()).to_pylist()

    return Subject(_damage([Path(name).read_bytes()], _anything, mutate), read)


def _packed(plan: Plan) -> Subject:
    """The Arrow file and both descriptions beside it. Pictures have checksums, captions none."""
    folder = Path("results/data/damaged/00000000")  # others read the set itself
    shutil.copytree(plan.find("data", dataset="set").folder, folder)
    others = {path: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}

    def read(damaged: tuple[Path, bytes]) -> dict[str, str]:
        path, content = damaged
        for file, whole in others.items():
            file.unlink()  # not written over: the old one is still mapped
            file.write_bytes(content if file == path else whole)
        packed = Packed(folder)
        for i in range(len(packed)):
            packed.captions(i), packed.size(i), packed.shown[i]
        return {image_id: _digest(packed.rgb(i)) for i, image_id in enumerate(packed.ids)}

    whole = read((folder, b""))

    def right(found: dict[str, str]) -> bool:
        """No picture is another; one may have got another name."""
        return all(whole.get(name, seen) == seen for name, seen in found.items())

    def damage(numbers: random.Random) -> tuple[tuple[Path, bytes], Right]:
        path = numbers.choice(list(others))
        return (path, mutate(others[path], numbers)), right

    return Subject(damage, read)


def _pictures() -> Subject:
    kinds = ("png", "jpg", "webp", "gif", "bmp", "tif", "avif")
    bases = [_picture(kind, 0) for kind in kinds]
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(_pixels(1)).convert("RGBA").save(turned, "PNG", exif=exif)
    bases.append(turned.getvalue())

    def read(content: bytes) -> Any:
        return pictures.read(content).pixels.shape

    return Subject(_damage(bases, _anything, mutate), read)


# -- weights ---------------------------------------------------------------------------------------


def _checkpoints(named: bool) -> Subject:
    """named: under the name of the whole file, which holds its sha256."""
    folder = Path(f"checkpoints-{named}")
    folder.mkdir()
    weights = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.ones(3, dtype=torch.bfloat16)}
    state = {"generation": 1, "step": 7, "model": weights, "rng": [1, 2.5, "x", None, True]}
    checkpoint.save(folder, state)
    (path,) = folder.iterdir()
    content = path.read_bytes()
    path.unlink()

    def read(content: bytes) -> Any:
        sha = hashlib.sha256(content).hexdigest()[:16]
        file = path if named else path.with_name(f"checkpoint-000001-000000007-{sha}.pt")
        file.write_bytes(content)
        try:
            return repr(checkpoint.latest(folder))
        finally:
            file.unlink()

    right = _only(read(content)) if named else _anything
    return Subject(_damage([content], right, mutate, in_archive), read)


def _weights(plan: Plan) -> Subject:
    """A model file, and whether what a whole one has coded is decoded by it to another picture."""
    model = plan.find("train")
    content = model.path.read_bytes()
    path = Path("damaged.safetensors")
    header = 8 + int.from_bytes(content[:8], "little")
    codec = load_network(model.path, model.spec)
    coded = codec.encode(to_tensor(_pixels(0)))

    def read(content: bytes) -> Any:
        path.write_bytes(content)
        network = load_network(path, model.spec)
        identity = hashlib.sha256(content).digest()[:8]
        file = container.pack_container(coded, whole)
        return _digest(container.decode_container(network, identity, file).numpy())

    def damage(numbers: random.Random) -> tuple[bytes, Right]:
        if numbers.random() < 0.5:
            return mutate(content, numbers), right
        front = mutate(content[8:header], numbers)
        return len(front).to_bytes(8, "little") + front + content[header:], right

    whole = hashlib.sha256(content).digest()[:8]
    right = _only(read(content))
    return Subject(damage, read)


def _description(plan: Plan) -> Subject:
    """model.json, which says how the weights beside it are to be read."""
    model = plan.find("train")
    folder = Path("described")
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(model.path.read_bytes())
    path = folder / "model.json"
    content = model.files[1].read_bytes()

    def read(content: bytes) -> Any:
        path.write_bytes(content)
        codec = PictureCodec(folder / "model.safetensors")
        return codec.text, codec.identity

    return Subject(_damage([content], _only(read(content)), mutate), read)


def _pth() -> Subject:
    """Weights of others: as torch writes them today, and as it once did."""
    weights = authors_file.state_dict(authors_file.golden(Elic(2, 2, (2,))))
    few = dict(list(weights.items())[:8])  # for most, since a whole network takes its time
    notes = {"epoch": 3, "best": np.float64(1.5), "curve": np.linspace(0, 1, 5)}
    contents = (few, {"state_dict": few, **notes}, few, weights)
    bases = []
    for content in contents:
        for zipped in (True, False):
            file = io.BytesIO()
            torch.save(content, file, _use_new_zipfile_serialization=zipped)
            bases.append(file.getvalue())

    def read(content: bytes) -> Any:
        weights = imported.read_state_dict(content, Path("theirs.pth.tar"))
        if len(weights) > len(few):
            try:
                Elic.from_state_dict(weights)
            except ValueError as error:
                raise UserError(in_one_line(error)) from None
        return [weight.double().sum().item() for weight in weights.values()]

    def damage(numbers: random.Random) -> tuple[bytes, Right]:
        base = numbers.choice(bases)
        zipped = base.startswith(b"PK") and numbers.random() < 0.7
        return (in_archive if zipped else mutate)(base, numbers), _anything

    return Subject(damage, read)
