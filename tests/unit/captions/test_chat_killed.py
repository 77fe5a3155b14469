"""Killed, stopped or begun twice, captions are paid for once; and the key is nowhere."""

import logging
import signal
import time

import psutil
import pytest
from chat_study import KEY, Chat, Server, answered, asked

from tacolab.errors import UserError
from tacolab.readers.caption_table import CaptionTable
from tacolab.stages.captions.chat import sync


@pytest.mark.slow
def test_killed_again_and_again_it_pays_only_what_was_in_flight(server: Server, chat: Chat) -> None:
    mock, _ = server
    mock.latency = 0.1
    mock.key = KEY
    study = chat(100)
    study.api["concurrency"] = 4
    kills = 0
    for wanted in (20, 120):
        process = study.start()
        while answered(mock) < wanted:
            time.sleep(0.01)
        process.kill()
        process.wait()
        kills += 1
        stored = [(row["image"], row["index"]) for row in study.stored()]
        assert len(stored) == len(set(stored)) >= answered(mock) - 4 * kills
    file = next((study.folder / "data/answers").glob("*/*.jsonl"))
    with file.open("ab") as torn:
        torn.write(b'{"image": "12')
    process = study.start()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert len(CaptionTable(study.table.path)) == 200
    print(f"{answered(mock)} answers paid for 200 captions, {kills} kills, 4 in flight")
    assert 200 <= answered(mock) <= 200 + 4 * kills
    assert KEY not in errors


@pytest.mark.slow
def test_sigterm_waits_for_what_is_in_flight_and_leaves_with_75(server: Server, chat: Chat) -> None:
    mock, _ = server
    mock.latency = 0.3
    study = chat(100)
    study.api["concurrency"] = 4
    process = study.start()
    while answered(mock) < 20:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 75, errors
    assert "stopped (SIGTERM)" in errors and "Traceback" not in errors
    assert len(study.stored()) == answered(mock) < 200
    mock.latency = 0
    study.run()
    assert answered(mock) == 200


@pytest.mark.slow
def test_two_processes_that_want_the_same_pay_once(server: Server, chat: Chat) -> None:
    mock, _ = server
    mock.latency = 0.2
    study = chat(10)
    processes = [study.start(), study.start()]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert answered(mock) == 20


def test_the_key_is_in_no_file_log_or_message(
    server: Server, chat: Chat, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server echoes it in an error; httpx2 and openai log all they can."""
    caplog.set_level(logging.DEBUG)
    mock, _ = server
    mock.key = KEY
    mock.faults = [(500, {}, f"Bearer {KEY}"), (429, {}, KEY)]
    study = chat(3)
    study.run()
    monkeypatch.setenv("OPENAI_API_KEY", KEY + "-wrong")
    study.source["prompt"] = "Why?"
    with pytest.raises(UserError, match="refused the key") as failure:
        study.run()
    assert KEY not in str(failure.value)
    ours = [record for record in caplog.records if record.name.startswith("tacolab")]
    assert ours and not any(KEY in record.getMessage() for record in ours)
    assert not any(KEY in record.getMessage() for record in caplog.records if record.levelno >= 20)
    for path in study.folder.rglob("*"):
        assert not (path.is_file() and KEY.encode() in path.read_bytes()), path


@pytest.mark.slow
def test_the_key_is_in_no_process_title(server: Server, chat: Chat) -> None:
    """Titles can be read by everybody on the machine, an environment by its owner alone."""
    mock, _ = server
    mock.latency = 60
    process = chat(4).start()
    try:
        while asked(mock) < 4:
            time.sleep(0.02)
        running = psutil.Process(process.pid)
        titles = [one.cmdline() for one in (running, *running.children(recursive=True))]
        assert titles[0] and KEY not in str(titles)
        assert running.environ()["OPENAI_API_KEY"] == KEY
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_a_second_ctrl_c_waits_for_nothing(server: Server, chat: Chat) -> None:
    """What was in flight counts as paid; the same command goes on."""
    mock, _ = server
    mock.latency = 60
    study = chat(4)
    process = study.start()
    while asked(mock) < 8:
        time.sleep(0.02)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert time.monotonic() - began < sync.GRACE / 2
    assert process.returncode != 0
    assert [row["outcome"] for row in study.stored()] == 8 * ["lost"]
    mock.latency = 0
    assert len(CaptionTable(study.run().path)) == 8
