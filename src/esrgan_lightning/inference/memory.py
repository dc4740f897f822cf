"""How much memory a device has to spare, and the error that says that it was too little."""

from pathlib import Path

import psutil
import torch

_CGROUP = Path("/sys/fs/cgroup")


def free_memory(device: torch.device) -> int | None:
    """Bytes that can still be allocated there; None where that cannot be asked.

    Of the CPU's memory what the system calls available, within a container no more than what it leaves.
    """
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    if device.type != "cpu":
        return None
    available = int(psutil.virtual_memory().available)
    left = container_room(_CGROUP)
    return available if left is None else min(available, left)


def container_room(cgroup: Path) -> int | None:
    """Bytes that the limit of a control group (v2) leaves; None where there is no limit.

    What the group uses counts without the files that are cached and would be dropped first.
    """
    limit, used = cgroup / "memory.max", cgroup / "memory.current"
    if not (limit.is_file() and used.is_file()) or limit.read_text().strip() == "max":
        return None
    statistics = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
    return max(0, int(limit.read_text()) - int(used.read_text()) + int(statistics["inactive_file"]))


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be allocated, on a GPU or on the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # On the CPU torch has no type of its own for it.
    return isinstance(error, RuntimeError) and any(
        words in str(error) for words in ("can't allocate memory", "not enough memory")
    )
