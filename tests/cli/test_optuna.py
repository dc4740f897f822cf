"""A search by Optuna through Hydra's plugin, with real trainings."""

import csv

import pytest
import tiny
import yaml

pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="needs the extra optuna")

# The plugin takes Optuna 2, whose own dependencies have moved on.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
SEARCH = ("-m", "hydra/sweeper=optuna", "name=search", *tiny.PSNR)
UP = "hydra.sweeper.direction=maximize"


@pytest.mark.slow
def test_a_search_finds_the_best_and_survives_a_trial_that_fails(call, tmp_path):
    """Breaks if Optuna gets another figure than the run's own, or a failed trial ends the search."""
    few = ("hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=1", "hydra.sweeper.sampler.seed=7")
    choices = ("data.patch_size=choice(30,32)", "optimizer.lr=tag(log,interval(1e-6,1e-2))")
    free = [each for each in SEARCH if "patch_size" not in each]  # what is fixed is not searched
    code, out, err = call(*free, UP, *few, "objective=psnr_y", *choices, "trainer.max_updates=1")
    folders = [tmp_path / f"runs/search/{number}" for number in range(3)]
    outcomes = [yaml.safe_load((folder / "outcome.json").read_text())["state"] for folder in folders]
    assert set(outcomes) == {"finished", "failed"}, "another seed is needed for both to be tried"
    assert code == 1, err
    assert f"3 jobs, {outcomes.count('failed')} failed" in out
    found = yaml.safe_load((tmp_path / "runs/search/optimization_results.yaml").read_text())
    figures = []
    for folder, outcome in zip(folders, outcomes, strict=True):
        if outcome == "finished":
            with (folder / "metrics.csv").open(newline="") as file:
                figures.append(
                    max(float(row["val/psnr_y"]) for row in csv.DictReader(file) if row["val/psnr_y"])
                )
    assert found["best_value"] == pytest.approx(max(figures), abs=1e-4)
    assert found["best_params"]["data.patch_size"] == 32


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ((UP,), "objective=None: say what is optimised, one of psnr_y, ssim_y"),
        ((UP, "objective=lpips"), "objective=lpips: say what is optimised, one of psnr_y, ssim_y"),
        (("objective=psnr_y",), "hydra.sweeper.direction=minimize, but of psnr_y higher is better"),
        (
            (UP, "stage=material", "objective=loss"),
            "hydra.sweeper.direction=maximize, but of loss lower is better",
        ),
    ],
)
def test_a_search_for_nothing_is_told_before_it_trains(call, tmp_path, settings, words):
    sizes = ("-m", "hydra/sweeper=optuna", "name=search") if "stage=material" in settings else SEARCH
    code, _, err = call(*sizes, "hydra.sweeper.n_trials=1", "seed=choice(1,2)", *settings)
    assert code == 1
    assert words in err
    assert "no trial of the search came to its end" in err
    assert not (tmp_path / "runs/search/0/checkpoints").exists()


def test_an_objective_is_checked_in_any_sweep(call):
    code, _, err = call("-m", "name=s", "objective=vmaf", *tiny.PSNR)
    assert code == 1
    assert "objective=vmaf: say what is optimised" in err
