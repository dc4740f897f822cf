"""`resume=`: a run that was broken off goes on as if nothing had happened, or says why it cannot."""

import copy
import csv
import os
import random
import re
import resource
import shutil
import signal
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from pytorch_lightning.callbacks import Callback

from esrgan_lightning.config import compose
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import write_image
from esrgan_lightning.run.resume import MUTABLE_ON_RESUME, immutable_settings
from esrgan_lightning.run.state import RUN_KEY
from esrgan_lightning.training import train
from esrgan_lightning.weights import LINEAGE_KEY

pytestmark = pytest.mark.usefixtures("one_thread")
DOCS = Path(__file__).resolve().parents[1] / "docs/resume.md"
STAGES = {"psnr": ("stage=psnr", *tiny.PSNR), "gan": ("stage=gan", "init=null", *tiny.GAN)}
SETTINGS = (
    "trainer.precision=32", "schedule=milestones", "schedule.at=[5,21]", "stage.ema_decay=0.9",
    "data.batch_size=4", "trainer.val_interval=8", "trainer.checkpoint_interval=4", "trainer.max_updates=30",
)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def photos(tmp_path_factory):
    """Small ones: their validation takes no time."""
    folder = tmp_path_factory.mktemp("photos")
    noise = torch.Generator().manual_seed(0)
    for number in range(5):
        image = torch.randint(256, (3, 48, 48), dtype=torch.uint8, generator=noise)
        write_image(folder / f"{number}.png", image)
    PHOTOS[:] = ["data=folder", f"data.train_dir={folder}", "data.val_count=2"]
    yield
    PHOTOS.clear()


PHOTOS: list[str] = []


def config(*overrides, stage="psnr"):
    return compose(*STAGES[stage], *PHOTOS, *SETTINGS, *overrides)


def short(*overrides):
    """Six updates, each saved; one validation, at the end."""
    return config("trainer.max_updates=6", "trainer.checkpoint_interval=1", *overrides)


def checkpoint(run, name="last.ckpt"):
    return torch.load(run / "checkpoints" / name, weights_only=True)


def names(run):
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def rows(run):
    with (run / "metrics.csv").open(newline="") as file:
        timed = ("images_per_second", "data_wait_share")
        return [{k: v for k, v in row.items() if k not in timed} for row in csv.DictReader(file)]


def assert_equal(one, other, where="checkpoint"):
    """To the bit, whatever is nested in whatever."""
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_equal(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for number, pair in enumerate(zip(one, other, strict=True)):
            assert_equal(*pair, f"{where}.{number}")
    else:
        assert one == other, where


def state_of(run):
    """All of the last checkpoint but what speaks of names and keys, and Lightning's own counters."""
    content = checkpoint(run)
    del content["loops"], content["epoch"]
    del content[RUN_KEY]["config"], content[LINEAGE_KEY]["provenance"]["config_hash"]
    return content


class At(Callback):
    """Does something at the start of the batch after so many updates, and draws from every generator."""

    def __init__(self, update=None, do=None, hook="batch"):
        self.update, self.do, self.hook, self.drawn = update, do, hook, []

    def on_train_batch_start(self, trainer, stage, batch, batch_idx):
        self.drawn.append((random.random(), np.random.rand(), torch.rand(()).item()))
        if self.hook == "batch" and trainer.global_step == self.update:
            self.do()

    def on_validation_batch_start(self, trainer, *_):
        if self.hook == "validation" and trainer.global_step == self.update:
            self.do()


def power_cut():
    raise KeyError("power cut")


class Poison(Callback):
    """The third update is skipped: its images are not finite."""

    def on_train_batch_start(self, trainer, stage, batch, batch_idx):
        if trainer.global_step == 2:
            batch["hr"].fill_(float("nan"))


@pytest.fixture(scope="module")
def undisturbed(photos, tmp_path_factory):
    """``undisturbed(stage, accumulate)`` → folder and draws of a run of 30 updates, trained once."""

    @cache
    def run(stage, accumulate):
        folder, whole = tmp_path_factory.mktemp("whole"), At()
        train(config(f"stage.accumulate={accumulate}", stage=stage), folder, callbacks=[Poison(), whole])
        return folder, whole.drawn

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "accumulate", "broken_off", "workers"),
    [
        ("psnr", 2, (17, "batch"), 2),
        ("psnr", 2, (16, "validation"), 0),
        ("gan", 1, (17, "batch"), 0),
        ("gan", 1, (16, "validation"), 2),
    ],
)
def test_30_updates_are_17_and_a_power_cut_and_the_rest(
    tmp_path, undisturbed, stage, accumulate, workers, broken_off
):
    """Breaks if anything is forgotten.

    A moment, a rate, the average, a random number, a skipped update, the best, a row of figures, a validation
    that was under way; or if a sample that was fetched and not trained on counts.
    """
    update, hook = broken_off
    settings = (f"stage.accumulate={accumulate}", f"data.num_workers={workers}")
    whole, drawn = undisturbed(stage, accumulate)
    broken, rest = At(update, power_cut, hook), At()
    with pytest.raises(KeyError):
        train(config(*settings, stage=stage), tmp_path / "parts", callbacks=[Poison(), broken])
    assert checkpoint(tmp_path / "parts")["global_step"] == 16
    train(config(*settings, "resume=last", stage=stage), tmp_path / "parts", callbacks=[rest])
    assert rest.drawn == drawn[16 * accumulate :]
    assert_equal(state_of(whole), state_of(tmp_path / "parts"))
    assert checkpoint(tmp_path / "parts")["updates"] == {"skipped": 1, "skipped_in_row": 0}
    assert rows(whole) == rows(tmp_path / "parts")
    assert names(whole) == names(tmp_path / "parts")
    assert {"last.ckpt", "update_0000028.ckpt", "update_0000024.ckpt"} < set(names(tmp_path / "parts"))


@pytest.mark.parametrize(
    ("signum", "raised"),
    [
        (signal.SIGTERM, SystemExit),
        (signal.SIGHUP, SystemExit),
        (signal.SIGINT, KeyboardInterrupt),
        (None, None),
    ],
)
@pytest.mark.parametrize("update", [3, 4])
def test_a_run_that_was_stopped_loses_nothing(tmp_path, signum, raised, update, caplog, request):
    """Breaks if a signal or the time limit costs an update, adds or skips a validation, or says nothing.

    After update 4 a validation is due: it is made before the run ends.
    """
    settings = ("trainer.val_interval=4", "trainer.checkpoint_interval=100")
    train(short(*settings), tmp_path / "whole", callbacks=[At()])
    run = tmp_path / "parts"
    hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which a nohup above has ignored
    request.addfinalizer(lambda: signal.signal(signal.SIGHUP, hangup))
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    with caplog.at_level("INFO"):
        if raised:
            stop = At(update - 1, lambda: os.kill(os.getpid(), signum))
            with pytest.raises(raised) as ended:
                train(short(*settings), run, callbacks=[stop])
            assert getattr(ended.value, "code", 128 + signum) == 128 + signum
        else:
            # A limit that is over after the first update.
            update = 1
            metrics = train(short(*settings, "trainer.max_time=1e-6"), run, callbacks=[At()])
            assert metrics == {}
    assert f"stopping after update {update} of 6, saved as {run / 'checkpoints/last.ckpt'}" in caplog.text
    assert "resume=last goes on" in caplog.text
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert checkpoint(run)["global_step"] == update
    train(short(*settings, "resume=last"), run, callbacks=[At()])
    assert_equal(state_of(tmp_path / "whole"), state_of(run))
    assert rows(tmp_path / "whole") == rows(run)


def damage_by(how, path):
    content = bytearray(path.read_bytes())
    if how == "cut short":
        content = content[: len(content) // 2]
    elif how == "empty":
        content = b""
    else:  # a bit in a tensor, which torch.load would take as it is
        content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["cut short", "empty", "a flipped bit"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, how):
    """Breaks if half a file ends a run for good, or is trained on, or is taken into the ring."""
    run = tmp_path / "a"
    train(short("trainer.max_updates=4"), run)
    assert names(run) == [
        "best_update_0000004.ckpt",
        "last.ckpt",
        "update_0000002.ckpt",
        "update_0000003.ckpt",
    ]
    damage_by(how, run / "checkpoints/last.ckpt")
    told = "is empty" if how == "empty" else ": not readable"
    said = rf"last\.ckpt ?{told}.*; going on from .*update_0000003\.ckpt \(update 3\) instead"
    with pytest.warns(UserWarning, match=said):
        train(short("resume=last"), run)
    assert [checkpoint(run, f"{name}.ckpt")["global_step"] for name in ("last", "update_0000005")] == [6, 5]
    train(short(), tmp_path / "whole")
    assert_equal(state_of(tmp_path / "whole"), state_of(run))
    with pytest.raises(InputError, match="has made 6 updates already"):
        train(short("resume=last"), run)
    for path in (run / "checkpoints").iterdir():
        damage_by(how, path)
    with pytest.raises(InputError, match=rf"last\.ckpt ?{told}.*update_0000005\.ckpt ?{told}"):
        train(short("resume=last"), run)


WRONG = {
    "a step in words": ("global_step", "seven"),
    "no tensors": ("state_dict", {"generator": [1.0]}),
    "a provenance that is a list": (LINEAGE_KEY, {"provenance": [1]}),
    "a run that is a number": (RUN_KEY, 3),
    "fills the memory": ("state_dict", {"a": torch.zeros(1).expand(2**40)}),
    "optimisers of others": ("optimizer_states", [{"state": {}, "param_groups": []}]),
    "no loops": ("loops", {"fit_loop": 1}),
    "no counts": ("updates", None),
    "callbacks in words": ("callbacks", "none"),
    "no schedules": ("lr_schedulers", [1]),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_values_under_the_right_keys(tmp_path, stopped, wrong):
    """Breaks if a strange checkpoint is a traceback: it gives way, or is told with what can be done."""
    run = tmp_path / "run"
    shutil.copytree(stopped, run)
    content = checkpoint(run)
    key, value = WRONG[wrong]
    torch.save(content | {key: value}, run / "checkpoints/last.ckpt")
    if key in ("global_step", "state_dict", LINEAGE_KEY, RUN_KEY):
        with pytest.warns(UserWarning, match=r"last\.ckpt.* going on from .*update_0000001"):
            train(short("resume=last"), run)
    else:
        with pytest.raises(InputError, match=r"resume=.*last\.ckpt cannot be gone on from .* earlier one"):
            train(short("resume=last"), run)


def test_what_a_kill_between_two_renames_leaves_is_gone_on_with(tmp_path):
    """Breaks if a run without last.ckpt is lost, or a half-written file stays for ever."""
    train(short("trainer.max_updates=4"), tmp_path)
    folder = tmp_path / "checkpoints"
    (folder / "last.ckpt").rename(folder / "update_0000004.ckpt")
    half = [folder / "..next.ckpt.part.part", tmp_path / ".generator.safetensors.123.part"]
    for path in half:
        path.write_bytes(b"half")
    train(short("resume=last"), tmp_path)
    assert not any(path.exists() for path in half)
    left = [name for name in names(tmp_path) if "best" not in name]
    assert left == ["last.ckpt", "update_0000004.ckpt", "update_0000005.ckpt"]


def test_going_back_leaves_the_abandoned_future(tmp_path):
    """Breaks if a run that went on from an earlier checkpoint later falls back to what it had abandoned."""
    train(short(), tmp_path)
    earlier = tmp_path / "checkpoints/update_0000004.ckpt"
    train(short(f"resume='{earlier}'", "trainer.max_updates=5", "trainer.checkpoint_interval=5"), tmp_path)
    assert names(tmp_path)[1:] == ["last.ckpt", "update_0000004.ckpt"]
    assert checkpoint(tmp_path)["global_step"] == 5


def test_another_run_is_continued_under_a_name_of_its_own(tmp_path, monkeypatch):
    """Breaks if resume=RUN touches the old run, or forgets its figures or its best."""
    monkeypatch.chdir(tmp_path)
    train(short("name=old", "trainer.max_updates=4", "trainer.val_interval=2"))
    before = {path: path.read_bytes() for path in (tmp_path / "runs/old").rglob("*") if path.is_file()}
    train(short("name=new", "resume=old", "trainer.val_interval=2"))
    assert {path: path.read_bytes() for path in before} == before
    train(short("name=whole", "trainer.val_interval=2"))
    assert_equal(state_of(tmp_path / "runs/whole"), state_of(tmp_path / "runs/new"))
    assert rows(tmp_path / "runs/whole") == rows(tmp_path / "runs/new")
    assert [name for name in names(tmp_path / "runs/new") if "best" in name] == [
        name for name in names(tmp_path / "runs/whole") if "best" in name
    ]
    with pytest.raises(InputError, match="already holds checkpoints"):
        train(short("name=whole", "resume=new", "trainer.max_updates=7"))
    with pytest.raises(InputError, match=r"resume=none: no checkpoint .*none.* or runs.none"):
        train(short("name=x", "resume=none"))
    assert not (tmp_path / "runs/x").exists()


def test_terms_that_are_off_are_not_compared():
    """Breaks if an older checkpoint, whose configuration names terms without effect, goes on no more."""
    pixel = {"_target_": "torch.nn.L1Loss"}
    now = {"loss": {"pixel": pixel, "weights": {"pixel": 1.0}}}
    off = {"lpips": {"_target_": None}, "perceptual": {"_target_": "p"}, "adversarial": {"_target_": "a"}}
    weights = {"pixel": 1.0, "lpips": 1.0, "perceptual": 0.0, "adversarial": 0.0}
    then = {"loss": {"pixel": pixel, **off, "weights": weights}}
    assert immutable_settings(then) == immutable_settings(now)
    assert "loss.adversarial._target_" in immutable_settings(
        then | {"discriminator": {}}
    )  # it learns all the same
    assert immutable_settings(
        {"loss": {**then["loss"], "weights": weights | {"perceptual": 1.0}}}
    ) != immutable_settings(now)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("optimizer.lr=1", r"optimizer.lr=1.* \(it was optimizer.lr=0.0002\)"),
        ("seed=1", r"seed=1 \(it was seed=0\)"),
        ("data.batch_size=8", r"data.batch_size=8 \(it was data.batch_size=4\)"),
        ("schedule.gamma=0.1", "schedule.gamma=0.1"),
        ("trainer.precision=64", r"trainer.precision=64-true \(it was trainer.precision=32-true\)"),
        ("+loss.pixel.reduction=sum", r"loss.pixel.reduction=sum \(it was loss.pixel.reduction=null\)"),
        ("generator.num_blocks=2", "generator.num_blocks=2"),
    ],
)
def test_a_setting_that_would_make_it_another_run_is_refused(change, said, stopped):
    """Breaks if a run goes on with another rate, or the message names neither key nor values."""
    before = (stopped / "metrics.csv").read_bytes()
    with pytest.raises(InputError, match=said):
        train(short("resume=last", change), stopped)
    assert (stopped / "metrics.csv").read_bytes() == before


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that made 2 of 6 updates."""
    run = tmp_path_factory.mktemp("stopped")
    torch.set_num_threads(1)
    train(short("trainer.max_updates=2"), run)
    return run


def test_auto_starts_goes_on_and_ends(tmp_path, monkeypatch, caplog):
    """Breaks if a queue's one command fails at its first start, loses its work, or fails when all is done."""
    monkeypatch.chdir(tmp_path)
    auto = ("name=a", "resume=auto")
    with pytest.raises(KeyError):
        train(short(*auto, "trainer.checkpoint_interval=2"), callbacks=[At(5, power_cut)])
    figures = train(short(*auto), callbacks=[At()])
    train(short("name=whole"), callbacks=[At()])
    assert_equal(state_of(tmp_path / "runs/whole"), state_of(tmp_path / "runs/a"))
    before = (tmp_path / "runs/a/metrics.csv").read_bytes()
    with caplog.at_level("INFO"):
        assert train(short(*auto)) == pytest.approx(figures)
    assert "runs/a has made its 6 updates" in caplog.text
    assert (tmp_path / "runs/a/metrics.csv").read_bytes() == before
    with pytest.raises(InputError, match=r"optimizer.lr=1"):
        train(short(*auto, "optimizer.lr=1"))
    with pytest.raises(InputError, match=r"resume=auto needs name="):
        train(short("resume=auto"))


def test_a_longer_cosine_run_is_told_how(tmp_path):
    """Breaks if the message leaves a user without the way on, or the way does not work."""
    given = ("schedule=cosine", *tiny.PSNR)
    train(compose(*given), tmp_path)
    with pytest.raises(InputError, match=r"For a longer run give schedule\.updates=2: after that"):
        train(compose(*given, "trainer.max_updates=4", "resume=last"), tmp_path)
    train(compose(*given, "trainer.max_updates=4", "resume=last", "schedule.updates=2"), tmp_path)
    assert float(rows(tmp_path)[-1]["train/lr"]) == pytest.approx(1e-7)


class Start(Callback):
    """Weights and optimisers before the first update."""

    def on_train_batch_start(self, trainer, stage, *_):
        if trainer.global_step == 0:
            self.weights = {name: tensor.clone() for name, tensor in stage.state_dict().items()}
            self.optimizers = [copy.deepcopy(each.state_dict()) for each in trainer.optimizers]


def test_another_run_starts_from_all_that_was_learnt(tmp_path):
    """Breaks if the discriminator or a mean of gradients starts afresh, or the old run's rate stays."""
    gan = ("stage=gan", "init=null", *tiny.GAN, "trainer.max_updates=2")
    train(compose(*gan), tmp_path / "old")
    old, start = checkpoint(tmp_path / "old"), Start()
    changed = ("optimizer.lr=1e-3", "data.batch_size=3", "trainer.max_updates=1")
    init_from = f"init_from={tmp_path / 'old/checkpoints/last.ckpt'}"
    train(compose(*gan, init_from, *changed), tmp_path / "new", callbacks=[start])
    assert_equal(start.weights, dict(old["state_dict"]))
    for now, then in zip(start.optimizers, old["optimizer_states"], strict=True):
        assert_equal(now["state"], then["state"])
        assert now["param_groups"][0]["lr"] == 1e-3
    new = checkpoint(tmp_path / "new")
    assert new["global_step"] == 1
    assert new["optimizer_states"][1]["state"][0]["step"] == 3
    # Going on then, it needs the old run no more.
    shutil.rmtree(tmp_path / "old")
    train(compose(*gan, init_from, *changed, "trainer.max_updates=2", "resume=last"), tmp_path / "new")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["init=psnr"], "give one of them"),
        (["optimizer=sgd"], r"with optimizer._target_=torch.optim.Adam, not torch.optim.SGD"),
        (["generator.num_blocks=2"], "of another stage or network: .*num_blocks|of another stage or network"),
        (["init_from=none"], r"init_from=none: no checkpoint"),
    ],
)
def test_what_cannot_start_from_a_checkpoint_is_told(given, said, stopped, tmp_path):
    """Breaks if a start in part passes for a whole one."""
    with pytest.raises(InputError, match=said):
        train(short(f"init_from={stopped}", *given), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_may_change_may_change(stopped, tmp_path):
    """Breaks if a longer run, other intervals or more workers are refused, or change what is trained."""
    shutil.copytree(stopped, tmp_path / "run")
    others = ("trainer.val_interval=2", "trainer.log_interval=2", "trainer.keep_last=1",
              "data.prepare=worker",
              "trainer.checkpoint_interval=3", "stage.max_skipped=3", "logger=tensorboard",
              "metrics=psnr_y", "data.num_workers=1")  # fmt: skip
    train(short("resume=last", *others), tmp_path / "run")
    train(short(), tmp_path / "whole")
    one, other = checkpoint(tmp_path / "run"), checkpoint(tmp_path / "whole")
    assert_equal(one["state_dict"], other["state_dict"])
    assert_equal(one["optimizer_states"], other["optimizer_states"])
    assert [each for each in names(tmp_path / "run") if "best" not in each] == ["last.ckpt"]


def test_other_photos_are_refused(tmp_path):
    """Breaks if sample 17 is suddenly cut from another photo."""
    for name in ("a", "b", "c", "moved/a", "moved/b", "moved/c"):
        write_image(tmp_path / f"photos/{name}.png", torch.zeros(3, 64, 64, dtype=torch.uint8))
    (tmp_path / "photos/moved").rename(tmp_path / "moved")
    folder = ("data=folder", *STAGES["psnr"], *SETTINGS, "trainer.max_updates=1")
    train(compose(*folder, f"data.train_dir={tmp_path / 'photos'}"), tmp_path / "run")
    on = (*folder[:-1], "trainer.max_updates=2", "resume=last", f"data.train_dir={tmp_path / 'moved'}")
    (tmp_path / "moved/a.png").rename(tmp_path / "moved/d.png")
    with pytest.raises(InputError, match="other photos"):
        train(compose(*on), tmp_path / "run")
    (tmp_path / "moved/d.png").rename(tmp_path / "moved/a.png")
    train(compose(*on), tmp_path / "run")


def test_a_full_disk_ends_the_run_and_leaves_the_checkpoint_before(tmp_path):
    """Breaks if the error is a traceback, or the only whole checkpoint is gone when the next does not fit."""

    def full():
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # a file may be no longer: EFBIG

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(InputError, match=r"cannot be written to: .*whole: .*last\.ckpt.*resume=last"):
            train(short(), tmp_path, callbacks=[At(4, full)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == ["last.ckpt", "update_0000002.ckpt", "update_0000003.ckpt"]
    assert checkpoint(tmp_path)["global_step"] == 4
    train(short("resume=last"), tmp_path, callbacks=[At()])
    train(short(), tmp_path / "whole", callbacks=[At()])
    assert_equal(state_of(tmp_path / "whole"), state_of(tmp_path))


def test_loggers_go_on(tmp_path, monkeypatch):
    """Breaks if TensorBoard shows updates twice, or Weights & Biases a second run."""
    import wandb
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    board = ("logger=tensorboard", "trainer.checkpoint_interval=2")
    with pytest.raises(KeyError):
        train(short(*board), run, callbacks=[At(5, power_cut)])
    train(short(*board, "resume=last"), run)
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3, 4, 5, 6]
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_MODE", "offline")
    wandb.teardown()  # it reads the environment once in a process
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # wandb's own, of its own dependencies
        for more in ("trainer.max_updates=2", "resume=last"):
            train(short("logger=wandb", more), tmp_path / "w")
    ids = {path.name.split("-")[3] for path in (tmp_path / "w/wandb").glob("offline-run-*")}
    assert len(ids) == 1


def test_the_page_lists_what_may_change():
    """Breaks if docs/resume.md and the code disagree."""
    listed = re.findall(r"^\| ((?:`[\w.]+`(?:, )?)+) \|", DOCS.read_text("utf-8"), flags=re.MULTILINE)
    keys = {key.replace("data.conditions.", "conditions.") for key in MUTABLE_ON_RESUME}
    assert sorted(re.findall(r"`([\w.]+)`", " ".join(listed))) == sorted(keys)
