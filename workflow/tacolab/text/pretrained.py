"""Where pretrained weights lie: in the hub's cache, a folder or an installed package.

Imports torch only in `pretrained`, which loads them.
"""

from __future__ import annotations

import hashlib
from fnmatch import fnmatch
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tacolab.errors import StageError, UserError
from tacolab.files import disk
from tacolab.files.git_lfs import POINTS, is_pointer

# What `transformers` reads of a model on the hub, and nothing else: repositories also hold
# weights of other frameworks. Weights by preference, as `transformers` has it; whole or in parts.
SMALL = ("*.json", "*.txt", "*.model", "*.jinja")
WEIGHTS = (
    ("model.safetensors", "model-*-of-*.safetensors"),
    ("pytorch_model.bin", "pytorch_model-*-of-*.bin"),
)
SUBFOLDERS = "*/*"


def locate(model: str) -> str:
    """`package:NAME/FOLDER` becomes a path inside an installed package; else unchanged."""
    if not model.startswith("package:"):
        return model
    package, _, folder = model.removeprefix("package:").partition("/")
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise UserError(f"package {package} (pretrained weights) is not installed; run `make`")
    return str(Path(spec.origin).parent / folder)


def pretrained(kind: Any, source: str) -> Any:
    """`kind.from_pretrained(source)` with a message that says what to do without a hub."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # one bar per file of weights says nothing
    here = Path(source)
    for path in sorted(here.iterdir()) if here.is_dir() else ():
        if path.is_file() and is_pointer(path):
            raise UserError(f"{path}: {POINTS}")
    try:
        # Without a look at the hub first: compute nodes have no internet, and wait for it in vain.
        return kind.from_pretrained(source, local_files_only=True)
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
    if on_hub(source):
        try:
            hub_files(source)  # asks once; transformers would ask for a minute where no hub answers
            return kind.from_pretrained(source)
        except (StageError, UserError) as error:
            reason = str(error).removeprefix(f"{source}: ")
        except (OSError, ValueError, RecursionError) as error:
            reason = str(error).splitlines()[0]
    raise UserError(
        f"{source}: cannot be loaded ({reason}); fetch it with `tacolab data --prefetch` where "
        "there is internet (HF_HOME names the cache), or give a folder in the config"
    )


def on_hub(model: str) -> bool:
    """Whether a `model` of the config names a model of the hub; else a folder, file or package."""
    here = model.startswith(("package:", "/", ".", "~")) or model.endswith(".pt")
    return not here and not Path(model).is_dir()


def cached(model: str) -> bool:
    """Whether the cache that HF_HOME names holds all of a hub's model; asks no network."""
    return _snapshot(model) is not None


def folder(model: str) -> Path:
    """The folder with a model's files, wherever they lie; asks no network.

    Raises UserError when they are not there.
    """
    if not on_hub(model):
        path = Path(locate(model))
        if not path.is_dir():
            raise UserError(f"{model}: no such folder; put the model there, or name one of the hub")
        return path
    snapshot = _snapshot(model)
    if snapshot is None:
        raise UserError(
            f"{model}: not in the hub's cache (HF_HOME names it), and no folder; fetch it with "
            "`tacolab data --prefetch` where there is internet, or give a folder in the config"
        )
    return snapshot


def weight_files(folder: Path) -> list[Path]:
    """The files of weights that are read of a model's folder."""
    for patterns in WEIGHTS:
        found = sorted(path for path in folder.iterdir() if _matches(path.name, patterns))
        if found:
            return found
    return []


def _snapshot(model: str) -> Path | None:
    """The folder of the hub's cache with all of a model, or None."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    for weights in WEIGHTS:
        try:
            folder = Path(
                snapshot_download(
                    model,
                    local_files_only=True,
                    allow_patterns=[*SMALL, *weights],
                    ignore_patterns=SUBFOLDERS,
                )
            )
        except LocalEntryNotFoundError:
            continue
        except HFValidationError:  # no name that a hub's model can have
            return None
        # Where the cache was filled file by file, the hub's list that it checked is not known.
        if (folder / "config.json").exists() and any(any(folder.glob(w)) for w in weights):
            return folder
    return None


@cache
def hub_files(model: str) -> dict[str, tuple[int, str | None]]:
    """Files that are needed of a hub's model: name -> size in bytes, sha256 where the hub has one.

    Raises StageError when the hub cannot be asked, UserError when it has no such model.
    """
    from httpx2 import HTTPError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    try:
        siblings = HfApi().model_info(model, files_metadata=True).siblings or []
    except OfflineModeIsEnabled:
        raise UserError("HF_HUB_OFFLINE is set; unset it where there is internet") from None
    except (RepositoryNotFoundError, HFValidationError):
        raise UserError(
            f"{model}: neither a folder nor a model on the hub that you may read "
            "(HF_TOKEN holds the token, if it needs one)"
        ) from None
    except (HTTPError, OSError) as error:
        raise StageError(f"{model}: the hub does not answer ({_reason(error)})") from None
    files = {
        file.rfilename: (file.size or 0, file.lfs.sha256 if file.lfs else None)
        for file in siblings
        if not fnmatch(file.rfilename, SUBFOLDERS)
    }
    for weights in WEIGHTS:
        if any(_matches(name, weights) for name in files):
            return {name: about for name, about in files.items() if _matches(name, SMALL + weights)}
    raise UserError(f"{model}: has no weights on the hub that transformers reads with torch")


def fetch(model: str) -> None:
    """A hub's model into the cache that HF_HOME names; what is there already is not loaded again.

    Raises as `hub_files`, and StageError when the transfer ends early or brings wrong bytes.
    """
    from httpx2 import HTTPError
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE

    files = hub_files(model)
    try:
        with disk.writing(Path(HF_HUB_CACHE), sum(size for size, _ in files.values())):
            folder = Path(snapshot_download(model, allow_patterns=list(files)))
    except disk.RefusedError:
        raise
    except (HTTPError, OSError, RuntimeError) as error:
        raise StageError(
            f"{model}: the transfer from the hub ended early ({_reason(error)}); what is there is "
            "kept, and the same command goes on"
        ) from None
    for name, (_, sha256) in files.items():
        blob = (folder / name).resolve()  # the snapshot links to it
        if sha256 is None:
            continue
        with blob.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        if actual != sha256:
            blob.unlink()
            (folder / name).unlink(missing_ok=True)
            raise StageError(
                f"{model}: {name} came with other bytes (sha256 {actual[:12]}..., the hub says "
                f"{sha256[:12]}...) and was removed; start again"
            )


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _reason(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
