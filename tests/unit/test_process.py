"""A process ends with another one, whatever stands between them."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from tacolab.files import process
from tacolab.files.process import Process

# A head that starts its job as Snakemake does: by a shell, which waits for it.
HEAD = """
import os, subprocess, sys
from tacolab.files import process
os.environ[process.HEAD] = str(process.Process.me())
subprocess.run(["bash", "-c", '"$0" -c "$1"; true', sys.executable, sys.argv[1]])
"""
JOB = """
import signal, sys, time
from tacolab.files import process
def save(*_):
    print("saved", flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
process.end_with_head()
print("works", flush=True)
time.sleep(60)
"""


def test_a_job_of_a_killed_head_saves_and_leaves() -> None:
    head = subprocess.Popen([sys.executable, "-c", HEAD, JOB], stdout=subprocess.PIPE, text=True)
    assert head.stdout is not None
    assert head.stdout.readline() == "works\n"
    head.kill()
    assert head.wait(10) == -signal.SIGKILL
    assert head.stdout.read() == "saved\n"  # to the end: nobody writes there any more


@pytest.mark.parametrize("head", ["", "7", "of another machine"])
def test_a_head_that_is_not_of_this_machine_ends_nothing(head: str) -> None:
    """Another node's job may have been given its environment."""
    if head == "of another machine":
        head = str(replace(Process.me(), machine="01234567"))
    code = "import time\nfrom tacolab.files import process\nprocess.end_with_head()\ntime.sleep(1)"
    ended = subprocess.run([sys.executable, "-c", code], env=os.environ | {process.HEAD: head})
    assert ended.returncode == 0


def test_a_process_is_known_by_what_stands_in_a_name() -> None:
    me = Process.me()
    assert Process.parse(str(me)) == me
    assert Process.parse(str(replace(me, job=17))) == replace(me, job=17)
    assert me.lives
    assert not replace(me, start=f"{int(me.start) + 1}").lives
    assert replace(me, machine="01234567").lives is None
    assert Process.parse("123") is None
