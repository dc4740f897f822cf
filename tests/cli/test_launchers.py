"""Sweeps in processes of their own: each launcher is run for real, with one job that fails."""

from contextlib import ExitStack

import pytest
import slurm
import tiny

LAUNCHERS = {
    "joblib": ("hydra_joblib_launcher", ["hydra.launcher.n_jobs=2"]),
    "submitit_local": ("hydra_submitit_launcher", ["hydra.launcher.timeout_min=5"]),
    "submitit_slurm": ("hydra_submitit_launcher", ["hydra.launcher.timeout_min=5"]),
    "ray": ("hydra_ray_launcher", ["+hydra.launcher.ray.init.num_cpus=1"]),
}


@pytest.fixture
def cluster():
    with ExitStack() as stack:
        yield stack


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    ["joblib", *(pytest.param(name, marks=pytest.mark.long) for name in LAUNCHERS if name != "joblib")],
)
def test_a_failed_job_of_a_launcher_is_told_and_the_other_is_done(
    call, cluster, launcher, monkeypatch, tmp_path
):
    """Breaks if a launcher's job loses its folder or result, or a failure ends the others or is not told."""
    plugin, settings = LAUNCHERS[launcher]
    extra = {"submitit_local": "slurm", "submitit_slurm": "slurm"}.get(launcher, launcher)
    pytest.importorskip(f"hydra_plugins.{plugin}", reason=f"needs the extra {extra}: {plugin}")
    if launcher == "submitit_slurm":
        if absent := slurm.missing():
            pytest.skip(f"no SLURM here: Debian's slurm-wlm and munge would bring {', '.join(absent)}")
        for key, value in cluster.enter_context(slurm.one_node()).items():
            monkeypatch.setenv(key, value)
    sizes = (*tiny.PSNR, "trainer.max_updates=1")
    code, out, err = call(
        "-m", "name=far", f"hydra/launcher={launcher}", *settings, *sizes, "data.patch_size=30,32"
    )
    assert code == 1, err
    assert "2 jobs, 1 failed" in out
    rows = [line for line in out.splitlines() if line.startswith("│")]
    assert "runs/far/0" in rows[0]
    assert "data.patch_size=30 is not a positive multiple" in out
    assert "runs/far/1" in rows[-1]
    assert (tmp_path / "runs/far/1/generator.safetensors").is_file()
    assert '"finished"' in (tmp_path / "runs/far/1/outcome.json").read_text()
    assert '"failed"' in (tmp_path / "runs/far/0/outcome.json").read_text()
