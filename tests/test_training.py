"""`train(cfg)`: runs that stop, go on, diverge and are asked for what cannot be."""

import re

import pytest
import tiny
import torch
from by_hand import psnr_stage, trainer_settings
from pytorch_lightning.callbacks import Callback, LambdaCallback
from test_resume import checkpoint, rows

from esrgan_lightning import load_generator
from esrgan_lightning.config import check_keys, check_name, compose
from esrgan_lightning.errors import InputError
from esrgan_lightning.metrics import ValidationMetric
from esrgan_lightning.ops import write_image
from esrgan_lightning.run.build import build_callbacks, build_metrics
from esrgan_lightning.run.checkpoints import BestCheckpoint
from esrgan_lightning.run.processes import ManualDDP
from esrgan_lightning.run.trainer import build_trainer
from esrgan_lightning.training import train
from esrgan_lightning.weights import read_generator_file

pytestmark = pytest.mark.usefixtures("one_thread")
# fp32, a rate that does not depend on the run's length, batch norm that has more than one value.
EXACT = ("trainer.precision=32", "schedule=constant", "stage.ema_decay=0.9", "data.batch_size=4")
STAGES = {"psnr": ("stage=psnr", *tiny.PSNR), "gan": ("stage=gan", "init=null", *tiny.GAN)}


def config(stage, *overrides):
    return compose(*STAGES[stage], *EXACT, *overrides)


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("generator.in_channels=4", r"in_channels=4 generator\.out_channels=4: photos have 3 .*give"),
        ("generator.out_channels=1", r"in_channels=3 generator\.out_channels=1: photos have"),
        ("+data.channels=1", r"data\.channels=1, and generator\.in_channels=3: give the same"),
    ],
)
def test_channels_that_photos_have_not_are_refused_before_the_work(setting, line, tmp_path):
    with pytest.raises(InputError, match=line):
        train(compose("stage=psnr", *tiny.PSNR, setting), tmp_path / "run")
    assert not (tmp_path / "run").exists()


GRAY = ("generator.in_channels=1", "metrics=[psnr_y,psnr_rgb]", "+trainer.limit_val_batches=1")


@pytest.mark.parametrize(
    ("stage", "settings"),
    [
        *(("psnr", [f"generator={name}"]) for name in ("rrdb_small", "srresnet_bn", "srcnn")),
        ("gan", ["discriminator=unet", "loss/adversarial=standard_r1", "loss/consistency=bicubic"]),
    ],
)
def test_a_network_of_one_channel_is_trained_on_gray(stage, settings, tmp_path):
    """Breaks if photos, discriminator, a loss, a metric or the samples insist on RGB."""
    found = train(compose(*tiny.fitting(STAGES[stage], settings), *EXACT, *settings, *GRAY), tmp_path / "run")
    assert found["val/psnr_y"] == pytest.approx(found["val/psnr_rgb"])  # gray is its own Y
    assert {name for name in rows(tmp_path / "run")[0] if "shift" in name} == {"train/color_shift_y"}
    assert (tmp_path / "run/samples/update_0000002.png").is_file()
    model = load_generator(tmp_path / "run/generator.safetensors")
    assert (model.in_channels, model.out_channels) == (1, 1)


def test_a_run_on_gray_goes_on_as_gray(tmp_path):
    """With every loss that has a network of RGB."""
    losses = (
        "preset=mini",
        "loss.weights.perceptual=1",
        "loss/contextual=efficientnet_lite0",
        "loss/lpips=alex",
    )
    chosen = (*STAGES["gan"], *EXACT, *losses, *GRAY)
    for run, updates in (("whole", (2,)), ("parts", (1, 2))):
        for end in updates:
            resume = "last" if end > updates[0] else "null"
            train(compose(*chosen, f"trainer.max_updates={end}", f"resume={resume}"), tmp_path / run)
    whole, parts = (checkpoint(tmp_path / name)["state_dict"] for name in ("whole", "parts"))
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())
    again = compose(*chosen, "generator.in_channels=3", "trainer.max_updates=3", "resume=last")
    with pytest.raises(InputError, match=r"generator\.in_channels=3 \(it was generator\.in_channels=1\)"):
        train(again, tmp_path / "parts")


def test_a_resumed_gan_needs_no_init_and_keeps_its_origin(tmp_path):
    """Breaks if going on needs the PSNR model again, or the exported file forgets it."""
    train(config("psnr", "trainer.max_updates=1"), tmp_path / "p")
    init = f"init='{tmp_path / 'p' / 'generator.safetensors'}'"
    train(config("gan", "trainer.max_updates=1", init), tmp_path / "g")
    gan = [each for each in STAGES["gan"] if each != "init=null"]
    train(compose(*gan, *EXACT, "trainer.max_updates=2", "resume=last"), tmp_path / "g")
    lineage = read_generator_file(tmp_path / "g" / "generator.safetensors").metadata
    assert lineage["updates"] == 2
    assert lineage["init"]["file"] == "generator.safetensors"
    assert lineage["init"]["metadata"]["updates"] == 1


def test_init_takes_checkpoints_and_starts_from_the_average(tmp_path):
    """Breaks if `init=last.ckpt` is refused, loads the raw weights, or carries counters over."""
    train(config("psnr"), tmp_path / "p")
    average = load_generator(tmp_path / "p" / "generator.safetensors").state_dict()

    class First(Callback):
        def on_train_start(self, trainer, stage):
            assert trainer.global_step == 0
            for name, tensor in stage.generator.state_dict().items():
                assert torch.equal(tensor, average[name]), name

    init = f"init='{tmp_path / 'p' / 'checkpoints' / 'last.ckpt'}'"
    train(config("gan", init, "trainer.max_updates=1"), tmp_path / "g", callbacks=[First()])


def test_a_diverged_run_names_the_last_good_checkpoint(tmp_path):
    """Breaks if weights that are not finite are saved, or the user is left to look for a checkpoint."""

    class Poison(Callback):
        def on_train_batch_start(self, trainer, stage, batch, batch_idx):
            if batch_idx >= 2:
                batch["hr"].fill_(float("nan"))

    cfg = config("psnr", "trainer.max_updates=9", "stage.max_skipped=3", "trainer.checkpoint_interval=2")
    with pytest.raises(
        InputError, match=r"update 5: 3 updates in a row .* last good checkpoint: .*last\.ckpt"
    ):
        train(cfg, tmp_path, callbacks=[Poison()])
    saved = checkpoint(tmp_path)
    assert saved["global_step"] == 4
    assert all(tensor.isfinite().all() for tensor in saved["state_dict"].values())
    assert [row["train/skipped"] for row in rows(tmp_path)] == ["0.0", "0.0", "1.0", "2.0"]


def test_a_run_returns_its_last_validation_and_logs_at_its_intervals(tmp_path):
    """Breaks if intervals count small batches, or the returned figures are an earlier validation's."""
    intervals = ("trainer.val_interval=2", "trainer.log_interval=2", "stage.accumulate=2")
    metrics = train(config("psnr", "trainer.max_updates=5", *intervals), tmp_path)
    assert set(metrics) == {"val/psnr_y", "val/ssim_y"}
    logged = rows(tmp_path)
    assert [row["step"] for row in logged] == ["2", "4", "5"]
    assert [bool(row["val/psnr_y"]) for row in logged] == [True, True, True]
    assert [bool(row["train/loss"]) for row in logged] == [True, True, False]
    assert float(logged[-1]["val/psnr_y"]) == pytest.approx(metrics["val/psnr_y"])
    assert len(list((tmp_path / "samples").iterdir())) == 3


def test_seeds_make_runs_that_differ_and_runs_that_agree(tmp_path):
    """Breaks if a run cannot be repeated, or a sweep over seeds is one run."""
    states = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(config("psnr", "trainer.max_updates=1", f"seed={seed}"), tmp_path / name)
        states[name] = checkpoint(tmp_path / name)["state_dict"]["generator.conv_last.weight"]
    assert torch.equal(states["a"], states["b"])
    assert not torch.equal(states["a"], states["c"])


@pytest.mark.parametrize(
    ("override", "kind"),
    [
        ("seed=one", "a whole number"),
        ("seed=''", "a whole number"),
        ("seed=1.5", "a whole number"),
        ("scale=x4", "a whole number"),
        ("optimizer.lr=1e-4x", "a number"),
        ("optimizer.betas=['0.9,0.99']", "a number"),
        ("discriminator_optimizer.lr=small", "a number"),
        ("data.batch_size=many", "a whole number"),
        ("data.patch_size=96px", "a whole number"),
        ("loss.weights.pixel=l1", "a number"),
        ("loss.weights=3", "a section: set its keys, {KEY:VALUE}"),
        ("callbacks=x", "a section: set its keys, {KEY:VALUE}"),
        ("overwrite=perhaps", "true or false"),
        ("optimizer.fused=perhaps", "true or false"),
    ],
)
def test_a_value_of_another_kind_is_named(override, kind, tmp_path):
    """Breaks if it is found by an error of Python's, deep in whatever computes with it first."""
    stage = "stage=gan" if "discriminator" in override else "stage=psnr"
    key = override.partition("=")[0]
    with pytest.raises(InputError, match=f"^{re.escape(key)}=.* must be {kind}$"):
        train(compose(stage, "init=null", "preset=demo", override), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["auto", "16", "32"])
@pytest.mark.parametrize("stage", ["psnr", "gan"])
def test_both_stages_run_on_a_gpu(tmp_path, stage, precision):
    """Breaks if a part stays on the CPU, or fp16's scaler and the clipping do not go together."""
    on_gpu = ("trainer.accelerator=gpu", f"trainer.precision={precision}", "stage.clip_norm=1")
    train(config(stage, *on_gpu, "trainer.max_updates=3"), tmp_path)
    assert [row["step"] for row in rows(tmp_path)] == ["1", "2", "3"]
    assert load_generator(tmp_path / "generator.safetensors")(torch.rand(1, 3, 8, 8)).isfinite().all()


def test_how_processes_are_started(tmp_path):
    """Breaks if a sweep starts its script again in each process, half of a job, or DDP is back."""

    def strategy(*, spawn=False, **change):
        settings = trainer_settings(**change)
        return build_trainer(settings, psnr_stage(), tmp_path, [], batch_size=4, spawn=spawn).strategy

    assert type(strategy()).__name__ == "SingleDeviceStrategy"
    for spawn, expected in ((False, "popen"), (True, "spawn")):
        found = strategy(spawn=spawn, devices=2)
        assert isinstance(found, ManualDDP)
        assert found._start_method == expected
    with pytest.raises(InputError, match="cannot span"):
        strategy(spawn=True, num_nodes=2)


@pytest.mark.parametrize(("monitor", "higher"), [("psnr_y", True), ("rmse_y", False), ("niqe", False)])
def test_the_best_is_the_best_by_its_metric(tmp_path, monitor, higher):
    """Breaks if the checkpoint with the largest error is kept."""
    stage = psnr_stage(metrics={name: ValidationMetric(name, 4) for name in ("psnr_y", "rmse_y", "niqe")})
    settings = trainer_settings(monitor=monitor)
    trainer = build_trainer(settings, stage, tmp_path, [], batch_size=4)
    (best,) = (each for each in trainer.callbacks if isinstance(each, BestCheckpoint))
    assert (best.monitor, best.higher_is_better) == (monitor, higher)


@pytest.mark.parametrize("name", ["psnr", "a/b.c", "with space", "x_2+y@z-1", 7])
def test_names_that_hydra_reads_as_they_are(name):
    """Breaks if a harmless name is refused, or Hydra reads one of these otherwise."""
    check_name(name)
    assert str(compose(f"name={name}").name) == str(name)
    assert compose(f"init=runs/{name}/last.ckpt").init == f"runs/{name}/last.ckpt"


@pytest.mark.parametrize(
    "name", ["", "a=b", "a,b", "(a)", "[a]", "{a}", "a'b", 'a"b', "$a", "a:b", "a ", "a\nb", "é"]
)
def test_names_with_a_meaning_for_hydra_are_refused(name):
    """Breaks if `init=runs/NAME/…` would then not be understood."""
    with pytest.raises(InputError, match="name="):
        check_name(name)


LIGHTNINGS = "pytorch_lightning.callbacks"


def test_a_run_ends_early_where_a_callback_says_so(tmp_path):
    """Breaks if callbacks= is ignored, PSNR counts as an error, or the run cannot go on."""
    stop = (
        f"+callbacks.es._target_={LIGHTNINGS}.EarlyStopping",
        *("+callbacks.es.monitor=val/psnr_y", "+callbacks.es.patience=1", "+callbacks.es.min_delta=100"),
    )
    watch = (f"+callbacks.lr._target_={LIGHTNINGS}.LearningRateMonitor", "logger=[csv,tensorboard]")
    length = ("trainer.max_updates=6", "trainer.val_interval=1")
    found = train(config("psnr", *length, *stop, *watch), tmp_path)
    assert "val/psnr_y" in found
    logged = rows(tmp_path)
    validated = [row for row in logged if row["val/psnr_y"]]
    # The first validation counts as the best, the second as the one without a gain.
    assert [row["step"] for row in validated] == ["1", "2"]
    assert {float(row["lr-Adam"]) for row in logged if row["lr-Adam"]} == {2e-4}
    assert list((tmp_path / "tensorboard").iterdir())
    train(config("psnr", *length, "trainer.max_updates=3", "resume=last"), tmp_path)
    assert checkpoint(tmp_path)["global_step"] == 3


def test_a_metric_that_is_better_higher_stops_no_run_while_it_rises():
    """Breaks if EarlyStopping has Lightning's own idea of better."""
    target = f"+callbacks.es._target_={LIGHTNINGS}.EarlyStopping"
    metrics = {name: ValidationMetric(name, 4) for name in ("psnr_y", "rmse_y")}

    def mode(*words):
        (made,) = build_callbacks(compose(target, *words), metrics)
        return made.mode

    assert mode("+callbacks.es.monitor=val/psnr_y") == "max"
    assert mode("+callbacks.es.monitor=val/rmse_y") == "min"
    assert mode("+callbacks.es.monitor=val/psnr_y", "+callbacks.es.mode=min") == "min"


def test_other_options_of_the_trainer_reach_it(tmp_path):
    """Breaks if +trainer.KEY is accepted and ignored."""
    others = ("+trainer.limit_val_batches=1", "+trainer.detect_anomaly=true", "+trainer.profiler=simple")
    record = Anomaly()
    train(config("psnr", *others, "trainer.max_updates=1"), tmp_path, callbacks=[record])
    assert record.seen == (True, [1])
    assert "run_training_batch" in (tmp_path / "fit-profile.txt").read_text()


class Anomaly(Callback):
    def on_train_batch_end(self, trainer, *_):
        self.seen = (torch.is_anomaly_enabled(), list(trainer.num_val_batches))


def test_a_key_that_others_refer_to_is_no_unknown_key():
    check_keys(compose("+width=8", "generator.num_features=${width}"))
    with pytest.raises(InputError, match="width: there is no such key"):
        check_keys(compose("+width=8", "+widths=3", "generator.num_features=${widths}"))
    check_keys(compose("stage=material"))
    check_keys(compose("stage=gan"))
    with pytest.raises(InputError, match="discriminator_schedule"):
        check_keys(compose("stage=psnr", "+discriminator_schedule.warmup=1"))


def test_a_validation_photo_that_is_too_small_for_a_metric_is_told_at_the_start(tmp_path):
    """As of 192×192 pixels, which the border leaves too little of for NIQE."""
    for n in range(2):
        write_image(tmp_path / f"x/{n}.png", torch.zeros(3, 192, 192, dtype=torch.uint8))
    photos = ("data=folder", f"data.train_dir={tmp_path / 'x'}", f"data.cache_dir={tmp_path / 'cache'}")
    with pytest.raises(InputError, match=r"1\.png of .* leaves 184×184 .* niqe needs 2 of 96×96"):
        train(compose("stage=gan", "preset=mini", "init=null", *tiny.GAN, *photos), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_metrics_are_validated_by_name(tmp_path, monkeypatch):
    """Breaks if a name stands for another metric, or a figure doesn't reach the log."""
    (tmp_path / "my_metrics.py").write_text(
        "from torchmetrics import MeanSquaredError\nclass RMSE(MeanSquaredError):\n"
        "    def update(self, sr, hr):\n        super().update(sr.flatten(), hr.flatten())\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    own = "{mine:{_target_:my_metrics.RMSE,squared:false}}"
    names = ["psnr_y", "rmse_y", "rmse_rgb", "psnr_rgb", "ssim_rgb", "niqe"]
    found = train(compose("stage=psnr", f"metrics=[{','.join(names)},{own}]", *tiny.PSNR), tmp_path / "run")
    assert set(found) == {f"val/{name}" for name in [*names, "mine"]}
    assert found["val/mine"] * 255 == pytest.approx(
        found["val/rmse_rgb"], rel=0.1
    )  # whose border is left out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("metrics=[psnr_y,vmaf]", "metrics: vmaf; known are psnr_y"),
        ("metrics=[psnr_y,psnr_y]", "psnr_y may stand only once"),
        ("metrics=[]", "metrics has no value"),
        ("metrics=null", "metrics has no value"),
        ("metrics=[{psnr_y:4}]", "settings are a mapping"),
        ("metrics=[{psnr_y:{border:4}}]", "psnr_y has no setting border: there are crop and weights"),
        ("metrics=[{psnr_y:{weights:a.pth}}]", "psnr_y takes no weights"),
        ("metrics=[{mine:{_target_:torch.nn.L1Loss}}]", "makes a L1Loss: expected a torchmetrics.Metric"),
    ],
)
def test_metrics_that_there_are_not_are_told(given, said):
    with pytest.raises(InputError, match=said):
        build_metrics(compose(given))


def test_a_target_that_is_nowhere_is_told(tmp_path):
    with pytest.raises(InputError, match=r"generator\._target_ cannot be had: .*your_parts.*is installed"):
        train(compose("stage=psnr", *tiny.PSNR, "generator._target_=your_parts.Net"), tmp_path / "run")
    with pytest.raises(InputError, match=r"data\._target_=builtins\.dict makes a dict: expected a Lightning"):
        train(compose("stage=psnr", "~data", "+data._target_=builtins.dict"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_start_from_a_run_that_was_broken_off_is_told(tmp_path, caplog):
    """Breaks if the model of a run that Ctrl-C ended after two updates passes for a trained one."""
    train(compose(*tiny.PSNR), tmp_path / "p")
    start = ("init=" + str(tmp_path / "p/generator.safetensors"), *tiny.PSNR)
    with caplog.at_level("INFO"):
        train(compose(*start), tmp_path / "a")
        assert "that run did not end" not in caplog.text
        (tmp_path / "p/outcome.json").write_text('{"state": "interrupted"}')
        train(compose(*start), tmp_path / "b")
    assert "generator.safetensors: that run did not end, it is interrupted after 2 updates;" in caplog.text


@pytest.mark.parametrize("stage", ["psnr", "gan"])
def test_debug_is_one_update_of_everything_or_one_batch_until_it_is_learnt(tmp_path, caplog, stage):
    """Breaks if a part is left out, another batch comes in, or what is not learnt passes for learnt."""
    sizes = tiny.PSNR if stage == "psnr" else (*tiny.GAN, "init=null")
    given = [f"stage={stage}", *(each for each in sizes if "max_updates" not in each)]
    figures = train(compose(*given, "debug=fast"), tmp_path / "fast")
    assert set(figures) == {"val/psnr_y", "val/ssim_y"}
    written = ("checkpoints/last.ckpt", "generator.safetensors", "metrics.csv", "samples/update_0000001.png")
    assert all((tmp_path / "fast" / name).is_file() for name in written)

    seen = set()
    watch = LambdaCallback(on_train_batch_end=lambda *given: seen.add(tuple(given[3]["number"])))
    learning = ("debug=overfit", "optimizer.lr=1e-3", "callbacks.one_batch.share=0.97")
    with caplog.at_level("INFO"):
        train(compose(*given, *learning, "trainer.max_updates=300"), tmp_path / "o", callbacks=[watch])
        assert "updates: learnt" in caplog.text
        train(compose(*given, *learning, "optimizer.lr=0", "trainer.max_updates=2"), tmp_path / "n")
    assert len(seen) == 1
    assert "in 2 updates: NOT learnt" in caplog.text
