"""`tacolab doctor` finds what is broken on a real machine and names the remedy."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from small_disk import mounted
from tacolab import config
from tacolab.overview.doctor import Finding, Profile, cluster, disk, examine, machine
from tacolab.plan import Plan

ROOT = Path(__file__).parents[2]
TACOLAB = Path(sys.executable).with_name("tacolab")
LOCAL = ("--profile", "profiles/local")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What doctor reads of the project, without results."""
    for name in ("config", "profiles"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def doctor(*options: str, **environment: str) -> tuple[int, str]:
    """Exit code and table of a real process."""
    done = subprocess.run(
        [str(TACOLAB), "doctor", "-c", "config/demo.yaml", *options],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def no_slurm(project: Path) -> str:
    """A PATH with a shell and nothing else."""
    path = project / "bin"
    path.mkdir()
    for name in ("bash", "sh"):
        (path / name).symlink_to(f"/bin/{name}")
    return str(path)


def rows(table: str, verdict: str) -> list[str]:
    """Names of the checks with this verdict."""
    lines = [line.split(f" {verdict} ")[0] for line in table.splitlines() if f" {verdict} " in line]
    return [line.strip() for line in lines]


@pytest.mark.slow
def test_the_demo_can_run_here(project: Path) -> None:
    """Without SLURM its checks are left out, with a word."""
    code, table = doctor(PATH=no_slurm(project))
    assert code == 0, table
    assert "not looked at: profiles/local" in table
    assert rows(table, "failure") == []
    assert "results" in rows(table, "ok") and "disk" in rows(table, "ok")
    assert list((project / "results").iterdir()) == []


@pytest.mark.slow
def test_every_broken_thing_is_named_with_its_remedy_in_one_go(project: Path) -> None:
    """Another numpy than the lock's, no UTF-8, results/ where nothing can be written, no SLURM."""
    lock = project / "requirements.lock"
    lock.write_text(lock.read_text().replace("numpy==1.26.4", "numpy==1.26.3"))
    (project / "results").symlink_to("/proc")
    code, table = doctor(
        *("--profile", "profiles/slurm"),
        *("--set", "execution={device: cuda}"),
        PATH=no_slurm(project),
        LC_ALL="C",
        PYTHONUTF8="0",
        PYTHONCOERCECLOCALE="0",
    )
    assert code == 1
    broken = ["packages", "text", "results", "disk", "SLURM", "controller", "job states"]
    assert set(rows(table, "failure")) >= {*broken, "partition gpu", "GPUs of gpu"}
    assert "numpy 1.26.4, not 1.26.3" in table
    assert "export LC_ALL=C.UTF-8" in table
    assert f"{len(rows(table, 'failure'))} to be mended" in table


@pytest.mark.parametrize(
    ("options", "broken", "message"),
    [("size=9m", "disk", "results: 0.0 GB free"), ("ro", "results", "Read-only file system")],
)
def test_a_disk_without_room_or_that_is_read_only(
    project: Path, monkeypatch: pytest.MonkeyPatch, options: str, broken: str, message: str
) -> None:
    with mounted(project / "results", options):
        found = examined(monkeypatch, "profiles/local")
    assert [name for name, one in found.items() if one.verdict == "failure"] == [broken]
    assert message in found[broken].found


@pytest.mark.slow
@pytest.mark.slurm
def test_partitions_are_looked_up_on_the_cluster(project: Path) -> None:
    if shutil.which("sinfo") is None or subprocess.run(["sinfo"], capture_output=True).returncode:
        pytest.skip("needs a SLURM cluster on this machine")
    profile = project / "profiles/slurm/config.yaml"
    profile.write_text(profile.read_text().replace("&gpu gpu", "&gpu gpuu"))
    code, table = doctor()
    assert code == 1
    assert {"partition gpuu", "GPUs of gpuu"} <= set(rows(table, "failure"))
    assert "does not exist on this cluster" in " ".join(table.split())
    assert {"SLURM", "controller"} <= set(rows(table, "ok"))


def test_python_and_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.python((3, 11)).verdict == machine.python((3, 12)).verdict == "ok"
    assert "3.11 or 3.12" in machine.python((3, 10)).remedy
    assert machine.python((3, 13)).verdict == "failure"
    assert machine.libc("glibc 2.36").verdict == "ok"
    monkeypatch.setenv("PATH", "")
    old = machine.libc("glibc 2.28")
    assert old.verdict == "failure" and "module load gcc" in old.remedy


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without GPU")
def test_a_missing_gpu_matters_where_jobs_compute_here() -> None:
    assert machine.gpu("cpu", on_cluster=False).verdict == "ok"
    assert machine.gpu("auto", on_cluster=False).verdict == "warning"
    assert machine.gpu("cuda", on_cluster=False).verdict == "failure"
    assert machine.gpu("auto", on_cluster=True).verdict == "-"


def test_a_driver_without_a_gpu_for_torch_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if torch.cuda.is_available():
        pytest.skip("needs a machine without GPU")
    program(tmp_path / "nvidia-smi", "Tesla V100-SXM2-32GB, 470.57.02")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    finding = machine.gpu("auto", on_cluster=False)
    assert finding.verdict == "failure"
    assert "Tesla V100-SXM2-32GB, driver 470.57.02" in finding.found


@pytest.mark.parametrize(
    ("command", "answer", "verdict", "left"),
    [
        ("quota", "/dev/sda1 100000 0 50000000 0 10 0 900000 0", "ok", "51.1 GB and 899990 files"),
        ("quota", "/dev/sda1 49990000* 0 50000000 0 10 0 0 0", "warning", "0.0 GB and inf files"),
        ("lfs", "results/\n 100000 40000000 0 - 150000 0 200000 -", "warning", "and 50000 files"),
        ("lfs", "results/ 100000 0 0 - 150000 0 0 -", "ok", "inf GB and inf files"),
    ],
)
def test_quotas(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    answer: str,
    verdict: str,
    left: str,
) -> None:
    """In the formats of quota-tools (after two lines of headings) and of Lustre."""
    heading = "Disk quotas for user me (uid 7):\nFilesystem blocks quota limit grace\n"
    program(project / command, (heading if command == "quota" else "") + answer)
    monkeypatch.setenv("PATH", f"{project}:/usr/bin:/bin")
    finding = disk.quota(Plan(config.load(Path("config/demo.yaml"))))
    assert finding.verdict == verdict
    assert left in finding.found


def test_data_and_weights_that_are_missing_and_the_room_for_them(project: Path) -> None:
    """Nothing of the study is there: MS-COCO alone is 19 GB to download."""
    plan = Plan(config.load(Path("config/study.yaml")))
    found = dict(examine(plan, Profile.read(Path("profiles/local"))))
    assert found["data"].verdict == "failure"
    assert "annotations of coco-train" in found["data"].found
    assert "tacolab data --prefetch" in found["data"].remedy
    download = re.search(r"data: .* about ([0-9.]+) GB", found["disk"].found)
    assert download and float(download[1]) > 19


def test_the_key_of_a_chat_model_that_is_still_to_be_asked(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = config.read(Path("config/demo.yaml"))
    profile = Profile.read(Path("profiles/local"))

    def found() -> tuple[str, str]:
        plan = Plan(config.validate(content, "demo"))
        finding = dict(examine(plan, profile))["API key"]
        return finding.verdict, f"{finding.found} {finding.remedy}"

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert found()[0] == "ok"
    content["captions"]["context"] = {"kind": "gpt4o"}
    content["arms"]["taco"]["captions"] = "context"
    verdict, text = found()
    assert verdict == "failure"
    assert "OPENAI_API_KEY is not set, for context" in text and "=none" in text
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    verdict, text = found()
    assert verdict == "ok" and "sk-secret" not in text


def program(path: Path, output: str) -> None:
    """An executable that prints this."""
    path.write_text(f"#!/bin/sh\ncat <<'EOF'\n{output}\nEOF\n")
    path.chmod(0o755)


def programs(folder: Path, **outputs: str | None) -> None:
    """Executables with these outputs; None: it fails."""
    for name, output in outputs.items():
        program(folder / name, output or "")
        if output is None:
            (folder / name).write_text("#!/bin/sh\necho out of order >&2; exit 1\n")


# MinJobAge as scontrol writes it, what else answers, what the profile says -> verdict and words
@pytest.mark.parametrize(
    ("age", "sacct", "asked", "verdict", "words"),
    [
        ("300 sec", "", "squeue", "ok", "squeue answers"),
        ("300 sec", None, "squeue", "ok", "squeue answers"),
        ("1h", "absent", "squeue", "ok", "squeue answers"),
        ("60 sec", "absent", "squeue", "warning", "forgets a job 60 s after its end"),
        # Snakemake's executor does not do what the profile says.
        ("60 sec", "", "squeue", "warning", "so a head asks sacct"),
        (None, "", "squeue", "warning", "so a head asks sacct"),
        (None, None, "squeue", "failure", "sacct: out of order"),
        (None, "absent", "squeue", "warning", "nothing tells how soon squeue forgets a job"),
        ("300 sec", "", "sacct", "ok", "sacct answers"),
        ("300 sec", None, "sacct", "failure", "sacct: out of order"),
        ("300 sec", "absent", "sacct", "warning", "a head asks squeue instead"),
        ("300 sec", "", "qstat", "failure", "knows squeue and sacct"),
    ],
)
def test_what_a_head_really_asks_for_the_states_of_its_jobs(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    age: str | None,
    sacct: str | None,
    asked: str,
    verdict: str,
    words: str,
) -> None:
    (project / "bin").mkdir()
    config_shown = f"MinJobAge               = {age}" if age else None
    programs(project / "bin", squeue="", scontrol=config_shown)
    if sacct != "absent":
        programs(project / "bin", sacct=sacct)
    for name in ("cat", "which"):
        (project / "bin" / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(project / "bin"))
    file = project / "profiles/slurm/config.yaml"
    file.write_text(file.read_text().replace("command: squeue", f"command: {asked}"))
    found = examined(monkeypatch)["job states"]
    assert found.verdict == verdict
    assert words in found.found


def examined(
    monkeypatch: pytest.MonkeyPatch, profile: str = "profiles/slurm"
) -> dict[str, Finding]:
    """What doctor finds for the demo with a profile."""
    plan = Plan(config.load(Path("config/demo.yaml")))
    return dict(examine(plan, Profile.read(Path(profile))))


def a_cluster(
    project: Path, monkeypatch: pytest.MonkeyPatch, gres: str = "gpu:v100:2(S:0-1)"
) -> None:
    """Whose sinfo knows two partitions."""
    (project / "bin").mkdir()
    script = f"""#!/bin/sh
case "$*" in
  *%R*) echo 'gpu 2-00:00:00 64000'; echo 'cpu infinite 32000';;
  *%G*) echo '{gres}'; echo '(null)';;
  *%a*) echo 'up mix';;
esac
"""
    (project / "bin/sinfo").write_text(script)
    (project / "bin/sinfo").chmod(0o755)
    monkeypatch.setenv("PATH", str(project / "bin"), prepend=os.pathsep)


def edit(project: Path, old: str, new: str) -> None:
    file = project / "profiles/slurm/config.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize("rule", ["describe", "imported", "vocabulary", "report", "timing"])
def test_every_rule_of_the_profile_is_looked_at(
    project: Path, monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    a_cluster(project, monkeypatch)
    edit(
        project,
        f"  {rule}: *evaluate\n" if rule in ("describe", "timing") else "set-resources:\n",
        f"  {rule}: {{slurm_partition: nowhere}}\n"
        if rule in ("describe", "timing")
        else f"set-resources:\n  {rule}: {{slurm_partition: nowhere}}\n",
    )
    found = examined(monkeypatch)
    assert found["profile"].verdict == "ok"
    wrong = found["partition nowhere"]
    assert wrong.verdict == "failure" and f"(rule {rule})" in wrong.found


def test_doctor_knows_the_rules_of_the_workflow() -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "snakemake", "--list-rules", "--configfile", "config/demo.yaml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout.split()
    plan = Plan(config.load(ROOT / "config/demo.yaml"))
    assert {*cluster.rules(plan), "all", "report_now"} == set(listed)


def test_a_name_in_the_profile_that_is_no_rule(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_cluster(project, monkeypatch)
    edit(project, "set-resources:\n", "set-resources:\n  import: {mem: 1GB}\n")
    found = examined(monkeypatch)["profile"]
    assert found.verdict == "warning"
    assert "no rule is named import" in found.found and "imported" in found.remedy


@pytest.mark.parametrize(
    ("old", "new", "check", "words"),
    [
        ("mem_mb: 24000", "mem: 65GB", "partition gpu", "64000 MB and the profile asks for 65000"),
        ("runtime: 2880 ", "runtime: 3d ", "partition gpu", "asks for 4320"),
        ("mem_mb: 24000", 'mem_mb: "90000"', "profile", "train: mem_mb: '90000'"),
        ("gpu: 1   ", 'gpu: "v100:1"   ', "profile", "train: gpu: v100:1"),
        ("gpu: 1   ", "gpu: 1\n    gpu_model: a100   ", "GPUs of gpu", "asks for 1 x a100"),
        ("gpu: 1   ", "gres: gpu:a100:1   ", "GPUs of gpu", "asks for 1 x a100"),
        ("gpu: 1   ", "gpu: 4   ", "GPUs of gpu", "2 x v100; a job asks for 4"),
    ],
)
def test_what_the_cluster_would_not_give(
    project: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, check: str, words: str
) -> None:
    a_cluster(project, monkeypatch)
    edit(project, old, new)
    plan = Plan(config.load(Path("config/demo.yaml")))
    found = [f for name, f in examine(plan, Profile.read(Path("profiles/slurm"))) if name == check]
    failures = [finding.found for finding in found if finding.verdict == "failure"]
    assert any(words in failure for failure in failures), found


def test_snakemakes_cache_where_home_cannot_be_written(tmp_path: Path) -> None:
    nowhere = Path("/dev/null/.cache")
    assert machine.cache(settled=True, usual=tmp_path).verdict == "ok"
    assert "so caches lie in .cache" in machine.cache(settled=True, usual=nowhere).found
    found = machine.cache(settled=False, usual=nowhere)
    assert found.verdict == "failure" and "export XDG_CACHE_HOME=" in found.remedy
    unknown = machine.cache(settled=True, usual=Path("~/.cache"))
    assert unknown.verdict == "failure" and unknown.remedy == "export HOME=$PWD"


@pytest.mark.parametrize("name", ["local", "slurm", "googlebatch"])
def test_every_profile_settles_caches(name: str) -> None:
    assert Profile.read(ROOT / "profiles" / name).settles_caches
