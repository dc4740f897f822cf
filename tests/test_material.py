"""`stage=material` from the command line's configuration to the perceptual loss of a GAN."""

import shutil

import pytest
import rank_work
import tiny
import torch
from ranks import on_ranks
from test_resume import At, assert_equal, checkpoint, power_cut, rows
from textures import CLASSES, write_textures

from esrgan_lightning.config import compose
from esrgan_lightning.errors import InputError
from esrgan_lightning.networks.backbones import VGGFeatures
from esrgan_lightning.run.state import RUN_KEY
from esrgan_lightning.training import train

pytestmark = pytest.mark.usefixtures("one_thread")
VGG16 = "weights/vgg16_features_fp16.safetensors"
SMALL = (
    "stage=material", "network.arch=vgg16", "network.head=light", "data.image_size=32", "data.batch_size=4",
    "data.num_workers=0", "trainer.accelerator=cpu", "trainer.precision=32", "trainer.log_interval=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def textures(tmp_path_factory):
    """12 images of each class, and the same parted by hand, with an odd number for validation."""
    folder = write_textures(tmp_path_factory.mktemp("textures"), 12)
    parted = tmp_path_factory.mktemp("parted")
    write_textures(parted / "train", 3)
    write_textures(parted / "val", 1, first=3)
    shutil.copy(folder / "dots/dots_000007.jpg", parted / "val/dots")
    return {"whole": f"data.root={folder}", "parted": f"data.root={parted}"}


@pytest.mark.slow
def test_textures_are_told_apart_and_the_features_serve_a_gan(tmp_path, textures, shared):
    """Breaks if it does not learn (chance is 0.25), or what it has learnt does not reach the loss."""
    given = (textures["whole"], f"init={shared(VGG16)}", "data.val_share=0.34", "data.crop_area=[0.5,1]")
    rates = ("optimizer.lr=3e-3", "stage.features_rate=0.3", "data.batch_size=8")
    run = tmp_path / "material"
    metrics = train(compose(*SMALL, *given, *rates, "trainer.max_updates=25", "trainer.val_interval=25"), run)
    assert set(metrics) == {"val/accuracy", "val/loss"}
    assert metrics["val/accuracy"] >= 0.8
    assert {path.name for path in run.iterdir()} == {
        ".lock", "checkpoints", "config.yaml", "features.safetensors", "metrics.csv", "outcome.json",
    }  # fmt: skip
    assert {"last.ckpt", "best_update_0000025.ckpt"} == {
        path.name for path in (run / "checkpoints").iterdir()
    }
    content = checkpoint(run)
    assert content["esrgan_lightning"]["classes"] == list(CLASSES)
    assert content["esrgan_lightning"]["provenance"]["init"]["file"] == VGG16.rpartition("/")[2]
    before, after = (
        VGGFeatures("vgg16", ["conv5_3"], weights=path)
        for path in (shared(VGG16), run / "features.safetensors")
    )
    assert not torch.equal(before.features[28].weight, after.features[28].weight)
    sizes = [size for size in tiny.GAN if "perceptual" not in size]
    loss = ("loss/perceptual=vgg16", f"loss.perceptual.weights={run / 'checkpoints/last.ckpt'}")
    train(compose("stage=gan", "init=null", *sizes, *loss), tmp_path / "gan")
    assert float(rows(tmp_path / "gan")[-1]["train/perceptual"]) > 0


@pytest.mark.slow
def test_a_broken_run_goes_on_as_if_nothing_had_happened(tmp_path, textures):
    """Breaks if dropout, a sample, a rate, a moment or the best is not what an unbroken run has."""
    settings = (
        *SMALL, textures["parted"], "init=null", "trainer.max_updates=6",
        "trainer.val_interval=4", "trainer.checkpoint_interval=4", "trainer.keep_last=1",
    )  # fmt: skip
    train(compose(*settings), tmp_path / "whole", callbacks=[At()])
    with pytest.raises(KeyError):
        train(compose(*settings), tmp_path / "parts", callbacks=[At(4, power_cut, "validation")])
    # The weights that it began with are not asked for again.
    rest = [each for each in settings if each != "init=null"]
    train(compose(*rest, "resume=last"), tmp_path / "parts", callbacks=[At()])
    states = [checkpoint(tmp_path / name) for name in ("whole", "parts")]
    for state in states:
        del state["loops"], state["epoch"], state[RUN_KEY]["config"]
        del state["esrgan_lightning"]["provenance"]["config_hash"]
    assert_equal(*states)
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")


@pytest.mark.slow
def test_two_processes_train_and_measure_as_one(tmp_path, textures):
    """Breaks if gradients are not averaged, or one of five validation images counts twice."""
    settings = (
        *SMALL, textures["parted"], "init=null", "network.dropout=0", "trainer.max_updates=2",
        "trainer.checkpoint_interval=2",
    )  # fmt: skip
    train(compose(*settings), tmp_path / "1")
    on_ranks(2, rank_work.runs, {"2": settings}, tmp_path, 2)
    one, two = (checkpoint(tmp_path / str(world))["state_dict"] for world in (1, 2))
    for name, tensor in one.items():
        assert (two[name] - tensor).norm() <= 1e-5 * tensor.norm() + 1e-8, name
    for mine, theirs in zip(rows(tmp_path / "1"), rows(tmp_path / "2"), strict=True):
        for column in ("train/loss", "train/accuracy", "val/accuracy", "val/loss"):
            if mine[column]:
                assert float(theirs[column]) == pytest.approx(float(mine[column]), rel=1e-4), column


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("stage=material", "data=photos"), "give data=materials or data=minc"),
        (("stage=psnr", "data=minc", "data.root=x"), "give photos, as data=folder"),
        ((*SMALL, "trainer.monitor=psnr_y"), "none of the metrics: accuracy, loss"),
        ((*SMALL, "network.arch=vgg11"), "arch='vgg11'"),
        ((*SMALL, "+network.depth=3"), "network: .*depth"),
        ((*SMALL, "optimizer.momentum=-1"), "stage, optimizer or schedule: Invalid momentum"),
        ((*SMALL, "init=nowhere.pth"), r"weights=nowhere\.pth: there is no such file"),
    ],
)
def test_settings_that_do_not_fit_are_told(tmp_path, textures, overrides, words):
    started = [] if any(each.startswith("init=") for each in overrides) else ["init=null"]
    more = [textures["whole"], *started] if set(SMALL) < set(overrides) else []
    with pytest.raises(InputError, match=words):
        train(compose(*overrides, *more), tmp_path / "run")
