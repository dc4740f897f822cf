"""A run of ``generator=sft`` from end to end: both stages, on maps in files and on maps made on the fly."""

import csv

import pytest
import tiny
import torch
import torch.nn.functional as F
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

from esrgan_lightning import Upscaler, load_generator
from esrgan_lightning.config import compose
from esrgan_lightning.data.maps import write_maps
from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation import load_models
from esrgan_lightning.export import export_generator
from esrgan_lightning.networks import OUTDOOR_CLASSES, SFTNet, conditions_of
from esrgan_lightning.ops import write_image
from esrgan_lightning.training import train

SIZES = {
    stage: tiny.fitting(sizes, ["generator=sft"]) for stage, sizes in (("psnr", tiny.PSNR), ("gan", tiny.GAN))
}
EXACT = ("trainer.precision=32", "schedule=constant")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Four photos, one left out for validation; their maps; a segmentation network of random weights."""
    home, random = tmp_path_factory.mktemp("sft"), torch.Generator().manual_seed(0)
    for number in range(4):
        noise = torch.rand(1, 3, 9, 12, generator=random)
        image = F.interpolate(noise, (70 + number, 90), mode="bicubic").clamp(0, 1)[0]
        write_image(home / f"photos/{number}.png", (image * 255).to(torch.uint8))
        maps = torch.rand(8, (70 + number) // 4, 22, generator=random)
        write_maps(home / f"maps/{number}.safetensors", maps, OUTDOOR_CLASSES)
    torch.manual_seed(0)
    torch.save(lraspp_mobilenet_v3_large(weights=None, weights_backbone=None).state_dict(), home / "seg.pth")
    return home


def config(home, stage, *overrides):
    line = (f"stage={stage}", "generator=sft", "data=folder", f"data.train_dir={home / 'photos'}")
    return compose(*line, *SIZES[stage], *EXACT, *overrides)


def on_maps(home):
    return ("conditions=maps", f"conditions.dir={home / 'maps'}")


def weights(run):
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


def test_both_stages_on_maps_in_files(home, tmp_path):
    """Breaks if a part of the way from the files to generator.safetensors does not know of maps."""
    metrics = train(config(home, "psnr", *on_maps(home), "data.num_workers=2"), tmp_path / "psnr")
    assert metrics["val/psnr_y"] > 0
    init = tmp_path / "psnr/generator.safetensors"
    settings = (f"init={init}", "stage.ema_decay=0.9")
    train(config(home, "gan", *on_maps(home), *settings), tmp_path / "gan")
    with (tmp_path / "gan/metrics.csv").open(newline="") as file:
        assert float(list(csv.DictReader(file))[-1]["train/skipped"]) == 0
    assert list((tmp_path / "gan/samples").iterdir())
    net = load_generator(tmp_path / "gan/generator.safetensors")
    assert conditions_of(net) == OUTDOOR_CLASSES
    maps = torch.rand(8, 9, 7).softmax(0)
    assert Upscaler(net).upscale(torch.rand(3, 9, 7), maps).shape == (3, 36, 28)


def test_maps_made_on_the_fly(home, tmp_path):
    """Breaks if the segmentation network lands in the checkpoint, or is trained."""
    made = ("conditions=torchvision", f"conditions.weights={home / 'seg.pth'}")
    train(config(home, "psnr", *made), tmp_path / "run")
    assert {name.split(".")[0] for name in weights(tmp_path / "run")} == {"generator"}


def test_a_resumed_run_on_maps_ends_where_an_uninterrupted_one_does(home, tmp_path):
    """Maps included, sample n depends on (seed, n) alone; other maps are another run."""
    train(config(home, "psnr", *on_maps(home), "trainer.max_updates=3"), tmp_path / "whole")
    train(config(home, "psnr", *on_maps(home), "trainer.max_updates=2"), tmp_path / "parts")
    (tmp_path / "moved").mkdir()
    for file in (home / "maps").iterdir():
        (tmp_path / "moved" / file.name).write_bytes(file.read_bytes())
    resumed = ("resume=last", "trainer.max_updates=3")
    moved = ("conditions=maps", f"conditions.dir={tmp_path / 'moved'}")
    train(config(home, "psnr", *moved, *resumed), tmp_path / "parts")
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(one[name], other[name]) for name in one)
    write_maps(tmp_path / "moved/0.safetensors", torch.rand(8, 17, 22), OUTDOOR_CLASSES)
    more = ("resume=last", "trainer.max_updates=4")
    with pytest.raises(InputError, match="other photos"):
        train(config(home, "psnr", *moved, *more), tmp_path / "parts")


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ((), "SFTNet takes maps of background, sky, .*: give conditions=maps"),
        (("conditions=maps", "conditions.dir=nowhere"), "nowhere is no folder of maps"),
        (("MAPS", "generator.classes=[sky,sea]"), r"\['background', .*\['sky', 'sea'\]"),
        (("MAPS", "generator=srresnet"), "the generator takes no maps"),
        (("conditions=torchvision", "conditions.weights=nowhere.pth"), "nowhere.pth: there is no such file"),
        (("conditions=torchvision", "conditions.groups={sea: [boat]}"), "names sea"),
    ],
)
def test_each_mistake_is_named_before_training(home, tmp_path, overrides, told):
    given = [more for each in overrides for more in (on_maps(home) if each == "MAPS" else (each,))]
    cfg = config(home, "psnr", *given)
    with pytest.raises(InputError, match=told):
        train(cfg, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_has_one_input_refuses_two(home, tmp_path):
    """Evaluation and exports: one line, with the way round where there is one."""
    from esrgan_lightning.weights import save_generator

    net = SFTNet(("sky", "water"), num_features=4, num_blocks=1)
    save_generator(tmp_path / "sft.safetensors", net)
    with pytest.raises(InputError, match=r"sft\.safetensors takes maps: .*esrgan upscale --maps DIR"):
        load_models([str(tmp_path / "sft.safetensors")], 4)
    for name in ("net.onnx", "net.pt2", "net.ts", "net.param"):
        with pytest.raises(InputError, match="takes maps beside the image"):
            export_generator(net, tmp_path / name)
    with pytest.raises(InputError, match="SFTNet takes maps of sky, water"):
        Upscaler(net)(torch.rand(3, 5, 5))
