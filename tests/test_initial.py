"""``init=auto``: which PSNR stage belongs to a GAN job, and that it is trained once."""

import threading
import time
from pathlib import Path

import pytest
import tiny
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file

from esrgan_lightning import run
from esrgan_lightning.config import compose
from esrgan_lightning.errors import InputError
from esrgan_lightning.networks import RRDBNet
from esrgan_lightning.run.initial import psnr_config, psnr_model
from esrgan_lightning.training import train
from esrgan_lightning.weights import read_generator_file, save_generator
from esrgan_lightning.weights.state import state_hash

JOB = ("stage=gan", "init=auto", "preset=demo", *tiny.GAN, "+init_settings.trainer.max_updates=2")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class Training:
    """Stands in for the real one: notes its calls and leaves the model that a run of that length leaves."""

    def __init__(self, *, interrupted=False, seconds=0.0):
        self.calls, self.interrupted, self.seconds = [], interrupted, seconds

    def __call__(self, cfg, folder, *, spawn):
        self.calls.append((str(cfg.name), cfg.resume))
        assert spawn, "the script would start the GAN job again"
        time.sleep(self.seconds)
        if self.interrupted:
            (folder / "checkpoints").mkdir(exist_ok=True)
            (folder / "checkpoints/last.ckpt").touch()
        done = 1 if self.interrupted else cfg.trainer.max_updates
        net = RRDBNet(num_features=4, num_blocks=1, growth_channels=4)
        save_generator(folder / "generator.safetensors", net, metadata={"updates": done})
        if self.interrupted:
            raise KeyboardInterrupt


def test_the_psnr_stage_has_its_presets_recipe_and_the_jobs_network_and_data():
    """Breaks if it takes the GAN's loss, rate or length, or another network, seed or patch than the job's."""
    cfg = compose(
        "stage=gan", "init=auto", "preset=paper", "generator.num_blocks=16", "data.patch_size=192", "seed=3",
        "degradation=jpeg", "trainer.precision=32", "trainer.max_updates=5", "loss.weights.pixel=7",
    )  # fmt: skip
    mine, preset = psnr_config(cfg), compose("stage=psnr", "preset=paper")
    one, other = (OmegaConf.to_container(each, resolve=True) for each in (mine, cfg))
    for key in ("generator", "data", "degradation", "seed", "scale"):
        assert one[key] == other[key], key
    for key in ("loss", "optimizer", "schedule", "stage"):
        assert mine[key] == preset[key], key
    assert (mine.trainer.precision, mine.trainer.max_updates) == (32, 1_000_000)
    assert "discriminator" not in mine


def test_init_settings_come_last():
    """Breaks if the user's own figures for the first stage have no effect."""
    given = ("+init_settings.optimizer.lr=0.5", "+init_settings.data.batch_size=3", "data.batch_size=8")
    mine = psnr_config(compose("stage=gan", "init=auto", *given))
    assert (mine.optimizer.lr, mine.data.batch_size) == (0.5, 3)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("+init_settings.optimizer.rate=1", "init_settings: Key 'rate' is not in struct"),
        ("+init_settings.generator.num_blocks=2", "both stages have the same one"),
        ("+init_settings.seed=2", "given as seed="),
    ],
)
def test_wrong_init_settings(given, words):
    """Breaks if a wrong key is dropped in silence, or the stages' networks differ."""
    with pytest.raises(InputError, match=words):
        psnr_config(compose("stage=gan", "init=auto", given))


def test_it_is_trained_once_and_for_what_decides_it():
    """Breaks if a sweep over the GAN's settings trains it again, or another network or seed does not."""

    def model(*overrides, photos="a"):
        calls = len(training.calls)
        path = psnr_model(compose(*JOB, *overrides), data_hash=photos, train=training)
        return path, len(training.calls) > calls

    training = Training()
    first, trained = model()
    assert trained
    assert first.parent.parent == Path("runs/init")
    same = (
        "name=other",
        "loss.weights.pixel=3",
        "loss/adversarial=hinge",
        "trainer.max_updates=9",
        "logger=wandb",
    )
    for each in same:
        assert model(each) == (first, False), each
    others = [
        model(each)
        for each in ("seed=1", "generator.num_blocks=2", "data.patch_size=64", "preset=basicsr", "scale=2",
                     "init_settings.trainer.max_updates=3", "+init_settings.optimizer.lr=2e-3")
    ]  # fmt: skip
    others.append(model(photos="b"))
    assert all(trained for _, trained in others)
    assert len({path for path, _ in others} | {first}) == len(others) + 1


def test_jobs_at_the_same_time_train_it_once():
    """Breaks if two jobs of a parallel sweep write into one folder, or one starts half-trained."""
    training, found = Training(seconds=0.5), []

    def job():
        found.append(psnr_model(compose_once, data_hash="a", train=training))

    compose_once = compose(*JOB)
    jobs = [threading.Thread(target=job) for _ in range(3)]
    for each in jobs:
        each.start()
    for each in jobs:
        each.join()
    assert len(training.calls) == 1
    assert len(found) == 3
    assert len(set(found)) == 1


def test_an_interrupted_training_goes_on():
    """Breaks if what was trained is lost, or an unfinished model is taken for the result."""
    cfg = compose(*JOB)
    with pytest.raises(KeyboardInterrupt):
        psnr_model(cfg, data_hash="a", train=Training(interrupted=True))
    training = Training()
    model = psnr_model(cfg, data_hash="a", train=training)
    assert training.calls == [(f"init/{model.parent.name}", "last")]
    psnr_model(cfg, data_hash="a", train=training)
    assert len(training.calls) == 1


def test_processes_that_somebody_else_has_started(monkeypatch):
    """Breaks if each of torchrun's processes trains it for itself; a kept model serves them all."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(
        InputError, match=r"each of torchrun's processes would train it: run stage=psnr first"
    ):
        psnr_model(compose(*JOB), data_hash="a", train=Training())
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    model = psnr_model(compose(*JOB), data_hash="a", train=Training())
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    assert psnr_model(compose(*JOB), data_hash="a", train=Training()) == model


def test_stage_psnr_has_no_init_auto(tmp_path):
    """Breaks if a PSNR stage trains another one for itself."""
    with pytest.raises(InputError, match=r"init=auto trains the PSNR stage for stage=gan"):
        train(compose("stage=psnr", "init=auto", *tiny.PSNR), tmp_path / "run")


@pytest.mark.slow
def test_a_job_does_not_care_who_has_trained_its_start(tmp_path, monkeypatch):
    """Breaks if the GAN stage's draws depend on whether the PSNR stage ran before it in the same process.

    Or if a stage's data, networks and losses are built a second time.
    """
    built = []
    for name in ("build_data", "build_stage"):
        build = getattr(run.train, name)
        count = lambda cfg, *given, build=build: (built.append(cfg.stage.name), build(cfg, *given))[1]  # noqa: E731
        monkeypatch.setattr(run.train, name, count)
    for name in ("trains", "finds"):
        train(compose(*JOB), tmp_path / name)
    assert built == ["gan", "gan", "psnr", "psnr", "gan", "gan"]
    (kept,) = Path("runs/init").glob("*/generator.safetensors")
    one, other = (load_file(tmp_path / name / "generator.safetensors") for name in ("trains", "finds"))
    assert all(torch.equal(tensor, other[key]) for key, tensor in one.items())
    lineage = read_generator_file(tmp_path / "finds/generator.safetensors").metadata["init"]
    assert lineage["sha256"] == state_hash(load_file(kept))
    longer = ("resume=last", "trainer.max_updates=3", "schedule.updates=2")
    train(compose(*JOB, *longer), tmp_path / "trains")


@pytest.mark.slow
def test_the_jobs_mistakes_are_told_before(tmp_path):
    """Breaks if a wrong loss is found after hours of PSNR training."""
    with pytest.raises(InputError, match=r"loss\.weights"):
        train(compose(*JOB, "+loss.weights.style=1"), tmp_path / "run")
    assert not list(Path("runs/init").glob("*/*"))
