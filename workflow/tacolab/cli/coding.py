"""Commands of the codec: single pictures to files and back, and model files."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tacolab.errors import UserError

app = typer.Typer()

Model = Annotated[Path, typer.Option(help="A trained model.safetensors.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="The file to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")]


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
    picture: Annotated[Path, typer.Argument(help="PNG, JPEG ...")],
    model: Model,
    output: Output,
    caption: Annotated[str | None, typer.Option(help="What steers the encoder.")] = None,
    overwrite: Overwrite = False,
    precision: CodingPrecision = Precision.AUTO,
) -> None:
    """Compress one picture with a trained model. The caption is not stored."""
    from tacolab.cli.picture_codec import PictureCodec, require_free

    require_free(output, [picture, model, model.with_name("model.json")], overwrite)
    codec, weights = PictureCodec(model, precision.value), None
    if codec.weights_key and caption is not None:
        from tacolab.stages.token_weights.single import weigh

        weights = weigh(caption, model, codec.weights_key)
    bpp = codec.compress(picture, caption, output, weights)
    typer.echo(f"{output}: {bpp:.4f} bits per pixel")


@app.command()
def decompress(
    file: Annotated[Path, typer.Argument(help="A file that `compress` wrote.")],
    model: Model,
    output: Output,
    overwrite: Overwrite = False,
    precision: CodingPrecision = Precision.AUTO,
) -> None:
    """Decode a picture, with the model that compressed it."""
    from tacolab.cli.picture_codec import PictureCodec, require_free

    require_free(output, [file, model, model.with_name("model.json")], overwrite)
    PictureCodec(model, precision.value).decompress(file, output)
    typer.echo(output)


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
