"""An update that is replayed does what `training_step` does, and hears of a broken one in time."""

import functools

import pytest
import torch
from by_hand import batches, fit, gan_stage, poisoned, psnr_stage
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.strategies import ParallelStrategy
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR

from esrgan_lightning.errors import InputError
from esrgan_lightning.losses import RelativisticAverageGAN, WeightedLoss
from esrgan_lightning.losses.penalty import GradientPenalty
from esrgan_lightning.networks import SRResNet, UNetDiscriminator
from esrgan_lightning.run.callbacks import NonFiniteBatch
from esrgan_lightning.run.cuda_graphs import CudaGraphs, Replay, why_not
from esrgan_lightning.run.metrics_csv import MetricsCSV
from esrgan_lightning.stages.faults import NonFiniteError

fused_adam = functools.partial(torch.optim.Adam, lr=1e-3, fused=True)
STAGES = pytest.mark.parametrize(
    ("make", "settings"),
    [
        (psnr_stage, {}),
        (gan_stage, {}),
        (gan_stage, {"order": "discriminator_first"}),
        (gan_stage, {"discriminator_steps": 2}),
    ],
    ids=["psnr", "gan", "by_turns", "two_steps"],
)
GPU = {"accelerator": "gpu", "devices": 1, "precision": "32-true"}


class Unseen(Callback):
    """As the graph, with nothing recorded: steps are decided on without a look at the device's values."""

    recorded = False

    def on_train_start(self, trainer, stage):
        learn = stage.learn

        def run(batch):
            for optimizer in stage.trainer.optimizers:
                optimizer.zero_grad(set_to_none=True)
            return learn(batch)

        stage.learn, stage.sync_each_step, stage.logs_all = run, False, not self.recorded

    def on_train_end(self, trainer, stage):
        stage.resolve_pending()


class Weights(Callback):
    """All values after each update."""

    def __init__(self):
        self.after = []

    def on_train_batch_end(self, trainer, stage, *_):
        self.after.append({name: value.detach().cpu().clone() for name, value in stage.state_dict().items()})


@STAGES
@pytest.mark.parametrize("how", [None, "loss", "gradient"])
def test_unseen_steps_are_the_seen_ones(make, settings, how, tmp_path):
    """Breaks if a step is taken twice or left out wrongly, if a NaN gets in, or nobody is told of it."""
    after = []
    for name, callbacks in (("seen", []), ("unseen", [Unseen()])):
        record, folder = Weights(), tmp_path / name
        changed = settings | {"optimizer": fused_adam, "clip_norm": 0.5, "ema_decay": 0.9}
        stage = poisoned(make, [3], how, **changed) if how else make(**changed)
        watch = [*callbacks, record, NonFiniteBatch(folder)]
        trainer = fit(stage, batches(5), callbacks=watch, precision="32-true")
        after.append(record.after)
        assert stage.skipped == bool(how)
        assert trainer.global_step == 5
        assert [path.name for path in folder.glob("*")] == ["nonfinite_update_0000003.safetensors"] * bool(
            how
        )
    for seen, unseen in zip(*after, strict=True):
        torch.testing.assert_close(unseen, seen)


@STAGES
def test_the_last_update_and_one_too_many_are_heard_of(make, settings, tmp_path):
    """Breaks if the run ends before anybody looks, or a diverged one goes on for ever."""
    changed = settings | {"optimizer": fused_adam, "max_skipped": 3}
    stage = poisoned(make, [4], "loss", **changed)
    fit(stage, batches(4), callbacks=[Unseen(), NonFiniteBatch(tmp_path)], precision="32-true")
    assert stage.skipped == 1
    assert len(list(tmp_path.iterdir())) == 1
    stage = poisoned(make, [2, 3, 4], "gradient", **changed)
    with pytest.raises(NonFiniteError, match=r"update 4: 3 updates in a row.*the gradient of generator\."):
        fit(stage, batches(6), callbacks=[Unseen()], precision="32-true")


def test_a_validation_finds_a_sound_network(tmp_path):
    """Breaks if batch norm's statistics are still NaN there, or the gradients to name are gone."""
    data = batches(3)
    data[1]["hr"].fill_(float("nan"))
    data[1]["lr"].fill_(float("nan"))
    stage = psnr_stage(
        generator=SRResNet(num_features=8, num_blocks=1, scale=2, batch_norm=True), optimizer=fused_adam
    )
    watch = [Unseen(), NonFiniteBatch(tmp_path)]
    fit(stage, data, callbacks=watch, precision="32-true", validate=1, val_check_interval=1)
    assert stage.skipped == 1
    stage = poisoned(psnr_stage, [2], "gradient", optimizer=fused_adam, max_skipped=1)
    with pytest.raises(NonFiniteError, match=r"the gradient of generator\."):
        fit(stage, batches(3), callbacks=[Unseen()], precision="32-true", validate=1, val_check_interval=1)


def test_a_run_that_is_stopped_has_the_row_of_its_last_update(tmp_path):
    """Breaks if the row repeats an earlier one: Lightning writes one where a run is stopped."""

    class Stop(Callback):
        def on_train_batch_end(self, trainer, *_):
            trainer.should_stop = trainer.global_step == 5

    class Recorded(Unseen):
        recorded = True

    log = MetricsCSV(tmp_path / "metrics.csv")
    fit(psnr_stage(optimizer=fused_adam), batches(9), callbacks=[Recorded(), Stop()], precision="32-true",
        logger=log, log_every_n_steps=3)  # fmt: skip
    rows = (tmp_path / "metrics.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["3", "5"]


def test_a_run_that_failed_leaves_nothing_to_the_next(monkeypatch):
    """Breaks if a second training of the stage replays the first one's graph, with its optimisers."""

    class Fail(Callback):
        def on_train_batch_end(self, trainer, stage, *_):
            assert not stage.sync_each_step
            raise KeyError("stop")

    class Graphs(CudaGraphs):
        def on_train_start(self, trainer, stage):
            self._replay = Replay(stage)
            stage.learn, stage.sync_each_step, stage.logs_all = self._replay.learn, False, False

    monkeypatch.setattr(torch.cuda, "Stream", object)
    stage = psnr_stage(optimizer=fused_adam)
    with pytest.raises(KeyError, match="stop"):
        fit(stage, batches(2), callbacks=[Graphs(), Fail()], precision="32-true")
    assert stage.learn == stage.update
    assert (stage.sync_each_step, stage.logs_all) == (True, True)
    trainer = fit(stage, batches(2), precision="32-true")
    assert (stage.skipped, trainer.global_step) == (0, 2)


def test_a_checkpoint_counts_the_update_before_it(tmp_path):
    """Breaks if a resumed run forgets that the last update was left out."""

    class Save(Callback):
        def on_train_batch_end(self, trainer, *_):
            trainer.save_checkpoint(tmp_path / f"{trainer.global_step}.ckpt")

    fit(poisoned(psnr_stage, [2], "loss", optimizer=fused_adam), batches(3), callbacks=[Unseen(), Save()],
        precision="32-true")  # fmt: skip
    counts = [
        torch.load(tmp_path / f"{n}.ckpt", weights_only=True)["updates"]["skipped_in_row"] for n in (1, 2, 3)
    ]
    assert counts == [0, 1, 0]


@pytest.mark.parametrize(
    ("make", "settings", "said"),
    [
        (psnr_stage, {"optimizer": fused_adam}, None),
        (gan_stage, {"optimizer": fused_adam}, None),
        (gan_stage, {"optimizer": fused_adam, "discriminator_steps": 2}, None),
        (psnr_stage, {}, "no fused Adam"),
        (psnr_stage, {"optimizer": functools.partial(torch.optim.SGD, lr=0.1)}, "SGD is no fused"),
        (psnr_stage, {"optimizer": fused_adam, "accumulate": 2}, "stage.accumulate=2"),
        (
            gan_stage,
            {
                "optimizer": fused_adam,
                "adversarial": RelativisticAverageGAN(penalty=GradientPenalty(1.0)),
                "discriminator": UNetDiscriminator(num_features=4),
            },
            "gradient penalty",
        ),
    ],
)
def test_why_a_run_has_no_graph(make, settings, said):
    """Breaks if an update is recorded that draws, counts or decides on the processor."""
    stage = make(**settings)
    data = [batch | {"number": [0, 1]} for batch in batches(2)]
    reason = why_not(stage, fit(stage, data, precision="32-true"))
    assert said in reason if said else reason is None


def test_ddp_of_one_process_has_no_graph():
    """Breaks if `trainer=ddp` on a machine with one GPU records DDP's reducer."""
    stage = psnr_stage(optimizer=fused_adam)
    trainer = fit(stage, batches(1), precision="32-true")
    assert why_not(stage, trainer) is None
    trainer.strategy.__class__ = type("Parallel", (type(trainer.strategy), ParallelStrategy), {})
    assert "processes" in why_not(stage, trainer)


def test_on_a_cpu_nothing_changes():
    """Breaks if the callback takes a run on a CPU for one on a GPU."""
    stage = psnr_stage(optimizer=fused_adam)
    fit(stage, batches(1), callbacks=[CudaGraphs()])
    assert stage.learn == stage.update
    assert stage.sync_each_step


@pytest.mark.gpu
@STAGES
def test_a_graph_takes_the_same_steps(make, settings, tmp_path):
    """Breaks if a replay reads an old batch or rate, adds to old gradients, or stops where the size changes.

    Against the same run without graph, in fp32: through a moving rate, a batch of another size, a validation
    and a checkpoint.
    """
    after = []
    for name, callbacks in (("plain", []), ("graph", [CudaGraphs()])):
        record = Weights()
        stage = make(
            optimizer=fused_adam,
            schedule=lambda optimizer: LambdaLR(optimizer, lambda n: 1 / (n + 1)),
            ema_decay=0.9,
            clip_norm=0.5,
            **settings,
        )
        data = batches(12)
        data[8] = batches(1, size=3)[0]
        log = MetricsCSV(tmp_path / f"{name}.csv")
        trainer = fit(
            stage, data, callbacks=[*callbacks, record], validate=1, val_check_interval=5, logger=log,
            log_every_n_steps=1, benchmark=True, **GPU,
        )  # fmt: skip
        trainer.save_checkpoint(tmp_path / f"{name}.ckpt")
        after.append(record.after)
    for plain, graph in zip(*after, strict=True):
        torch.testing.assert_close(graph, plain, rtol=1e-3, atol=1e-5)
    rows = [
        [line.split(",") for line in (tmp_path / f"{name}.csv").read_text().splitlines()]
        for name in ("plain", "graph")
    ]
    assert rows[0][0] == rows[1][0]
    assert len(rows[0]) == len(rows[1])
    told = [float(row[rows[0][0].index("train/pixel")] or 0) for row in rows[1][1:]]
    assert told == pytest.approx(
        [float(row[rows[0][0].index("train/pixel")] or 0) for row in rows[0][1:]], rel=1e-3
    )
    saved = [torch.load(tmp_path / f"{name}.ckpt", weights_only=True) for name in ("plain", "graph")]
    rates = [[g["lr"] for s in each["optimizer_states"] for g in s["param_groups"]] for each in saved]
    assert rates[0] == rates[1]
    assert all(isinstance(rate, float) for rate in rates[1])


@pytest.mark.gpu
@STAGES
def test_a_replayed_update_that_is_not_finite_is_left_out(make, settings, tmp_path):
    """Breaks if the recorded step is taken all the same, or the file holds another update's batch."""
    record, data = Weights(), batches(9)
    data[6]["hr"].fill_(float("nan"))
    stage = make(optimizer=fused_adam, **settings)
    fit(stage, data, callbacks=[CudaGraphs(), NonFiniteBatch(tmp_path), record], **GPU)
    learnt = [name for name, _ in stage.generator.named_parameters(prefix="generator")]
    assert all(torch.equal(record.after[5][name], record.after[6][name]) for name in learnt)
    assert not all(torch.equal(record.after[6][name], record.after[7][name]) for name in learnt)
    assert all(value.isfinite().all() for value in record.after[8].values())
    assert stage.skipped == 1
    assert [path.name for path in tmp_path.iterdir()] == ["nonfinite_update_0000007.safetensors"]


@pytest.mark.gpu
def test_a_schedule_of_more_than_the_rate_ends_the_graph():
    """Breaks if the recorded β1 stays while the schedule moves on."""
    after = []
    for callbacks in ([], [CudaGraphs()]):
        record = Weights()
        stage = psnr_stage(
            optimizer=fused_adam, schedule=lambda optimizer: OneCycleLR(optimizer, 1e-3, total_steps=20)
        )
        fit(stage, batches(9), callbacks=[*callbacks, record], **GPU)
        after.append(record.after[-1])
    torch.testing.assert_close(after[1], after[0], rtol=1e-3, atol=1e-5)


@pytest.mark.gpu
def test_a_part_that_asks_the_device_is_named_with_the_remedy():
    """Breaks if a loss of one's own ends in CUDA's own words."""

    class Asks(nn.Module):
        def forward(self, sr, hr):
            loss = (sr - hr).abs().mean()
            return loss * 2 if loss.item() > 1 else loss

    stage = psnr_stage(losses=WeightedLoss({"pixel": Asks()}, {"pixel": 1.0}), optimizer=fused_adam)
    with pytest.raises(InputError, match=r"cannot be recorded.*trainer\.cuda_graphs=false"):
        fit(stage, batches(6), callbacks=[CudaGraphs()], **GPU)
