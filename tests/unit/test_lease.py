"""One owner per folder: real processes that are killed, stopped, or come all at once."""

import errno
import json
import multiprocessing
import os
import signal
import time
from dataclasses import asdict, replace
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

from tacolab.cluster import slurm
from tacolab.cluster.lease import Holder, Lease, NotOurs, Watch, acquire, newest

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tacolab.cluster.lease"])
PATIENT = 60.0  # longer than any of these tests


def hold(folder: Path, seconds: float, held: Event, hand_over: bool) -> None:
    """Hold the lease until asked for it; 0 when it was handed over, 3 when it was lost."""
    lease = acquire(folder, seconds)
    assert lease is not None
    held.set()
    while not lease.lost and not (hand_over and lease.asked):
        time.sleep(0.01)
    lost = lease.lost
    lease.release()
    raise SystemExit(3 if lost else 0)


def holder(
    folder: Path, seconds: float, hand_over: bool = True
) -> multiprocessing.context.ForkServerProcess:
    held = _processes.Event()
    process = _processes.Process(target=hold, args=(folder, seconds, held, hand_over), daemon=True)
    process.start()
    assert held.wait(30)
    return process


def take(folder: Path, seconds: float = PATIENT) -> Lease:
    lease = acquire(folder, seconds)
    assert lease is not None
    return lease


def test_generations_rise(tmp_path: Path) -> None:
    for generation in (1, 2, 3):
        lease = take(tmp_path)
        assert lease.generation == generation
        lease.check()
        lease.release()
    assert len(list(tmp_path.glob("lease-*"))) == 1


def test_killed_holder_is_replaced_at_once(tmp_path: Path) -> None:
    process = holder(tmp_path, PATIENT)
    process.kill()
    process.join()
    take(tmp_path).release()


def test_living_holder_hands_over(tmp_path: Path) -> None:
    process = holder(tmp_path, 3)
    lease = take(tmp_path)
    process.join(10)
    assert process.exitcode == 0
    assert lease.generation == 2
    lease.release()
    assert [path.name for path in tmp_path.iterdir()] == ["lease-000002.json"]


def test_stopped_holder_is_replaced_and_does_no_harm(tmp_path: Path) -> None:
    process = holder(tmp_path, 2, hand_over=False)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    lease = take(tmp_path, 2)
    os.kill(process.pid, signal.SIGCONT)
    process.join(10)
    assert process.exitcode == 3  # it noticed by itself
    lease.check()
    owner = newest(tmp_path)
    assert owner is not None and owner.pid == os.getpid() and not owner.released
    lease.release()


def test_overtaken_holder_may_not_write(tmp_path: Path) -> None:
    """Before its thread has noticed: whoever asks before writing is told."""
    sleeper = take(tmp_path)
    old = newest(tmp_path)
    assert old is not None
    content = (tmp_path / "lease-000001.json").read_text()
    (tmp_path / "lease-000002.json").write_text(
        content.replace('"generation": 1', '"generation": 2')
    )
    with pytest.raises(NotOurs, match="was taken over"):
        sleeper.check()
    sleeper.release()
    owner = newest(tmp_path)
    assert owner is not None and owner.generation == 2 and not owner.released


def test_living_holder_is_left_alone_where_nobody_may_ask(tmp_path: Path) -> None:
    process = holder(tmp_path, 3)
    with pytest.raises(NotOurs, match=f"process {process.pid}"):
        acquire(tmp_path, 3, ask=False)
    assert process.is_alive()
    process.kill()


def test_a_newer_job_in_the_queue_keeps_what_it_would_ask_for_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of results/ names the head of the other folder, a job that lives on there."""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    take(tmp_path).release()
    monkeypatch.delenv("SLURM_JOB_ID")
    monkeypatch.setattr(slurm, "state", lambda job: "RUNNING")
    with pytest.raises(NotOurs, match="a newer job that is in the queue"):
        acquire(tmp_path, PATIENT)
    lease = acquire(tmp_path, PATIENT, ask=False)
    assert lease is not None
    lease.release()


OLDER, NEWER = 5, 9  # jobs, seen from job 7


@pytest.mark.parametrize(
    ("life", "queued", "job", "ask", "expected"),
    [
        ("gone", False, OLDER, True, "take"),
        ("gone", False, NEWER, True, "take"),
        ("gone", True, NEWER, True, "leave"),
        ("gone", True, OLDER, True, "take"),
        ("gone", True, NEWER, False, "take"),
        ("seen", True, OLDER, True, "ask"),
        ("seen", True, NEWER, True, "leave"),
        ("seen", True, OLDER, False, "leave"),
        ("unknown", True, OLDER, True, "ask"),
        ("unknown", True, NEWER, True, "wait"),
        ("unknown", True, OLDER, False, "wait"),
    ],
)
def test_what_a_newcomer_does(
    life: str,
    queued: bool,
    job: int,
    ask: bool,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr(Watch, "life", lambda *_: life)
    monkeypatch.setattr(slurm, "state", lambda job: "PENDING" if queued else "GONE")
    holder = replace(Holder.me(1), job=job)
    (tmp_path / "lease-000001.json").write_text(json.dumps(asdict(holder)))
    wishes: list[bool] = []

    def give_up() -> bool:
        wishes.append((tmp_path / "handover-000001").exists())
        return len(wishes) == 2

    try:
        lease = acquire(tmp_path, 1, ask, give_up)
    except NotOurs:
        found = "leave"
    else:
        found = "take" if lease else "ask" if wishes[-1] else "wait"
        if lease:
            lease.release()
    assert found == expected


def test_newcomer_that_gives_up_takes_its_wish_back(tmp_path: Path) -> None:
    """Else the holder would save and leave for nobody."""
    process = holder(tmp_path, PATIENT, hand_over=False)
    wish = tmp_path / "handover-000001"
    assert acquire(tmp_path, PATIENT, give_up=wish.exists) is None
    assert not wish.exists()
    assert process.is_alive()
    process.kill()


def test_clocks_may_jump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The holder's to the year 2100 and back to 1970, the reader's by a week: only whether the sign
    of life changes counts."""
    lease = take(tmp_path)
    lease.release()
    path = next(tmp_path.glob("lease-*"))
    elsewhere = replace(lease.me, boot="another machine's")
    watch = Watch(PATIENT)
    assert watch.life(tmp_path, elsewhere, lease.me) == "unknown"
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 7 * 24 * 3600)
    for stamp in (4_102_444_800, 0, 60):
        os.utime(path, (stamp, stamp))
        assert watch.life(tmp_path, elsewhere, lease.me) == "seen"


def test_a_folder_that_changes_while_it_is_read_is_not_taken_for_untouched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its generation is removed after the folder was listed, since the next one comes."""
    take(tmp_path).release()
    real = Path.read_text

    def late(path: Path, *how: Any, **options: Any) -> str:
        monkeypatch.undo()
        take(tmp_path).release()
        return real(path, *how, **options)

    monkeypatch.setattr(Path, "read_text", late)
    owner = newest(tmp_path)
    assert owner is not None and owner.generation == 2


def test_a_lease_that_is_being_written_is_not_asked_for(tmp_path: Path) -> None:
    """It may be that of a newer job."""
    (tmp_path / "lease-000001.json").touch()
    looks = iter([False, False, True])
    assert acquire(tmp_path, PATIENT, give_up=lambda: next(looks)) is None
    assert [path.name for path in tmp_path.iterdir()] == ["lease-000001.json"]


def test_a_lease_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        patched.setattr("tacolab.cluster.lease.json.dump", full)
        acquire(tmp_path)
    assert not list(tmp_path.iterdir())
    take(tmp_path).release()


def test_half_written_lease_counts_as_dead_after_a_while(tmp_path: Path) -> None:
    """Its writer died between creating and writing it."""
    (tmp_path / "lease-000004.json").write_text("")
    lease = take(tmp_path, 1)
    assert lease.generation == 5
    lease.release()


def work(folder: Path, seconds: float) -> None:
    """Hold the lease for a moment, and note when."""
    lease = acquire(folder, seconds)
    assert lease is not None
    with (folder / "journal").open("a") as file:
        file.write("begin\n")
        file.flush()
        time.sleep(0.05)
        lease.check()
        file.write("end\n")
    lease.release()


@pytest.mark.slow
def test_all_at_once_and_still_one_at_a_time(tmp_path: Path) -> None:
    processes = [_processes.Process(target=work, args=(tmp_path, PATIENT)) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    assert (tmp_path / "journal").read_text().split() == ["begin", "end"] * 8
    owner = newest(tmp_path)
    assert owner is not None and owner.generation == 8
