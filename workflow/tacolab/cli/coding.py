"""Commands of the codec: pictures to files and back, what takes the room in one, model files."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tacolab.cli.shared import Json
from tacolab.errors import UserError

app = typer.Typer()

Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        help="The file to write, or a folder that exists. `-`: to the standard output.",
        show_default="beside the input",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that exist.")]


class Rate(StrEnum):
    """Of the bundled models."""

    LOW = "low"
    MIDDLE = "middle"
    HIGH = "high"


class Precision(StrEnum):
    """Of g_a and g_s."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


CodingPrecision = Annotated[
    Precision,
    typer.Option(
        help="Numbers of the large networks. auto: bf16 where the processor has it, else fp32. "
        "Any precision reads any file."
    ),
]


@app.command()
def compress(
    pictures: Annotated[
        list[str],
        typer.Argument(help="Files, folders, patterns in quotes; `-`: the standard input."),
    ],
    output: Output = None,
    rate: Annotated[
        Rate | None,
        typer.Option(help="Of the bundled models: how large files become.", show_default="middle"),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A model.safetensors of your own, instead of --rate."),
    ] = None,
    caption: Annotated[
        str | None,
        typer.Option(
            help="A text that steers the encoder. It is not stored; decoding does not need it."
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
    precision: CodingPrecision = Precision.AUTO,
) -> None:
    """Compress pictures to .taco files, with a bundled model or your own.

    Reads what Pillow reads: upright, in sRGB, 8 bits. Pictures that are
    transparent somewhere or animated are refused. A picture that cannot be
    coded does not stop the others (exit code 1).

    tacolab compress photo.jpg                     makes photo.taco

    tacolab compress photos/ -o coded --rate low   all pictures of a folder

    tacolab compress '2024/**/*.jpg' --json        a pattern; for programs

    tacolab compress a.png --caption "a dog"       steered by a text

    curl -s URL | tacolab compress - > photo.taco  in a pipe
    """
    from tacolab.cli import picture_files as files
    from tacolab.codec import bundled

    if model and rate:
        raise UserError("--rate chooses a bundled model, --model another one: give one of them")
    if caption is not None and rate not in (None, Rate.MIDDLE):
        raise UserError(
            f"--caption with --rate {rate}: the bundled model that texts steer has the middle "
            "rate; leave --rate out, or name a model of your own by --model"
        )
    found = model or bundled.path(bundled.TEXT if caption is not None else rate or Rate.MIDDLE)
    sources = files.expanded(pictures, files.pictures)

    def load() -> Any:
        from tacolab.readers.picture_codec import PictureCodec, naming, to_array

        codec, weights = PictureCodec(found, precision.value), None
        if codec.weights_key and caption is not None:
            from tacolab.stages.token_weights.single import weigh

            weights = weigh(caption, found, codec.weights_key)

        def code(source: Path, output: Path) -> files.Record:
            with naming(source):
                pixels = to_array(files.content_of(source))
                encoded = codec.encode(pixels, caption, weights)
                psnr = codec.psnr(pixels, encoded)
                content = codec.pack(encoded)
            files.written(output, content)
            height, width, _ = pixels.shape
            return {
                "width": width,
                "height": height,
                "bytes": len(content),
                "bpp": round(8 * len(content) / (height * width), 4),
                "psnr": files.finite(psnr),
            }

        return code

    def told(record: files.Record) -> str:
        size = f"{record['width']} x {record['height']}, " if "width" in record else ""
        psnr = "lossless" if record["psnr"] is None else f"{record['psnr']:.2f} dB"
        return f"{size}{record['bytes']:,} bytes, {record['bpp']:.3f} bpp, {psnr}"

    def summary(records: list[files.Record]) -> files.Record:
        pixels = sum(record["width"] * record["height"] for record in records)
        size = sum(record["bytes"] for record in records)
        finite = [record["psnr"] for record in records if record["psnr"] is not None]
        return {
            "bytes": size,
            "bpp": round(8 * size / pixels, 4) if pixels else None,
            "psnr": round(sum(finite) / len(finite), 3) if finite else None,
        }

    files.work(
        files.jobs(sources, output, ".taco"),
        files.Outputs([*sources, found, found.with_name("model.json")], force),
        load,
        told,
        summary,
        as_json,
    )


@app.command()
def decompress(
    coded: Annotated[
        list[str],
        typer.Argument(
            metavar="FILES...",
            help="Files that `compress` wrote, folders, patterns in quotes; `-`: standard input.",
        ),
    ],
    output: Output = None,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The model.safetensors that made them, if it is none of the bundled ones.",
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
    precision: CodingPrecision = Precision.AUTO,
) -> None:
    """Decode .taco files to PNG, or to the lossless format that -o means.

    Every file names its model; bundled ones are found by themselves.

    tacolab decompress photo.taco                  makes photo.png

    tacolab decompress coded/ -o decoded           all .taco files of a folder

    tacolab decompress photo.taco -o - | display   in a pipe
    """
    from tacolab.cli import picture_files as files

    sources = files.expanded(coded, lambda: [".taco"])
    all_jobs = files.jobs(sources, output, ".png")
    for _, place in all_jobs:
        if place != files.STANDARD and place.suffix.lower() not in files.LOSSLESS:
            raise UserError(
                f"{place}: write to one of {', '.join(files.LOSSLESS)}: others lose quality"
            )

    def load() -> Any:
        from PIL import Image

        from tacolab.codec.container import unpack_container
        from tacolab.readers.picture_codec import PictureCodec, model_of, naming

        codecs = {model: PictureCodec(model, precision.value)} if model else {}

        def code(source: Path, output: Path) -> files.Record:
            with naming(source):
                content = files.content_of(source)
                found = model or model_of(unpack_container(content))
                if found not in codecs:
                    codecs[found] = PictureCodec(found, precision.value)
                image = Image.fromarray(codecs[found].decode(content))
            files.written(output, files.lossless(image, output))
            return {"width": image.width, "height": image.height}

        return code

    def told(record: files.Record) -> str:
        return f"{record['width']} x {record['height']}" if "width" in record else "decoded"

    read = [*sources, *([model, model.with_name("model.json")] if model else [])]
    files.work(all_jobs, files.Outputs(read, force), load, told, lambda _: {}, as_json)


@app.command()
def inspect(
    file: Annotated[str, typer.Argument(help="A file that `compress` wrote.")],
    model: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Its model.safetensors, if that is not bundled."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a .taco file holds: sizes, its model, and what takes how much of the rate.

    Without its model the parts of y are not told apart. The file is checked on the way.
    """
    from tacolab.cli.picture_files import content_of
    from tacolab.codec import bundled
    from tacolab.codec.container import unpack_container
    from tacolab.readers.picture_codec import PictureCodec, naming

    with naming(file):
        content = content_of(Path(file))
        container = unpack_container(content)
        name = bundled.name_of(container.model)
        found = model or (bundled.path(name) if name else None)
        height, width = container.shape.picture or (0, 0)
        z, y = len(container.z_string), len(container.y_string)
        parts: list[dict[str, Any]] = [
            {"part": "header", "bytes": len(content) - z - y},
            {"part": "z", "bytes": z},
        ]
        if found:
            codec = PictureCodec(found, "fp32")
            groups = codec.group_bits(container)
            parts += [
                {"part": f"y group {number}", "channels": channels, "bytes": round(bits / 8, 1)}
                for number, (channels, bits) in enumerate(
                    zip(codec.network.groups, groups, strict=True), 1
                )
            ]
            parts.append({"part": "y end of stream", "bytes": round(y - sum(groups) / 8, 1)})
        else:
            parts.append({"part": "y", "bytes": y})
    pixels = height * width
    told = {
        "file": file,
        "version": content[4],
        "width": width,
        "height": height,
        "bytes": len(content),
        "bpp": round(8 * len(content) / pixels, 4),
        "model": container.model.hex(),
        "bundled": name,
        "parts": [part | {"bpp": round(8 * part["bytes"] / pixels, 5)} for part in parts],
    }
    if as_json:
        typer.echo(json.dumps(told, indent=2))
        return
    typer.echo(
        f"{file}: {width} x {height}, {len(content):,} bytes, {told['bpp']:.3f} bpp, "
        f"container version {told['version']}"
    )
    known = f"bundled as {name}" if name else "not bundled" + ("" if found else ", see --model")
    typer.echo(f"model {told['model']}: {known}")
    for part in parts:
        channels = f" ({part['channels']} channels)" if "channels" in part else ""
        share = part["bytes"] / len(content)
        typer.echo(f"  {part['part'] + channels:28} {part['bytes']:12,.0f} bytes {share:7.1%}")


@app.command()
def upgrade(
    models: Annotated[list[Path], typer.Argument(help="model.safetensors, epoch-N.safetensors.")],
) -> None:
    """Add coding tables to model files that an earlier version exported. Trains nothing.

    The tables are made once, here, and stand in the file from now on, so that every machine codes
    with the same.
    """
    from tacolab.codec.network import upgrade as add_tables

    failed = 0
    for path in models:
        try:
            done = "coding tables added" if add_tables(path) else "has its coding tables"
            typer.echo(f"{path}: {done}")
        except UserError as error:
            typer.echo(f"tacolab: {error}", err=True)
            failed += 1
    if failed:
        raise UserError(f"{failed} of {len(models)} files were left as they are")
