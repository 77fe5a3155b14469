"""Damaged files of every kind, read by the project's own readers: rightly, or with a clear error.

    python tests/fuzz.py --count 100000 --seed 1      # all kinds, by their shares
    python tests/fuzz.py --seed 1 --first 4711 --count 1    # one again

Anything else is a fault: another exception, a crash, a reader that does not come back, memory that
the file's size does not explain, or a result that is not the right one.
"""

import argparse
import logging
import multiprocessing
import random
import resource
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tacolab.errors import StageError, UserError

DOCUMENTED = (UserError, StageError, ValueError)
SECONDS = 30  # that a reader may take; a busy machine is no fault
MEMORY = 2**28  # bytes that reading may add at once
ADDRESSES = 2**33  # the same of what is only reserved

_processes = multiprocessing.get_context("forkserver")


@dataclass
class Found:
    """Outcomes by kind of file (`refused`, `right`), and the faults, a line each."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def table(self) -> str:
        names = list(dict.fromkeys(name for name, _ in self.outcomes))
        lines = [f"{'kind of file':34} {'damaged':>8} {'refused':>8} {'right':>8}"]
        for name in names:
            refused, right = self.outcomes[name, "refused"], self.outcomes[name, "right"]
            lines.append(f"{name:34} {refused + right:8} {refused:8} {right:8}")
        lines.append(f"{'all':34} {self.outcomes.total():8}, {len(self.faults)} faults")
        return "\n".join(lines)


def run(seed: int, count: int, first: int = 0, only: str = "") -> Found:
    """Damage `first` to `first + count` of a seed, each read in a process that may crash.

    only: a part of the names of the kinds of files that are to be damaged.
    """
    found = Found()
    number, end = first, first + count
    while number < end:
        number = _until_it_ends(seed, number, end, only, found)
    return found


def _until_it_ends(seed: int, number: int, end: int, only: str, found: Found) -> int:
    """The first number that this process has not read."""
    receiver, sender = _processes.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as work:
        process = _processes.Process(target=_read_all, args=(work, seed, number, end, only, sender))
        process.start()
        sender.close()
        name, patience = "", 10 * SECONDS  # until it has begun
        try:
            while receiver.poll(patience):
                number, name, outcome, fault = receiver.recv()
                patience = SECONDS
                if outcome == "begun":
                    continue
                number += 1
                if fault:
                    found.faults.append(fault)
                else:
                    found.outcomes[name, outcome] += 1
            how = f"did not come back in {patience} seconds"
        except EOFError:
            process.join()
            how = f"ended the process with {process.exitcode}"
        finally:
            process.kill()
            process.join()
    if number < end:
        if not name:
            raise RuntimeError(f"no file was read: {how}")
        found.faults.append(f"{name}, {_again(seed, number)}: {how}")
        number += 1
    return number


def _again(seed: int, number: int) -> str:
    return f"--seed {seed} --first {number} --count 1"


def _read_all(work: str, seed: int, number: int, end: int, only: str, to: Connection) -> None:
    from fuzzed import subjects

    logging.disable()  # what is skipped is said a thousand times
    shares = {name: found for name, found in subjects(Path(work)).items() if only in name}
    names, weights = list(shares), [share for share, _ in shares.values()]
    _limit()
    for now in range(number, end):
        numbers = random.Random(f"{seed} {now}")
        (name,) = numbers.choices(names, weights)
        damage, read = shares[name][1].damage, shares[name][1].read
        content, right = damage(numbers)
        to.send((now, name, "begun", ""))
        before = _resident()
        outcome, fault = "refused", ""
        try:
            outcome = "right"
            if not right(read(content)):
                fault = "another result than the right one, without an error"
        except DOCUMENTED as error:
            outcome = "refused"
            if "\n" in str(error) or "alloc" in str(error):
                fault = f"told in no usable line: {error!r}"
        except BaseException as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            fault = f"{error!r} in {place.filename}:{place.lineno}"
        if _resident() - before > MEMORY:
            fault += f"; {(_resident() - before) >> 20} MiB taken"
        if fault:
            fault = f"{name}, {_again(seed, now)}: {fault}"
        to.send((now, name, outcome, fault))


def _limit() -> None:
    """More memory than this, even if it is never used, ends in a MemoryError."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + ADDRESSES, size + ADDRESSES))


def _resident() -> int:
    """The most memory that this process has ever held [bytes]."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(arguments: Any = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", default="", help="a part of the names of kinds of files")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    found = run(options.seed, options.count, options.first, options.only)
    print(found.table())
    print(f"seed {options.seed}, {time.monotonic() - began:.0f} seconds")
    for fault in found.faults:
        print(fault)
    raise SystemExit(bool(found.faults))


if __name__ == "__main__":
    main()
