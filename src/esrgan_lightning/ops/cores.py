"""The cores that other processes leave to this one; torch is loaded where threads are limited."""

import os
import time
from contextlib import suppress

import psutil


class OtherWork:
    """What other processes take of the machine's cores, from now on."""

    def __init__(self) -> None:
        self._start = self._worked()

    def cores(self) -> float:
        """How many cores' work they have done since."""
        wall, everybody, own = (now - then for now, then in zip(self._worked(), self._start, strict=True))
        return (everybody - own) / wall

    def room_for(self, threads: int) -> int:
        """How many of a computation's threads have a core beside them.

        Threads wait for one another at the end of each operation: one that has no core holds all of them up.
        """
        others = self.cores()
        return threads if others < 0.5 else min(threads, max(1, int((os.cpu_count() or 1) - others)))

    @staticmethod
    def _worked() -> tuple[float, float, float]:
        """Seconds: of the clock, of all processes' work, of that of this one and its children."""
        kinds = ("user", "nice", "system", "irq", "softirq", "steal")
        times, me, own = psutil.cpu_times(), psutil.Process(), 0.0
        for each in (me, *me.children(recursive=True)):
            with suppress(psutil.Error):  # it may end meanwhile
                spent = each.cpu_times()
                own += spent.user + spent.system
        return time.perf_counter(), sum(getattr(times, kind, 0.0) for kind in kinds), own


def limit_threads(others: OtherWork) -> bool:
    """Lets torch have as many threads as other work leaves cores for; what ``OMP_NUM_THREADS`` says stays.

    Whether they are fewer now.
    """
    import torch

    threads = torch.get_num_threads()
    room = threads if "OMP_NUM_THREADS" in os.environ else others.room_for(threads)
    torch.set_num_threads(room)
    return room < threads
