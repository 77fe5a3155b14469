"""The photos that the bundled models are trained on, from their sources: `photos.csv`.

    python workflow/small_models/photos.py DATA --to FOLDER

DATA holds `coco/train2014/` and `photos/` (`docs/data.md` says where they come from). Wallpapers
come from Debian's packages: `apt-get download` fetches them, or --packages names a folder with
them. Their photos are scaled down to two sizes each, so that the noise of their JPEG files goes;
photos of COCO are small and stay as they are. FOLDER then holds the photos, `list.json` and
`captions.json`.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

PHOTOS = Path(__file__).with_name("photos.csv")
PIXELS = (1_500_000, 600_000)  # of a wallpaper's two sizes
JPEG = {"quality": 97, "subsampling": 0}  # packed files that crops are read from fast


def photos() -> list[dict[str, str]]:
    """The rows: file, source (`PACKAGE:PATH`, or a path below DATA), credit, licence, caption."""
    with PHOTOS.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def unpacked(package: str, packages: Path, folder: Path) -> Path:
    """The content of a Debian package; fetched where `packages` has it not."""
    content = folder / package
    if not content.is_dir():
        if not list(packages.glob(f"{package}_*.deb")):
            subprocess.run(["apt-get", "download", "-qq", package], check=True, cwd=packages)
        (file,) = packages.glob(f"{package}_*.deb")
        subprocess.run(["dpkg", "-x", file, content], check=True)
    return content


def scaled(photo: Image.Image) -> Iterator[tuple[str, bytes]]:
    """Two smaller ones, the larger with half of the photo's pixels at most, as JPEG files."""
    width, height = photo.size
    largest = min(PIXELS[0], width * height // 2)
    for name, pixels in (("large", largest), ("small", min(PIXELS[1], largest // 2))):
        scale = (pixels / (width * height)) ** 0.5
        size = (round(width * scale), round(height * scale))
        file = io.BytesIO()
        photo.resize(size, Image.Resampling.LANCZOS).save(file, "JPEG", **JPEG)
        yield name, file.getvalue()


def gather(data: Path, packages: Path, to: Path) -> None:
    """Write the photos, the list and the captions into the new folder `to`."""
    captions: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for row in photos():
            package, _, path = row["source"].rpartition(":")
            if package:
                source = unpacked(package, packages, Path(scratch)) / path
                with Image.open(source) as photo:
                    made = list(scaled(photo.convert("RGB")))
                files = {f"{Path(row['file']).stem}-{name}.jpg": file for name, file in made}
            else:
                files = {row["file"]: (data / path).read_bytes()}
            for name, file in files.items():
                (to / name).write_bytes(file)
                captions[name] = [row["caption"]]
    (to / "list.json").write_text(json.dumps(sorted(captions), indent=1))
    (to / "captions.json").write_text(json.dumps(captions, indent=1, ensure_ascii=False))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--to", type=Path, required=True, help="folder of the photos, made anew")
    parser.add_argument("--packages", type=Path, help="folder with (or for) the .deb files")
    given = parser.parse_args()
    half = given.to.with_name(f".{given.to.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        gather(given.data, given.packages or Path(scratch), half)
    shutil.rmtree(given.to, ignore_errors=True)
    half.replace(given.to)
    print(f"{given.to}: {len(json.loads((given.to / 'list.json').read_text()))} photos")


if __name__ == "__main__":
    main()
