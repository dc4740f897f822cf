"""Looking at a run from outside."""

import os

import pytest

from esrgan_lightning.errors import InputError
from esrgan_lightning.ui import follow


def run(folder, rows=""):
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("seed: 0\n")
    (folder / "metrics.csv").write_text("step,train/loss,val/psnr_y\n" + rows)
    return folder


def test_runs_are_found_newest_first_and_nothing_else(tmp_path):
    for age, name in enumerate(("c", "sweep/1", "a/b/c")):
        folder = run(tmp_path / "runs" / name)
        os.utime(folder / "config.yaml", (1000 - age, 1000 - age))
    run(tmp_path / "runs/c/checkpoints/old")
    run(tmp_path / "elsewhere")
    assert follow.run_names(tmp_path / "runs") == ["c", "sweep/1", "a/b/c"]
    assert follow.run_names(tmp_path / "none") == []


@pytest.mark.parametrize("name", ["..", "../elsewhere", "c/../../elsewhere", "/etc", "", "c/."])
def test_no_folder_but_a_run_is_looked_at(tmp_path, name):
    run(tmp_path / "runs/c")
    run(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="there is no run"):
        follow.look(tmp_path / "runs", name)


def test_the_status_says_how_far_it_is(tmp_path):
    folder = run(tmp_path / "runs/c", "10,0.5,\n20,0.25,21.5\n")
    (folder / "outcome.json").write_text('{"state": "running"}')
    told = follow.status(follow.look(tmp_path / "runs", "c"))
    assert told == "c: running · update 20 · psnr_y 21.5"
