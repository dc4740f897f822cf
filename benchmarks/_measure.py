"""Bytes that autograd keeps, the machine's peak, and operations."""

import resource
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


@dataclass
class SavedBytes:
    """Most bytes that autograd kept for backward at any one time, parameters aside, each storage once."""

    peak: int = 0
    now: int = 0
    holders: Counter[int] = field(default_factory=Counter)

    @contextmanager
    def watch(self, parameters: Iterable[Tensor]) -> Iterator[None]:
        """Counts what is saved within the block."""
        own = {parameter.untyped_storage().data_ptr() for parameter in parameters}

        def pack(tensor: Tensor) -> Any:
            return tensor if tensor.untyped_storage().data_ptr() in own else _Held(self, tensor.detach())

        def unpack(held: Any) -> Tensor:
            kept: Tensor = held.tensor if isinstance(held, _Held) else held
            return kept

        with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
            yield


class _Held:
    """Autograd drops it with its node: its storage then counts no more."""

    def __init__(self, book: SavedBytes, tensor: Tensor) -> None:
        self.book, self.tensor = book, tensor
        self.storage = tensor.untyped_storage()
        book.holders[self.storage.data_ptr()] += 1
        if book.holders[self.storage.data_ptr()] == 1:
            book.now += self.storage.nbytes()
            book.peak = max(book.peak, book.now)

    def __del__(self) -> None:
        self.book.holders[self.storage.data_ptr()] -= 1
        if self.book.holders[self.storage.data_ptr()] == 0:
            self.book.now -= self.storage.nbytes()


def synchronize(device: str) -> None:
    """Waits for the GPU, whose work is only queued."""
    if device == "cuda":
        torch.cuda.synchronize()


def gemm_peak(
    device: str, dtype: torch.dtype, *, size: int, clock: Callable[[], float], repeats: int = 5
) -> float:
    """Operations per second of a square matrix product: the best of a few."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    torch.mm(a, b)
    seconds = []
    for _ in range(repeats):
        synchronize(device)
        start = clock()
        torch.mm(a, b)
        synchronize(device)
        seconds.append(clock() - start)
    return 2 * size**3 / min(seconds)


def peak_memory() -> int:
    """Most bytes of memory that this process has had at any time.

    The kernel's own book of the process where there is one: getrusage counts what the parent had before, too.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def paired_ratio(theirs: list[float], ours: list[float]) -> float:
    """The median over rounds of theirs/ours: what else runs on the machine slows both sides of a round."""
    return statistics.median(a / b for a, b in zip(theirs, ours, strict=True))
