"""Threads beside one another that share the cores, where each would otherwise take all of them."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

from esrgan_lightning.ops.cores import OtherWork


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


def make_room(others: OtherWork) -> bool:
    """Computes with as many threads as other work leaves cores for, unless ``OMP_NUM_THREADS`` says how many.

    Whether they are fewer now.
    """
    threads = torch.get_num_threads()
    room = threads if "OMP_NUM_THREADS" in os.environ else others.room_for(threads)
    torch.set_num_threads(room)
    return room < threads
