"""A SLURM cluster on this machine, and the scenarios that run on it meanwhile."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from scenarios import SCENARIOS, undisturbed_here
from studies import Study

AT_ONCE = 6
HERE = Path(__file__).parent


@pytest.fixture(scope="package")
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


@pytest.fixture(scope="package")
def outcomes(
    cluster: None, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[dict[str, Future[Study]]]:
    """The scenarios of the tests that will run, begun longest first, before any other test."""
    folder = tmp_path_factory.mktemp("survival")
    tests = {item.name for item in request.session.items}
    wanted = [f for f in SCENARIOS if f"test_{f.__name__}" in tests]
    if wanted:
        wanted = [undisturbed_here, *wanted]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {f.__name__: pool.submit(f, folder / f.__name__) for f in wanted}
