"""What the commands share: options, the plan of a config, a console."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tacolab import config as configuration
from tacolab.plan import Artefact, Options, Plan
from tacolab.plan.making import make

STUDY = Path("config/study.yaml")

ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", help="The study's YAML file.", show_default=True)
]
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a top-level config key.")
]
Key = Annotated[str | None, typer.Option(help="Of several that fit, the one with this key.")]
Seed = Annotated[int | None, typer.Option(help="Default: the study's seed.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads of torch.")]
StageTo = Annotated[
    str, typer.Option(metavar="DIR", help="Read the packed data from a copy on this local disk.")
]
Json = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


def planned(path: Path, overrides: list[str]) -> Plan:
    """The plan of a config. Raises UserError for a wrong one."""
    return Plan(configuration.load(path, overrides))


def made(plan: Plan, artefact: Artefact, options: Options = Options()) -> None:
    """Make it, and name its main file."""
    make(plan, artefact, options)
    typer.echo(artefact.path)


def console(width: int, markup: bool = True) -> Console:
    """As wide as the terminal; in a pipe wide enough that no key is cut in two."""
    return Console(width=None if sys.stdout.isatty() else width, markup=markup)
