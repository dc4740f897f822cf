"""What other work leaves of the machine's cores."""

from types import SimpleNamespace

import pytest
import torch

from esrgan_lightning.ops import cores


def test_room_on_the_cores_is_what_other_work_leaves(monkeypatch):
    """Breaks if the process's own threads or loaders count as other work, or idle cores as busy ones."""
    clock = iter([0.0, 10.0, 10.0, 10.0])
    monkeypatch.setattr(cores.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(cores.os, "cpu_count", lambda: 8)
    spent = {"all": iter([100.0, 150.0, 150.0, 150.0]), "me": iter([5.0, 20.0, 20.0, 20.0])}
    loader = SimpleNamespace(cpu_times=lambda: SimpleNamespace(user=1.0, system=1.0))
    gone = SimpleNamespace(cpu_times=lambda: (_ for _ in ()).throw(cores.psutil.NoSuchProcess(1)))
    me = SimpleNamespace(
        cpu_times=lambda: SimpleNamespace(user=next(spent["me"]), system=0.0),
        children=lambda recursive: [loader, gone],
    )
    monkeypatch.setattr(cores.psutil, "cpu_times", lambda: SimpleNamespace(user=next(spent["all"]), idle=9e9))
    monkeypatch.setattr(cores.psutil, "Process", lambda: me)
    others = cores.OtherWork()
    assert others.cores() == 3.5  # 50 seconds of work in 10, of which 15 were its own
    assert (others.room_for(8), others.room_for(4)) == (4, 4)


@pytest.mark.parametrize(("others", "given", "left"), [(2.2, None, 1), (0.3, None, 4), (2.2, "4", 4)])
def test_other_work_is_left_its_cores_unless_the_user_says_how_many(monkeypatch, others, given, left):
    monkeypatch.setattr("esrgan_lightning.ops.cores.os.cpu_count", lambda: 4)
    monkeypatch.setattr(cores.OtherWork, "cores", lambda self: others)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        assert cores.limit_threads(cores.OtherWork()) == (left < 4)
        assert torch.get_num_threads() == left
    finally:
        torch.set_num_threads(before)
