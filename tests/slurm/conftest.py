"""A SLURM cluster on this machine."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """SLURM with GPU nodes g1 ... g7 and a node c1 without."""
    if os.geteuid() != 0:
        pytest.skip("a SLURM cluster for tests needs root")
    if shutil.which("slurmctld") is None or shutil.which("mariadbd") is None:
        pytest.skip(
            "needs Debian's packages of SLURM, munge and mariadb-server (.ci/run installs them)"
        )
    subprocess.run([HERE / "cluster.sh", "start"], check=True, timeout=300)
    yield
    subprocess.run([HERE / "cluster.sh", "stop"], check=True, timeout=300)
