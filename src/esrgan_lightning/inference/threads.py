"""Threads beside one another that share the cores, where each would otherwise take all of them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


@contextmanager
def sharing_cores(workers: int, *, threads: int = 1) -> Iterator[ThreadPoolExecutor]:
    """A pool of ``workers``, in each of which PyTorch computes on so many threads.

    Threads that compute one operation wait for one another at its end, and beside other work that is most of
    their time; pictures that are computed beside one another do not.
    """
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)  # each thread has its own number; new ones begin with the last set
