"""Sweeps in processes of their own: joblib's launcher is run for real, with one job that fails."""

import pytest
import tiny


@pytest.mark.slow
def test_a_failed_job_of_a_launcher_is_told_and_the_other_is_done(call, tmp_path):
    """Breaks if a launcher's job loses its folder or result, or a failure ends the others or is not told."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs the extra joblib")
    sizes = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *tiny.PSNR, "trainer.max_updates=1")
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
