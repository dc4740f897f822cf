"""Sweeps in processes of their own: each launcher is run for real, with one job that fails."""

import shutil

import pytest
import tiny

LAUNCHERS = {
    "joblib": ("hydra_joblib_launcher", ["hydra.launcher.n_jobs=2"]),
    "submitit_local": ("hydra_submitit_launcher", ["hydra.launcher.timeout_min=5"]),
    "ray": ("hydra_ray_launcher", ["+hydra.launcher.ray.init.num_cpus=1"]),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    ["joblib", *(pytest.param(name, marks=pytest.mark.long) for name in ("submitit_local", "ray"))],
)
def test_a_failed_job_of_a_launcher_is_told_and_the_other_is_done(call, launcher, tmp_path):
    """Breaks if a launcher's job loses its folder or result, or a failure ends the others or is not told."""
    plugin, settings = LAUNCHERS[launcher]
    pytest.importorskip(f"hydra_plugins.{plugin}", reason=f"needs the extra with {plugin}")
    sizes = (f"hydra/launcher={launcher}", *settings, *tiny.PSNR, "trainer.max_updates=1")
    code, out, err = call("-m", "name=far", *sizes, "data.patch_size=30,32")
    assert code == 1, err
    assert "2 jobs, 1 failed" in out
    rows = [line for line in out.splitlines() if line.startswith("│")]
    assert "runs/far/0" in rows[0]
    assert "data.patch_size=30 is not a positive multiple" in out
    assert "runs/far/1" in rows[-1]
    assert (tmp_path / "runs/far/1/generator.safetensors").is_file()
    assert '"finished"' in (tmp_path / "runs/far/1/outcome.json").read_text()
    assert '"failed"' in (tmp_path / "runs/far/0/outcome.json").read_text()


@pytest.mark.skipif(shutil.which("srun") is not None, reason="SLURM is here")
def test_slurm_is_asked_for_where_it_is_not(call):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="the extra [slurm]")
    code, _, err = call("-m", "hydra/launcher=submitit_slurm", *tiny.PSNR, "seed=1,2")
    assert code == 2
    assert err == (
        "esrgan-train: hydra/launcher=submitit_slurm: SLURM's srun is not on this machine; "
        "start the sweep on the cluster, or take hydra/launcher=joblib\n"
    )
