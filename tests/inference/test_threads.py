"""Threads that share the cores with one another, and with other work."""

import pytest
import torch

from esrgan_lightning.inference.threads import make_room
from esrgan_lightning.ops.cores import OtherWork


@pytest.mark.parametrize(("others", "given", "left"), [(2.2, None, 1), (0.3, None, 4), (2.2, "4", 4)])
def test_other_work_is_left_its_cores_unless_the_user_says_how_many(monkeypatch, others, given, left):
    monkeypatch.setattr("esrgan_lightning.ops.cores.os.cpu_count", lambda: 4)
    monkeypatch.setattr(OtherWork, "cores", lambda self: others)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        assert make_room(OtherWork()) == (left < 4)
        assert torch.get_num_threads() == left
    finally:
        torch.set_num_threads(before)
