"""Files of the codec's commands: which are meant, where their output goes, and what went well."""

import glob
import io
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from PIL import Image

from tacolab.errors import StageError, UserError
from tacolab.files import atomic
from tacolab.files.progress import progress

STANDARD = Path("-")  # input or output of the process
LOSSLESS = (".png", ".bmp", ".ppm", ".tif", ".tiff")

Record = dict[str, Any]
Job = tuple[Path, Path]


def expanded(arguments: Sequence[str], suffixes: Callable[[], Sequence[str]]) -> list[Path]:
    """The files that are meant by files, folders, patterns and `-`, each of them once.

    suffixes: of a folder's files that count. Raises UserError for what means no file at all.
    """
    found: dict[Path, Path] = {}
    for argument in arguments:
        path = Path(argument)
        with _readable(path):
            if path.is_dir():
                names = suffixes()
                files = [
                    file
                    for file in sorted(path.iterdir())
                    if file.suffix.lower() in names and file.name[0] != "." and file.is_file()
                ]
                if not files:
                    raise UserError(
                        f"{argument}: this folder holds nothing to read; what lies in folders "
                        f"below it is meant by '{argument.rstrip('/')}/**/*'"
                    )
            elif glob.has_magic(argument) and not path.exists():
                # Path.glob takes no absolute pattern
                files = [Path(name) for name in sorted(glob.glob(argument, recursive=True))]  # noqa: PTH207
                files = [file for file in files if file.is_file()]
                if not files:
                    raise UserError(f"{argument}: no file is called so")
            else:
                files = [path]
        found |= {file.absolute(): file for file in files if file.absolute() not in found}
    return list(found.values())


def jobs(inputs: Sequence[Path], output: str | None, suffix: str) -> list[Job]:
    """Each input with its output: beside it, or as `-o` says. Raises UserError."""
    if output is None:
        return [(path, path if path == STANDARD else path.with_suffix(suffix)) for path in inputs]
    place = Path(output)
    with _readable(place):
        folder = place.is_dir()
    if not folder:
        if len(inputs) > 1:
            raise UserError(
                f"{output}: is no folder; for {len(inputs)} inputs -o names one that exists"
            )
        return [(inputs[0], place)]
    if STANDARD in inputs:
        raise UserError(f"{output}: is a folder; for the standard input -o names a file")
    return [(path, place / path.with_suffix(suffix).name) for path in inputs]


class Outputs:
    """Where commands may write: never onto what they read, nor twice, onto others only by force."""

    def __init__(self, read: Sequence[Path], force: bool) -> None:
        """read: all files that the command reads."""
        self._force = force
        self._read = {key for path in read if (key := _file(path))}
        self._taken: dict[Path, Path] = {}

    def require(self, source: Path, output: Path) -> None:
        """Before the work. Raises UserError where `output` is no file that may be written."""
        if output == STANDARD:
            if sys.stdout.isatty():
                raise UserError("the terminal shows no such bytes: use a pipe, or -o FILE")
            return
        first = self._taken.setdefault(output.absolute(), source)
        if first != source:
            raise UserError(f"{source}: would be written to {output}, as {first} is; name it by -o")
        try:
            if not output.parent.is_dir():
                raise UserError(f"{output.parent}: is no folder; make it first")
            if output.is_dir():
                raise UserError(f"{output}: is a folder; -o names the file to write")
            if output.exists():
                if _file(output) in self._read:
                    raise UserError(f"{output}: is what is read; -o names another file")
                if not output.is_file():
                    raise UserError(f"{output}: is no regular file; -o names the file to write")
                if not self._force:
                    raise UserError(f"{output}: exists; --force replaces it")
            if not os.access(output.parent, os.W_OK):
                raise UserError(f"{output}: cannot be written (Permission denied)")
        except OSError as error:
            raise UserError(f"{output}: cannot be written ({error.strerror})") from None


def content_of(path: Path) -> bytes:
    """Of a file or the standard input."""
    return sys.stdin.buffer.read() if path == STANDARD else path.read_bytes()


def written(output: Path, content: bytes) -> None:
    """Whole or not at all. Raises UserError."""
    try:
        if output == STANDARD:
            sys.stdout.buffer.write(content)
            sys.stdout.flush()
        else:
            atomic.write_bytes(output, content)
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror or error})") from None


def lossless(image: Image.Image, output: Path) -> bytes:
    """The picture in the format that the name of `output` means."""
    content = io.BytesIO()
    form = Image.registered_extensions()[output.suffix.lower()] if output != STANDARD else "PNG"
    image.save(content, form)
    return content.getvalue()


def pictures() -> list[str]:
    """Suffixes of what Pillow reads."""
    return [suffix for suffix, form in Image.registered_extensions().items() if form in Image.OPEN]


def work(
    all_jobs: Sequence[Job],
    outputs: Outputs,
    load: Callable[[], Callable[[Path, Path], Record]],
    told: Callable[[Record], str],
    summary: Callable[[list[Record]], Record],
    as_json: bool,
) -> None:
    """One after the other: what cannot be done is reported and does not stop the others.

    load: makes what does one job, once it is known that there is one to be done. told: a record in
    words. summary: of all records. Raises UserError for a single job, StageError for several.
    """
    started = time.perf_counter()
    standard = any(output == STANDARD for _, output in all_jobs)
    if standard and as_json:
        raise UserError("--json and the coded bytes cannot both go to the standard output: use -o")
    failed: list[tuple[Path, UserError]] = []
    records: list[Record] = []

    def fail(source: Path, error: UserError) -> None:
        failed.append((source, error))
        if len(all_jobs) > 1:
            typer.echo(f"tacolab: {error}", err=True)

    todo = []
    for source, output in all_jobs:
        try:
            outputs.require(source, output)
            todo.append((source, output))
        except UserError as error:
            fail(source, error)
    code = load() if todo else None
    for source, output in progress(todo, len(todo), "Pictures"):
        began = time.perf_counter()
        try:
            assert code is not None
            record = {"input": str(source), "output": str(output), **code(source, output)}
        except UserError as error:
            fail(source, error)
            continue
        records.append(record | {"seconds": round(time.perf_counter() - began, 3)})
        if not as_json:
            line = f"{output}: {told(records[-1])}, {records[-1]['seconds']:.1f} s"
            typer.echo(line, err=standard)
    total = {
        "done": len(records),
        "failed": len(failed),
        **summary(records),
        "seconds": round(time.perf_counter() - started, 3),
    }
    if as_json:
        errors = [{"input": str(source), "error": str(error)} for source, error in failed]
        typer.echo(json.dumps({"files": records + errors, "total": total}, indent=2))
    elif len(records) > 1:
        typer.echo(f"{len(records)} files: {told(total)}, {total['seconds']:.1f} s", err=standard)
    if failed and len(all_jobs) == 1:
        raise failed[0][1]
    if failed:
        raise StageError(f"{len(failed)} of {len(all_jobs)} files could not be done, see above")


def finite(number: float) -> float | None:
    """For JSON, which has no infinity."""
    return round(number, 3) if math.isfinite(number) else None


def _file(path: Path) -> tuple[int, int] | None:
    """What a file is under all of its names."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
