"""What other work leaves of the machine's cores."""

from types import SimpleNamespace

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
