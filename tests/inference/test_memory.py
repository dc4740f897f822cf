"""Free memory: of the machine, and of the container around it."""

import psutil
import pytest
import torch

from esrgan_lightning.inference.memory import container_room, free_memory, out_of_memory


def test_free_memory_is_the_machines_at_most():
    assert 0 < free_memory(torch.device("cpu")) <= psutil.virtual_memory().total
    assert free_memory(torch.device("meta")) is None


def test_a_containers_limit_counts(tmp_path):
    """A plan by the machine's memory is killed in a smaller container; cached files are no use of it."""
    assert container_room(tmp_path) is None
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 200\nfile 600\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert container_room(tmp_path) is None
    (tmp_path / "memory.max").write_text("1000\n")
    assert container_room(tmp_path) == 1000 - 700 + 200
    (tmp_path / "memory.max").write_text("300\n")
    assert container_room(tmp_path) == 0


def test_only_want_of_memory_is_taken_for_it():
    """A defect taken for it would be tried again at half the size, and again."""
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert out_of_memory(MemoryError())
    with pytest.raises(RuntimeError) as raised:  # what the allocator itself says
        torch.empty(2**60, dtype=torch.uint8)
    assert out_of_memory(raised.value)
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not out_of_memory(ValueError("can't allocate memory"))
