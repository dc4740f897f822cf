"""A sweep: a folder for each job, one table at the end, and a verdict."""

import csv
import io
import pickle
import re

import pytest
import tiny
import yaml
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from esrgan_lightning.cli.sweep import SweepTable, check_objective
from esrgan_lightning.report import csv_table, find_runs, report_page


def lines_of_table(out):
    """The cells of the table's body."""
    body = [line for line in out.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in body]


def test_three_jobs_have_three_folders_and_one_table(call, tmp_path):
    """Breaks if jobs share a folder, a pixel weight of 0 fails, or the table is printed for each job."""
    arguments = ("stage=gan", "init=null", "name=eta", *tiny.GAN, "trainer.max_updates=1")
    code, out, err = call("-m", *arguments, "loss.weights.pixel=0,1e-2,1e-1")
    assert code == 0, err
    assert out.count("folder") == 1
    cells = lines_of_table(out)
    assert [row[:2] for row in cells] == [
        ["runs/eta/0", "loss.weights.pixel=0"],
        ["runs/eta/1", "loss.weights.pixel=0.01"],
        ["runs/eta/2", "loss.weights.pixel=0.1"],
    ]
    assert all(re.fullmatch(r"\d+\.\d{4}", cell) for row in cells for cell in row[2:])
    for number, weight in enumerate((0, 1e-2, 1e-1)):
        run = tmp_path / "runs/eta" / str(number)
        assert (run / "generator.safetensors").is_file()
        assert (run / "checkpoints/last.ckpt").is_file()
        assert yaml.safe_load((run / "config.yaml").read_text())["loss"]["weights"]["pixel"] == weight
    with (tmp_path / "runs/eta/0/metrics.csv").open() as file:
        assert "train/pixel" not in file.readline()  # a term of weight 0 is not computed


def test_a_sweep_into_folders_with_checkpoints_is_refused(call):
    """Breaks if a repeated sweep writes over the first one."""
    sizes = (*tiny.PSNR, "trainer.max_updates=1")
    assert call("-m", "name=t", *sizes)[0] == 0
    code, out, _ = call("-m", "name=t", *sizes)
    assert code == 1
    assert "already holds checkpoints" in out


def test_a_defect_in_one_job_keeps_its_traceback_and_the_other_jobs(call, monkeypatch, tmp_path):
    """Breaks if an out-of-memory error in the first job costs a night's other jobs."""
    done = []

    def train(cfg, run_dir, *, spawn):
        assert spawn  # a script-launched process would run the whole sweep again
        done.append(run_dir)
        if cfg.seed == 1:
            raise MemoryError("not enough memory for 1 GiB")
        return {"val/psnr_y": 20.0}

    monkeypatch.setattr("esrgan_lightning.run.train.train", train)
    code, out, err = call("-m", "name=s", "seed=1,2,3")
    assert code == 1
    assert done == [tmp_path / "runs/s" / job for job in "012"]
    assert "Traceback" in err
    assert [row[2:] for row in lines_of_table(out)] == [
        ["–", "not enough memory for 1 GiB"], ["20.0000", ""], ["20.0000", ""],
    ]  # fmt: skip


def test_a_sweep_without_jobs_is_an_error(call):
    """Breaks if `experiment=glob(ladder/*)`, which finds nothing, looks like success."""
    code, _, err = call("-m", "name=s", "logger=glob(nothing*)")
    assert code == 1
    assert "the sweep has no job" in err


@pytest.mark.long
def test_a_job_has_a_name_of_its_own_at_weights_and_biases(call, monkeypatch, tmp_path):
    """Breaks if the curves of a sweep all bear one name there, or its jobs are in no group."""
    monkeypatch.setenv("WANDB_SILENT", "true")
    sizes = (*tiny.PSNR, "trainer.max_updates=1")
    code, _, err = call("-m", "name=brood", "logger=wandb", "logger.wandb.offline=true", *sizes)
    assert code == 0, err
    (file,) = (tmp_path / "runs/brood/0").glob("wandb/offline-run-*/*.wandb")
    # Protocol buffer, wandb_internal.RunRecord: run_group is field 6, display_name field 8.
    assert b"\x32\x05brood\x42\x07brood/0" in file.read_bytes()


@pytest.fixture
def table(tmp_path):
    """A sweep's table that has begun."""
    table = SweepTable()
    table.on_multirun_start(OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path / "sweep")}}}))
    return table


def end_job(table, number, value, *, status=JobStatus.COMPLETED, overrides=()):
    """As a launcher's process does: with a copy of the table."""
    hydra = {"runtime": {"output_dir": "elsewhere"}, "job": {"num": number}}
    job = JobReturn(overrides=list(overrides), status=status)
    job.return_value = value
    pickle.loads(pickle.dumps(table)).on_job_end(OmegaConf.create({"hydra": hydra}), job)


def test_the_table_shows_what_differs_and_every_metric(table, capsys, tmp_path):
    """Breaks if common overrides fill the table, columns shift, order is that of ending, or notes stay."""
    end_job(table, 10, {"val/b": 2.0}, overrides=["x=1", "y=3"])
    end_job(table, 9, {"val/a": 1.0}, overrides=["x=1", "y=[1,2]"])
    table.on_multirun_end(None)
    cells = lines_of_table(capsys.readouterr().out)
    assert cells == [["elsewhere", "y=[1,2]", "1.0000", "–"], ["elsewhere", "y=3", "–", "2.0000"]]
    assert not any((tmp_path / "sweep").iterdir())


def test_what_hydra_itself_calls_failed_is_failed(table, capsys):
    """Breaks if a job that never came to our own code counts as done, or a whole traceback fills a cell."""
    error = RuntimeError("-- Process 0 …\n\nTraceback\n  …\nKeyError: 'a'\n")
    end_job(table, 0, error, status=JobStatus.FAILED)
    end_job(table, 1, ZeroDivisionError(), status=JobStatus.FAILED)
    with pytest.raises(SystemExit) as stop:
        table.on_multirun_end(None)
    assert stop.value.code == 1
    assert [row[-1] for row in lines_of_table(capsys.readouterr().out)] == [
        "KeyError: 'a'",
        "ZeroDivisionError",
    ]


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_metric_whose_class_does_not_say_what_is_better_goes_either_way(direction):
    """Breaks if a search over a metric with the direction as a property, as ValidationMetric's, crashes."""
    metric = {"_target_": "esrgan_lightning.metrics.ValidationMetric", "name": "lpips", "crop": 4}
    cfg = OmegaConf.create({"objective": "mine", "metrics": [{"mine": metric}]})
    check_objective(cfg, OmegaConf.create({"direction": direction}))


@pytest.mark.slow
def test_jobs_of_which_one_fails_and_one_diverges_end_in_a_report_of_all(call, tmp_path):
    """Breaks if a job ends the sweep, is left out of the report, or diverging looks like any failure."""
    sizes = (*tiny.PSNR, "trainer.max_updates=6", "stage.max_skipped=2")
    code, out, err = call("-m", "name=four", *sizes, "optimizer.lr=1e-4,-1,2e-4,1e38")
    assert code == 1
    assert "4 jobs, 2 failed" in out
    assert "esrgan report runs/four" in out
    runs = find_runs([tmp_path / "runs/four"])
    assert [run.name for run in runs] == [str(n) for n in range(4)]
    assert [run.state for run in runs] == ["finished", "failed", "finished", "diverged"], err
    table = list(csv.DictReader(io.StringIO(csv_table(runs))))
    rates = ["0.0001", "-1", "0.0002", "1e+38"]
    assert [row["what differs"] for row in table] == [f"optimizer.lr={rate}" for rate in rates]
    assert "optimizer.lr=-1 must be" in table[1]["error"]
    assert "not finite" in table[3]["error"]
    assert all(float(table[done]["psnr_y"]) > 0 for done in (0, 2))
    page = report_page(runs, title="four")
    assert page.count("<tr ") == 4
    assert page.count("<figcaption>") == 3 + 2, "LR, bicubic, HR and the SR of each run that was validated"
