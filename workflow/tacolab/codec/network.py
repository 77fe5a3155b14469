"""Trained codecs from their weight files, ready to code."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from tacolab.codec.elic import Elic
from tacolab.errors import UserError


def load_network(path: Path, kind: type[Elic]) -> Elic:
    """In eval mode, with coding tables. Raises UserError naming the file when it does not fit."""
    try:
        network = kind.from_state_dict(load_file(path)).eval()
    except (OSError, SafetensorError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: no weights of a {kind.__name__} codec ({reason})") from None
    network.update(force=True)
    return network
