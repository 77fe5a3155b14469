"""The data stage packs exactly what the sources list, or names what is wrong and writes nothing."""

import hashlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from small_disk import mounted
from tacolab import cli
from tacolab.errors import UserError
from tacolab.files import atomic, disk
from tacolab.files.process import Process
from tacolab.plan import Artefact, Plan
from tacolab.readers.packed import Packed
from tacolab.stages.data import run
from tacolab.stages.data.sources import SAMPLES, required

FOLDER = {"kind": "folder", "images": "photos", "list": "list.json"}
Pack = Callable[..., Artefact]


def written(folder: Path) -> list[Path]:
    return sorted((folder / "results").rglob("*"))


def sums(folder: Path) -> str:
    return "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(folder.iterdir())
    )


def test_every_sample_is_the_file_that_was_described(pack: Pack) -> None:
    names = list(json.loads(SAMPLES.read_text()))
    artefact = pack({"kind": "samples", "photos": names})
    packed = Packed(artefact.folder)
    assert len(packed) == len(names) >= 8
    for i in range(len(packed)):
        captions = packed.captions(i)
        assert len(set(captions)) == 5
        assert all(8 <= len(caption.split()) <= 16 for caption in captions)
        assert packed.rgb(i).shape == (*packed.size(i)[::-1], 3)


def test_unknown_sample_names_the_nearest(pack: Pack, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"set\.photos.*'astronout'; did you mean 'astronaut'"):
        pack({"kind": "samples", "photos": ["astronout"]})
    assert written(tmp_path) == []


@pytest.mark.parametrize(
    ("dataset", "count", "captions"),
    [
        ({"kind": "folder", "images": "kodak", "list": "kodak/SHA256SUMS"}, 24, 0),
        (
            {
                "kind": "coco",
                "images": "coco/train2014",
                "annotations": "coco/annotations/captions_train2014.json",
            },
            281,
            1405,
        ),
        (
            {
                "kind": "coco",
                "images": "coco/val2014",
                "annotations": "coco/annotations/captions_val2014.json",
                "list": "coco/restval.json",
            },
            100,
            501,
        ),
    ],
    ids=["kodak", "coco-train", "coco-restval"],
)
def test_real_data_sets_keep_their_bytes(
    shared: Path, pack: Pack, dataset: dict[str, Any], count: int, captions: int
) -> None:
    artefact = pack(dataset, shared)
    packed = Packed(artefact.folder)
    assert (len(packed), packed.manifest["captions"]) == (count, captions)
    for i, name in enumerate(packed.ids):
        assert packed.encoded(i) == (shared / dataset["images"] / name).read_bytes()


def test_order_is_the_lists_and_captions_are_in_annotation_order(shared: Path, pack: Pack) -> None:
    annotations = shared / "coco/annotations/captions_val2014.json"
    content = json.loads(annotations.read_text())
    names = [image["file_name"] for image in content["images"]][7:3:-1]
    Path("list.json").write_text(json.dumps(names))
    artefact = pack(
        {
            "kind": "coco",
            "images": "coco/val2014",
            "annotations": str(annotations),
            "list": str(Path("list.json").absolute()),
        },
        shared,
    )
    packed = Packed(artefact.folder)
    assert packed.ids == names
    number = next(i["id"] for i in content["images"] if i["file_name"] == names[0])
    rows = [row for row in content["annotations"] if row["image_id"] == number]
    assert packed.captions(0) == [row["caption"] for row in sorted(rows, key=lambda row: row["id"])]


def coco(folder: Path, size: tuple[int, int]) -> dict[str, Any]:
    """A COCO data set of one image, flower.jpg, which is 640x427."""
    image = {"id": 3, "file_name": "flower.jpg", "width": size[0], "height": size[1]}
    rows = [{"id": n, "image_id": 3, "caption": f"caption {n}"} for n in (9, 4, 7)]
    (folder.parent / "captions.json").write_text(
        json.dumps({"images": [image], "annotations": rows})
    )
    return {"kind": "coco", "images": "photos", "annotations": "captions.json"}


def test_coco_captions_are_sorted_by_their_number(pack: Pack, photos: Path) -> None:
    packed = Packed(pack(coco(photos, (640, 427))).folder)
    assert packed.captions(0) == ["caption 4", "caption 7", "caption 9"]


def test_coco_size_that_differs_from_its_annotation(pack: Pack, photos: Path) -> None:
    with pytest.raises(UserError, match=r"flower\.jpg changed \(640x427 .* says 427x640\)"):
        pack(coco(photos, (427, 640)))


def test_coco_list_with_unknown_images(pack: Pack, photos: Path) -> None:
    dataset = coco(photos, (640, 427)) | {"list": "list.json"}
    with pytest.raises(UserError, match=r"2 of 3 images are not in .*: china\.jpg, coffee\.png"):
        pack(dataset)


def test_list_formats_mean_the_same(pack: Pack, photos: Path) -> None:
    names = sorted(path.name for path in photos.iterdir())
    contents = [json.dumps(names), json.dumps(dict.fromkeys(names, "words")), sums(photos)]
    digests = set()
    for content in contents:
        (photos.parent / "list.json").write_text(content)
        digests.add(Packed(pack(FOLDER).folder).manifest["list_sha256"])
    assert len(digests) == 1


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10_000])


def cut_last_chunk(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-12])


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_scan(path: Path) -> None:
    """And closed again: a decoder that keeps warnings to itself fills the rest with grey."""
    path.write_bytes(path.read_bytes()[:-10_000] + b"\xff\xd9")


def make_float(path: Path) -> None:
    Image.new("F", (80, 80)).save(path, "TIFF")


def add_long_text(path: Path) -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("comment", "x" * 1_100_000, zip=True)
    Image.new("RGB", (80, 80)).save(path, pnginfo=notes)


def put_a_page(path: Path) -> None:
    path.write_text("<html>404</html>")


@pytest.mark.parametrize(
    ("name", "harm", "message"),
    [
        ("flower.jpg", truncate, r"flower\.jpg is damaged \(.*truncated"),
        ("flower.jpg", cut_scan, r"flower\.jpg is damaged \(.*premature end"),
        ("coffee.png", truncate, r"coffee\.png is damaged"),
        ("coffee.png", cut_last_chunk, r"coffee\.png is damaged"),
        ("coffee.png", damage, r"coffee\.png is damaged"),
        ("coffee.png", make_float, r"coffee\.png has pixels of no known range \(mode F\)"),
        ("coffee.png", add_long_text, r"coffee\.png is beyond a limit of Pillow \(1 MB"),
        ("china.jpg", put_a_page, r"china\.jpg is not an image \(16 bytes\)"),
        ("china.jpg", Path.unlink, r"china\.jpg is missing"),
    ],
)
def test_a_bad_file_is_named_and_nothing_is_written(
    pack: Pack, photos: Path, tmp_path: Path, name: str, harm: Callable[[Path], None], message: str
) -> None:
    harm(photos / name)
    with pytest.raises(UserError, match="1 of 3 images .*" + message) as error:
        pack(FOLDER)
    assert "\n" not in str(error.value)
    assert written(tmp_path) == []


def test_all_problems_are_counted(pack: Pack, photos: Path) -> None:
    names = [f"{n}.png" for n in range(9)] + ["china.jpg"]
    (photos.parent / "list.json").write_text(json.dumps(names))
    with pytest.raises(UserError, match=r"9 of 10 .*0\.png is missing.*2\.png.*and 6 more"):
        pack(FOLDER)


def test_a_changed_file_fails_its_sum(pack: Pack, photos: Path, tmp_path: Path) -> None:
    (photos.parent / "list.json").write_text(sums(photos))
    with Image.open(photos / "china.jpg") as image:
        image.save(photos / "china.jpg", quality=90)
    with pytest.raises(UserError, match=r"china\.jpg changed \(sha256 .*, not 8378025ad251"):
        pack(FOLDER)
    assert written(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "not a JSON list of file names"),
        ("[1, 2]", "not a JSON list of file names"),
        ('["a.png"', "not JSON"),
        ("flower.jpg\n", "line 1 is not `sha256  name`"),
        ("", "lists no images"),
        ('["flower.jpg", "flower.jpg"]', r"more than once: flower\.jpg"),
    ],
)
def test_a_bad_list_is_refused(pack: Pack, photos: Path, content: str, message: str) -> None:
    (photos.parent / "list.json").write_text(content)
    with pytest.raises(UserError, match=message):
        pack(FOLDER)


def test_a_changed_list_is_refused(pack: Pack, photos: Path, tmp_path: Path) -> None:
    path = photos.parent / "list.json"
    pinned = {"path": "list.json", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert pack(FOLDER | {"list": pinned}).done
    path.write_text(path.read_text() + "\n")
    with pytest.raises(
        UserError, match=r"list\.json: changed: .*the config says " + pinned["sha256"][:12]
    ):
        pack(FOLDER | {"list": pinned})


def test_missing_source_names_data_root(pack: Pack, plan_of: Callable[..., Plan]) -> None:
    with pytest.raises(UserError, match=r"data_root is 'nowhere': set `data_root: /path`"):
        pack(FOLDER, "nowhere")
    study = plan_of(FOLDER, "nowhere").study
    assert required(study, "set") == [
        Path.cwd() / "nowhere" / name for name in ("photos", "list.json")
    ]
    assert required(plan_of({"kind": "samples", "photos": ["china"]}).study, "set") == []


def test_planning_needs_no_heavy_import() -> None:
    """The Snakefile asks for `required` on every start."""
    code = (
        "import sys, tacolab.stages.data, tacolab.stages.captions\n"
        "from tacolab.stages.data.sources import required\n"
        "print([m for m in ('torch', 'datasets', 'PIL', 'numpy', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_small_images_are_left_out_and_counted(pack: Pack, photos: Path) -> None:
    packed = Packed(pack(FOLDER | {"min_side": 420}).folder)
    assert packed.ids == ["flower.jpg", "china.jpg"]
    assert packed.manifest["excluded"] == {"count": 1, "names": ["coffee.png"]}
    assert (packed.manifest["min_side"], packed.manifest["max_side"]) == (427, 640)
    with pytest.raises(UserError, match=r"set\.min_side: none of 3 images"):
        pack(FOLDER | {"min_side": 999})


def test_packing_again_gives_the_same(pack: Pack, photos: Path) -> None:
    first = Packed(pack(FOLDER).folder)
    content = [first.encoded(i) for i in range(3)]
    again = Packed(pack(FOLDER).folder)
    assert [again.encoded(i) for i in range(3)] == content
    assert again.manifest["list_sha256"] == first.manifest["list_sha256"]


def test_hugging_face_datasets_opens_it(pack: Pack, photos: Path) -> None:
    packed = pack(FOLDER).folder
    rows = datasets.load_from_disk(str(packed))
    assert rows["image_id"] == ["flower.jpg", "china.jpg", "coffee.png"]
    assert rows[2]["image"] == (photos / "coffee.png").read_bytes()


def test_modes_become_rgb(pack: Pack, photos: Path) -> None:
    with Image.open(photos / "china.jpg") as image:
        image.convert("CMYK").save(photos / "china.jpg")
    with Image.open(photos / "flower.jpg") as image:
        image.convert("L").save(photos / "flower.jpg")
    with Image.open(photos / "coffee.png") as image:
        image.convert("P").save(photos / "coffee.png")
    packed = Packed(pack(FOLDER).folder)
    for i, name in enumerate(packed.ids):
        assert packed.encoded(i) == (photos / name).read_bytes()
        assert packed.rgb(i).shape[2] == 3
        assert packed.rgb(i).dtype == "uint8"


def turn(path: Path) -> None:
    """As a camera stores a photo that was taken with it on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(path) as image:
        image.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=95)


@pytest.mark.parametrize("stated", [(640, 427), (427, 640)])
def test_a_turned_photo_is_packed_as_it_is_and_read_upright(
    pack: Pack, photos: Path, stated: tuple[int, int]
) -> None:
    """Its annotation may state the sides that are stored."""
    with Image.open(photos / "flower.jpg") as image:
        seen = np.asarray(image).astype(int)
    turn(photos / "flower.jpg")
    packed = Packed(pack(coco(photos, stated)).folder)
    assert packed.encoded(0) == (photos / "flower.jpg").read_bytes()
    assert packed.size(0) == (640, 427)
    assert np.abs(packed.rgb(0) - seen).mean() < 5
    assert packed.manifest["converted"] == {"turned": 1}
    assert (packed.manifest["min_side"], packed.manifest["max_side"]) == (427, 640)


def test_each_image_is_written_once(
    pack: Pack, photos: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And no more than the log says before."""
    held = []

    def sync(path: Path) -> None:
        files = Path("results/data/set").rglob("*")
        held.append(sum(path.stat().st_size for path in files if path.is_file()))

    monkeypatch.setattr("tacolab.stages.data.pack.sync", sync)
    with caplog.at_level("INFO"):
        pack(FOLDER)
    images = sum(path.stat().st_size for path in photos.iterdir())
    assert images < max(held) < images + 10_000
    (told,) = re.findall(
        r"packing 3 images in \S+ takes ([0-9.]+) MiB; [0-9.]+ MiB are free", caplog.text
    )
    assert float(told) * 2**20 == pytest.approx(max(held), abs=60_000)


def test_without_room_nothing_is_written(plan_of: Callable[..., Plan], photos: Path) -> None:
    plan = plan_of(FOLDER)
    images = sum(path.stat().st_size for path in photos.iterdir())
    needed = r"set/\w+: the disk or the quota is full: [0-9.]+ MiB are needed, [0-9.]+ MiB are free"
    with mounted(Path("results"), f"size={images - 50_000}"):
        with pytest.raises(disk.RefusedError, match=needed):
            run(plan, plan.find("data", dataset="set"))
        assert not any(path.is_file() for path in written(Path()))


def test_room_that_a_killed_run_holds_counts_as_free(
    plan_of: Callable[..., Plan], photos: Path
) -> None:
    artefact = (plan := plan_of(FOLDER)).find("data", dataset="set")
    images = sum(path.stat().st_size for path in photos.iterdir())
    killed = replace(Process.me(), start="1")  # of that name, and started long ago
    with mounted(Path("results"), f"size={images + 200_000}"):
        left = artefact.folder.with_name(f".{killed}.tmp.{artefact.key}")
        left.mkdir(parents=True)
        (left / "stream").write_bytes(bytes(images))
        run(plan, artefact)
        assert len(Packed(artefact.folder)) == 3


# Where a kill is aimed: a function that the stage calls there, and which call.
PLACES = {
    "while images are written": ("ArrowWriter.write", 2),
    "before the state": ("write_json", 1),
    "before all is on the disk": ("sync", 2),
    "before the manifest": ("write_json", 2),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_killed_while_packing(
    plan_of: Callable[..., Plan], photos: Path, place: tuple[str, int]
) -> None:
    plan = plan_of(FOLDER)
    artefact = plan.find("data", dataset="set")
    function, call = place
    code = f"""
import json, os, sys
from tacolab import config
from tacolab.stages import data
from tacolab.plan import Plan
import tacolab.stages.data.pack as module
calls, original = [], module.{function}
def fatal(*args, **kwargs):
    calls.append(args)
    if len(calls) == {call}:
        os.kill(os.getpid(), {int(signal.SIGKILL)})
    return original(*args, **kwargs)
module.{function} = fatal
plan = Plan(config.validate(json.loads(sys.argv[1]), "test"))
data.run(plan, plan.find("data", dataset="set"))
"""
    study = plan.study.model_dump_json(exclude_unset=True)
    killed = subprocess.run([sys.executable, "-c", code, study], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not artefact.done
    assert list(artefact.folder.parent.iterdir())  # something is left to clean up
    run(plan, artefact)
    assert len(Packed(artefact.folder)) == 3
    assert [path.name for path in artefact.folder.parent.iterdir()] == [artefact.key]


def test_the_slower_of_two_jobs_that_pack_ends_well(
    plan_of: Callable[..., Plan], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither removes what the other is writing, and both leave the same data set."""
    plan = plan_of(FOLDER)
    artefact = plan.find("data", dataset="set")
    Path("study.json").write_text(plan.study.model_dump_json(exclude_unset=True))
    command = ["tacolab", "data", "set", "--config", "study.json"]
    other = [[sys.executable, "-c", "from tacolab import cli; cli.main()", *command[1:]]]

    def sync(path: Path) -> None:
        if other:
            subprocess.run(other.pop(), check=True)
        atomic.sync(path)

    monkeypatch.setattr("tacolab.stages.data.pack.sync", sync)
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    assert len(Packed(artefact.folder)) == 3
    assert [path.name for path in artefact.folder.parent.iterdir()] == [artefact.key]


def test_stale_files_without_manifest_are_replaced(pack: Pack, photos: Path) -> None:
    """Snakemake deletes the manifest, its declared output, before it runs the rule again."""
    artefact = pack(FOLDER)
    artefact.path.unlink()
    (artefact.folder / "data-00007-of-00009.arrow").write_text("stale")
    pack(FOLDER)
    assert not (artefact.folder / "data-00007-of-00009.arrow").exists()
    assert len(Packed(artefact.folder)) == 3
