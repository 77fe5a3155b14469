"""The command line. Only this package prints errors and exits.

Exit codes: 0 done, 75 stopped on purpose and to be continued, 2 wrong usage or config, 1 anything
else.
"""

import logging
import sys
import traceback
import warnings
from contextlib import suppress
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler

from tacolab.cli import coding, looking, making
from tacolab.errors import Interrupted, StageError, UserError, shortened
from tacolab.files import caches, disk, process

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Text-guided neural image compression: the study's stages and the codec.\n\n"
    "`snakemake --profile profiles/local` runs all of them in order; a command makes a single "
    "artefact, at the path and with the key that the config means.",
)
for group, title in (
    (making, "Make one artefact of the study"),
    (looking, "Look at the study"),
    (coding, "Code pictures"),
):
    for command in group.app.registered_commands:
        command.rich_help_panel = title
        app.registered_commands.append(command)

_state = {"debug": False}


@app.callback()
def _common(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Set up logging: rich on a terminal, plain dated lines in a log file."""
    if sys.stderr.isatty():
        handler: logging.Handler = RichHandler(console=Console(stderr=True), show_path=False)
        form = "%(message)s"
    else:
        handler = logging.StreamHandler()
        form = "%(asctime)s %(levelname)s %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, handlers=[handler])
    for chatty in ("httpx2", "datasets", "matplotlib", "fontTools", "absl"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # compressai's and torchvision's business, not the reader's
    warnings.filterwarnings("ignore", message=".*torch.jit.script")
    # Pillow's, from half the size on that it refuses
    warnings.filterwarnings("ignore", message=".*could be decompression bomb")
    _state["debug"] = debug
    caches.ensure()
    process.end_with_head()


def main() -> None:
    """Entry point of the `tacolab` command."""
    try:
        app()
    except UserError as error:
        _fail(error, 2)
    except Interrupted as stop:
        _say(str(stop))
        raise SystemExit(75) from None
    except Exception as error:
        _fail(disk.explained(error) or error, 1)


def _fail(error: Exception, code: int) -> None:
    if _state["debug"]:
        traceback.print_exception(error)
        raise SystemExit(code)
    if isinstance(error, UserError | StageError):
        _say(str(error))
    else:
        name = type(error).__name__
        _say(f"{name}: {error} (tacolab --debug ... shows the traceback)")
    raise SystemExit(code)


def _say(text: str) -> None:
    # A log on a full disk takes nothing, and shall not change the exit code.
    with suppress(OSError):
        typer.echo(f"tacolab: {shortened(text)}", err=True)
