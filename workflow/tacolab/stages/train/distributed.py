"""One training on several GPUs of one node: a process (rank) per GPU, with its slice of each batch.

Rank 0 is the process that the user or SLURM started. It starts the others by itself and alone
hears signals, reads and writes files, validates and decides to stop; the others only take the same
steps. torchrun does the first half too, but turns exit code 75 into 1 and kills a rank that needs
more than 30 s to save. In a single process every function here gives back what it was given.
"""

import logging
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.autograd import Function
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

from tacolab.errors import StageError, UserError
from tacolab.files.process import Process, end_with
from tacolab.stages.train.stop import SIGNALS

log = logging.getLogger(__name__)

T = TypeVar("T")

_WAIT = timedelta(hours=2)  # for rank 0: longer than it validates or writes a checkpoint
_GRACE = 5.0  # seconds in which a rank that has lost another may end by itself


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def averaging(model: nn.Module) -> nn.Module:
    """`model`, whose gradients are averaged over the ranks as they are computed (DDP)."""
    if world_size() == 1:
        return model
    # The loss gives no gradient to the quantiles (aux_loss does: a function of the weights alone,
    # the same on every rank). A DDP that looks for unused parameters also never rebuilds its
    # buckets after the first step, so that a resumed run sums in the same order, to the bit.
    return DistributedDataParallel(
        model, forward_sync_buffers=False, gradient_as_bucket_view=True, find_unused_parameters=True
    )


def gather(part: Tensor) -> Tensor:
    """b x ... of each rank -> B x ..., in the order of the batch, with gradient."""
    gathered: Tensor = part if world_size() == 1 else _Gather.apply(part)
    return gathered


class _Gather(Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        parts = [torch.empty_like(part) for _ in range(world_size())]
        dist.all_gather(parts, part.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, whole: Tensor) -> Tensor:
        # Each rank computes the same loss of the whole batch, but its gradient reaches the weights
        # only through the rank's own part. These add up to the gradient; DDP takes their mean.
        return whole.chunk(world_size())[rank()] * world_size()


def mean(values: Tensor) -> Tensor:
    """The mean over the ranks, without gradient."""
    values = values.detach().clone()
    if world_size() > 1:
        dist.all_reduce(values)
        values /= world_size()
    return values


def first(value: T | None = None) -> T | None:
    """What rank 0 gives; the other ranks wait for it."""
    if world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, device=torch.device("cpu"))
    return values[0]


@contextmanager
def started(
    count: int, device: torch.device, follow: Callable[..., None], *args: Any
) -> Iterator[None]:
    """Within it, this process is rank 0 of `count`; the others call `follow(*args)`.

    On `cuda` rank r computes on GPU r. Raises UserError where there are not enough, StageError when
    another rank died. None of them outlives rank 0.
    """
    if count == 1:
        yield
        return
    if device.type == "cuda" and torch.cuda.device_count() < count:
        seen = torch.cuda.device_count()
        raise UserError(
            f"execution.gpus = {count}, but torch sees {seen}; lower it, or ask the queue for more"
        )
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    others = [
        multiprocessing.get_context("spawn").Process(
            target=_other,
            name=f"rank {n}",
            args=(n, Process.me(), count, store.port, device, follow, args),
        )
        for n in range(1, count)
    ]
    # A child inherits blocked signals. SLURM and a terminal send theirs to every process, which
    # would end those ranks before rank 0 has saved.
    resource_tracker.ensure_running()  # else started with the first child, and unblocks them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    for process in others:
        process.start()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)

    leaving = threading.Event()
    threading.Thread(target=_watch, args=(others, leaving), daemon=True).start()
    try:
        _join(store, 0, count, device)
        yield
        leaving.set()
        dist.destroy_process_group()
        for process in others:
            process.join(_GRACE)
    except RuntimeError as error:  # of a connection that the other end has closed
        for process in others:
            process.join(1)
        if died := _died(others):
            raise StageError(died) from error
        raise
    finally:
        leaving.set()
        for process in others:
            process.kill()
            process.join()


def _join(store: TCPStore, rank: int, count: int, device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.set_device(rank)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=_WAIT)


def _other(
    rank: int,
    rank_0: Process,
    count: int,
    port: int,
    device: torch.device,
    follow: Callable[..., None],
    args: tuple[Any, ...],
) -> None:
    """The life of a rank that is not the first."""
    # Rank 0 says all that there is to say, except why this one failed.
    logging.basicConfig(level=logging.ERROR, format=f"%(asctime)s rank {rank}: %(message)s")
    warnings.simplefilter("ignore")
    end_with(rank_0, signal.SIGKILL)  # NCCL would wait for a rank 0 that is no more
    try:
        _join(TCPStore("127.0.0.1", port), rank, count, device)
        follow(*args)
        dist.destroy_process_group()
    except Exception as error:
        log.error("%s: %s", type(error).__name__, error)
        raise SystemExit(1) from None


def _watch(others: Sequence[SpawnProcess], leaving: threading.Event) -> None:
    """End this process when another rank died: NCCL would wait for it, where gloo raises."""
    while not leaving.wait(1):
        if (died := _died(others)) and not leaving.wait(_GRACE):
            log.error(died)
            os._exit(1)


def _died(others: Sequence[SpawnProcess]) -> str:
    """Which ranks ended before their time, and how; empty if none did."""
    how = [
        f"{process.name} "
        + (f"was killed by {signal.Signals(-code).name}" if code < 0 else "failed, see above")
        for process in others
        if (code := process.exitcode)
    ]
    if not how:
        return ""
    return f"{', '.join(how)}; the same command goes on from the last checkpoint"
