"""This machine: Python, packages, C library, text encoding, GPU and driver."""

import importlib
import locale
import os
import platform
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from tacolab.files import caches
from tacolab.overview.doctor.finding import Finding

INSTALL = "install the environment again (make install, or as the README says for a cluster)"
PYTHONS = ((3, 11), (3, 12))
WANTED_GLIBC = (2, 34)  # of compressai's wheel
OLDEST_DRIVER = {"12": 525, "13": 580}  # by CUDA's major version


def python(version: tuple[int, int] = sys.version_info[:2]) -> Finding:
    """One that the lock installs on."""
    found = f"Python {platform.python_version()} in {sys.prefix}"
    if version in PYTHONS:
        return Finding.ok(found)
    return Finding.failure(
        found, "make the environment with Python 3.11 or 3.12: uv venv --python 3.11"
    )


def packages() -> Finding:
    """The project's own dependencies against the lock, in the project's folder.

    Their dependencies follow from these, and differ where torch is built for another CUDA.
    """
    lock, project = Path("requirements.lock"), Path("pyproject.toml")
    if not (lock.is_file() and project.is_file()):
        return Finding.warning(
            "no requirements.lock here to compare with", "run it in the project's folder"
        )
    own = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    names = {Requirement(line).name.lower() for line in own}
    wrong: list[str] = []
    right: list[str] = []
    for line in lock.read_text(encoding="utf-8").splitlines():
        pin = Requirement(line)
        if pin.name not in names:
            continue
        try:
            version = metadata.version(pin.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{pin.name} is missing")
            continue
        # 2.14.1+cu126 is a 2.14.1, too.
        (right if pin.specifier.contains(version) else wrong).append(
            f"{pin.name} {version}, not {str(pin.specifier).removeprefix('==')}"
        )
    if wrong:
        return Finding.failure(f"not as in requirements.lock: {', '.join(wrong)}", INSTALL)
    return Finding.ok(f"{len(right)} direct dependencies as in requirements.lock")


def libraries() -> Finding:
    """Those with machine code load; torchvision refuses a torch that it was not built for."""
    try:
        versions = [importlib.import_module(n).__version__ for n in ("torch", "torchvision")]
        importlib.import_module("tacolab.codec.lean")  # as much of it as is used
        importlib.import_module("compressai.ans")
    except (ImportError, OSError, RuntimeError) as error:
        return Finding.failure(" ".join(str(error).split()), INSTALL)
    return Finding.ok(f"torch {versions[0]}, torchvision {versions[1]} and compressai load")


def libc(version: str | None = None) -> Finding:
    """compressai's wheel wants glibc 2.34; on older systems it is built from source."""
    name, _, found = (version or os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    numbers = tuple(int(part) for part in found.split(".") if part.isdigit())
    if name == "glibc" and numbers >= WANTED_GLIBC:
        return Finding.ok(f"{name} {found}")
    if shutil.which("c++"):
        return Finding.warning(
            f"{name} {found}, older than compressai's wheel wants (2.34); a C++ compiler is there",
            "let pip build compressai from source: --no-binary compressai",
        )
    return Finding.failure(
        f"{name} {found}, older than compressai's wheel wants (2.34), and no C++ compiler",
        "load a compiler (module load gcc), then --no-binary compressai",
    )


def text() -> Finding:
    """Configs, captions and logs are UTF-8."""
    encoding = locale.getpreferredencoding(False)
    if encoding.lower().replace("-", "") == "utf8":
        return Finding.ok("UTF-8")
    return Finding.failure(f"the locale's encoding is {encoding}", "export LC_ALL=C.UTF-8")


def cache(settled: bool, usual: Path = caches.AT_START) -> Finding:
    """Of Snakemake and libraries. settled: the profile puts it where it can be written."""
    why = caches.problem(usual)
    if not usual.is_absolute():
        return Finding.failure(
            f"{usual}: nothing tells where your home is, and Snakemake asks", "export HOME=$PWD"
        )
    if not why:
        return Finding.ok(f"{usual} can be written")
    if settled:
        return Finding.ok(f"{usual}: {why}; so caches lie in .cache here")
    return Finding.failure(
        f"{usual}: Snakemake cannot keep its cache there: {why}",
        "export XDG_CACHE_HOME=$PWD/.cache, or end the profile as profiles/slurm ends",
    )


def gpu(device: Literal["auto", "cpu", "cuda"], on_cluster: bool) -> Finding:
    """The GPU of this machine. on_cluster: jobs compute elsewhere, and check theirs themselves."""
    if device == "cpu":
        return Finding.ok("not wanted: execution.device is cpu")
    import torch

    from tacolab.cluster.device import advice, gpu_given, unusable, why_none

    cards = _nvidia_smi()
    if torch.cuda.is_available():
        found = []
        for number in range(torch.cuda.device_count()):
            name = torch.cuda.get_device_name(number)
            capability = torch.cuda.get_device_capability(number)
            problem = unusable(name, capability, torch.cuda.get_arch_list(), torch.version.cuda)
            if problem:
                what, _, remedy = problem.rpartition("; ")
                return Finding.failure(what, remedy)
            found.append(f"{name}: {advice(capability)}")
        return Finding.ok("; ".join([*dict.fromkeys(found), *(cards or ["no nvidia-smi"])[:1]]))
    if cards or gpu_given(os.environ):
        oldest = OLDEST_DRIVER.get((torch.version.cuda or "").partition(".")[0])
        return Finding.failure(
            f"{'; '.join(cards) or 'SLURM gave a GPU, no nvidia-smi'}, but torch sees none: "
            f"{why_none()}",
            f"a driver from {oldest} on, or torch for an older CUDA" if oldest else INSTALL,
        )
    if on_cluster:
        return Finding.left_out("none here, as on most login nodes; each job checks its own first")
    found_none = "no nvidia-smi and no GPU that torch sees"
    if device == "cuda":
        return Finding.failure(found_none, "start it where there is one, or set device to auto")
    return Finding.warning(
        found_none, "training on the CPU takes weeks; set execution.device: cpu if it is meant"
    )


def _nvidia_smi() -> list[str]:
    """`name, driver` of each GPU that the driver knows; empty without driver or GPU."""
    try:
        asked = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = asked.stdout.splitlines() if asked.returncode == 0 else []
    return [line.replace(", ", ", driver ") for line in lines]
