"""An update is a batch everywhere; updates that are not finite are left out and counted."""

import itertools

import pytest
import pytorch_lightning as pl
import torch
from by_hand import batches, fit, gan_stage, poisoned, psnr_stage
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins.precision import MixedPrecision
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from esrgan_lightning import GANStage
from esrgan_lightning.errors import InputError
from esrgan_lightning.losses import PerceptualLoss, WeightedLoss
from esrgan_lightning.run.checkpoints import BestCheckpoint
from esrgan_lightning.run.metrics_csv import MetricsCSV
from esrgan_lightning.stages.faults import NonFiniteError

STAGES = pytest.mark.parametrize("make", [psnr_stage, gan_stage], ids=["psnr", "gan"])


class Record(Callback):
    """`global_step` and learning rates after each batch, the weights after each update."""

    def __init__(self):
        self.steps, self.rates, self.weights = [], [], []

    def on_train_batch_end(self, trainer, stage, *_):
        self.steps.append(trainer.global_step)
        self.rates.append([optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers])
        self.weights.append([p.detach().clone() for p in stage.generator.parameters()])


@STAGES
@pytest.mark.parametrize("accumulate", [1, 3])
def test_an_update_is_counted_once_however_many_batches_and_optimisers_it_has(make, accumulate):
    """Breaks if max_steps or a schedule counts small batches, or a GAN's update twice as Lightning would.

    Or if update 0 is trained at the second rate.
    """
    record = Record()
    stage = make(accumulate=accumulate, schedule=lambda optimizer: LambdaLR(optimizer, lambda n: 0.1**n))
    trainer = fit(stage, batches(4 * accumulate), max_steps=2, callbacks=[record])
    done = [(batch + 1) // accumulate for batch in range(2 * accumulate)]
    assert record.steps == done
    assert trainer.global_step == 2
    for rates, updates in zip(record.rates, done, strict=True):
        assert rates == pytest.approx([1e-3 * 0.1**updates] * len(rates))  # the next update's
    moved = [not torch.equal(one[0], other[0]) for one, other in itertools.pairwise(record.weights)]
    assert moved == [number % accumulate == 0 for number in range(2, 2 * accumulate + 1)]


@STAGES
def test_checkpoint_names_and_logs_speak_of_updates(make, tmp_path):
    """Breaks if a file or a row of metrics.csv is named after optimiser steps or small batches."""
    accumulate = 2
    fit(
        make(accumulate=accumulate),
        batches(3 * accumulate),
        validate=1,
        val_check_interval=3 * accumulate,
        callbacks=[BestCheckpoint(tmp_path)],
        enable_checkpointing=True,
        logger=MetricsCSV(tmp_path / "metrics.csv"),
        log_every_n_steps=accumulate,
    )
    columns, *rows = [row.split(",") for row in (tmp_path / "metrics.csv").read_text().splitlines()]
    assert columns[0] == "step"
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert rows[2][columns.index("val/psnr_y")]
    assert not rows[1][columns.index("val/psnr_y")]
    assert [path.name for path in tmp_path.glob("*.ckpt")] == ["best_update_0000003.ckpt"]


@STAGES
def test_moving_average_has_its_closed_form(make):
    """Breaks if the average is taken twice per GAN batch, per small batch, or of anything but G's weights.

    θ'_n = d^(n−1) θ_1 + (1−d) Σ_{i=2..n} d^(n−i) θ_i
    """
    record, decay, n = Record(), 0.9, 4
    stage = make(ema_decay=decay, accumulate=2)
    fit(stage, batches(2 * n), callbacks=[record])
    weights = record.weights[1::2]
    shares = [decay ** (n - 1), *((1 - decay) * decay ** (n - i) for i in range(2, n + 1))]
    for average, *history in zip(stage.model.parameters(), *weights, strict=True):
        expected = sum(share * each for share, each in zip(shares, history, strict=True))
        torch.testing.assert_close(average, expected)
        assert not torch.equal(average, history[-1])
        assert not average.requires_grad


@STAGES
@pytest.mark.parametrize("how", ["loss", "gradient"])
def test_a_non_finite_update_is_skipped_and_counted(make, how):
    """Breaks if a NaN reaches the weights, or the optimiser's moments, or nobody is told."""
    record = Record()
    trainer = fit(poisoned(make, [2], how), batches(3), callbacks=[record])
    first, second, third = record.weights
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(p.isfinite().all() for p in third)
    assert not torch.equal(second[0], third[0])
    assert trainer.global_step == 3
    assert trainer.callback_metrics["train/skipped"] == 1


def test_a_nan_in_a_batch_does_not_stay_in_batch_norm():
    """Breaks if the running statistics are NaN for the rest of the run, and in the exported network."""
    images = batches(3)
    images[1]["hr"].fill_(float("nan"))
    stage = gan_stage()
    trainer = fit(stage, images)
    assert trainer.callback_metrics["train/skipped"] == 1
    assert all(value.isfinite().all() for value in stage.state_dict().values())


@STAGES
def test_one_bad_batch_spoils_the_whole_accumulated_update(make):
    """Breaks if only the update's last batch is looked at."""
    record = Record()
    trainer = fit(poisoned(make, [3], "loss", accumulate=2), batches(4), callbacks=[record])
    assert torch.equal(record.weights[1][0], record.weights[3][0])
    assert trainer.callback_metrics["train/skipped"] == 1


@STAGES
def test_too_many_in_a_row_stop_the_training(make):
    """Breaks if a diverged run goes on for a week, or if good updates between do not reset the count."""
    with pytest.raises(NonFiniteError, match=r"update 4: 2 updates in a row.*learning rate"):
        fit(poisoned(make, [1, 3, 4, 5], "gradient", max_skipped=2), batches(6))
    trainer = fit(poisoned(make, [1, 3, 5], "gradient", max_skipped=2), batches(6))
    assert trainer.callback_metrics["train/skipped"] == 3


def half(scale=2.0**10):
    """Lightning has no fp16 on the CPU by itself; torch has."""
    return MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=scale))


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=1.0, momentum=0.9)


def fused_adam(parameters):
    return torch.optim.Adam(parameters, fused=True)


@STAGES
@pytest.mark.parametrize(
    ("optimizer", "moment", "share"), [(sgd, "momentum_buffer", 1.0), (fused_adam, "exp_avg", 0.1)]
)
def test_fp16_clips_unscaled_gradients(make, optimizer, moment, share):
    """Breaks if a scaled gradient is clipped: the step would be a thousandth of what it should be.

    Lightning's precision plugin leaves unscaling to a fused optimiser's own step. After one step the
    optimiser's first moment is the gradient that it was given, times 1 − β1.
    """
    given = {}
    for precision, plugins in (("32-true", []), (None, [half()])):
        stage = make(clip_norm=1e-2, optimizer=optimizer)
        trainer = fit(stage, batches(1), plugins=plugins, precision=precision)
        assert trainer.callback_metrics["train/skipped"] == 0
        moments = [
            torch.cat([state[moment].flatten() for state in each.state.values()]) / share
            for each in trainer.optimizers
        ]
        assert [float(each.norm()) for each in moments] == pytest.approx([1e-2] * len(moments), rel=1e-3)
        given[precision] = moments[0]
    torch.testing.assert_close(given[None], given["32-true"], rtol=0.1, atol=2e-4)


def test_fp16_gradients_that_wait_follow_the_scale():
    """Breaks if D's gradient, taken before G's step, is divided by the scale that this step has changed."""
    given = {}
    for precision, plugins in (("32-true", []), (None, [half()])):
        for plugin in plugins:
            plugin.scaler.set_growth_interval(1)  # each clean step doubles it
        trainer = fit(gan_stage(optimizer=sgd), batches(1), plugins=plugins, precision=precision)
        states = trainer.optimizers[1].state.values()
        given[precision] = torch.cat([state["momentum_buffer"].flatten() for state in states])
    assert plugin.scaler.get_scale() == 2.0**12
    torch.testing.assert_close(given[None].norm(), given["32-true"].norm(), rtol=0.1, atol=0)


@STAGES
def test_fp16_overflow_is_skipped_counted_and_scaled_down(make):
    """Breaks if the scaler's own skipping is not noticed: the run would stand still and look well."""
    stage, plugin = make(), half(scale=2.0**40)
    before = [p.detach().clone() for p in stage.generator.parameters()]
    trainer = fit(stage, batches(1), plugins=[plugin], precision=None)
    assert plugin.scaler.get_scale() < 2.0**40
    assert trainer.callback_metrics["train/skipped"] == 1
    assert all(torch.equal(a, b) for a, b in zip(before, stage.generator.parameters(), strict=True))


@STAGES
def test_checkpoints_load_without_pickle_and_hold_what_they_should(make, tmp_path):
    """Breaks if a checkpoint needs trust, or carries a perceptual backbone to every user of the file."""

    class Backbone(nn.Module):
        layers = ("only",)

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, image):
            return {"only": image * self.weight}

    given = {"given": ["adversarial"]} if make is gan_stage else {}
    weights = {"perceptual": 1.0} | ({"adversarial": 5e-3} if given else {})
    losses = WeightedLoss({"perceptual": PerceptualLoss(Backbone())}, weights, **given)
    stage = make(losses=losses, ema_decay=0.9, provenance={"config_hash": "c"})
    trainer: pl.Trainer = fit(stage, batches(1))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    content = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert content["global_step"] == 1
    assert content["esrgan_lightning"]["spec"]["architecture"] == "RRDBNet"
    assert content["esrgan_lightning"]["provenance"] == {"config_hash": "c"}
    networks = {"generator", "ema"} | ({"discriminator"} if make is gan_stage else set())
    assert {name.split(".")[0] for name in content["state_dict"]} == networks
    learning = sum(len(group["params"]) for opt in trainer.optimizers for group in opt.param_groups)
    parts = [stage.generator] + ([stage.discriminator] if make is gan_stage else [])
    assert learning == sum(len(list(part.parameters())) for part in parts)


def test_a_stage_from_a_checkpoint_of_its_own_parts_or_a_line_that_says_how(tmp_path):
    stage = gan_stage()
    fit(stage, batches(1), precision="32-true").save_checkpoint(tmp_path / "c.ckpt")
    fresh = gan_stage()
    parts = {name: getattr(fresh, name) for name in ("generator", "discriminator", "losses", "adversarial")}
    again = GANStage.load_from_checkpoint(tmp_path / "c.ckpt", optimizer=torch.optim.Adam, **parts)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in stage.state_dict().items())
    with pytest.raises(InputError, match=r"c\.ckpt.*GANStage\.load_from_checkpoint.*load_generator.*resume="):
        GANStage.load_from_checkpoint(tmp_path / "c.ckpt")
