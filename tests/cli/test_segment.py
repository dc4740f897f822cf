"""``esrgan segment`` and what reads its maps: training, and ``esrgan upscale --maps``."""

import pytest
import torch
from torchvision.models.segmentation import lraspp_mobilenet_v3_large
from typed import esrgan

from esrgan_lightning import Upscaler
from esrgan_lightning.data.maps import quantised, read_maps, write_maps
from esrgan_lightning.networks import OUTDOOR_CLASSES, RRDBNet, SFTNet
from esrgan_lightning.networks.segmentation import Segmentation
from esrgan_lightning.ops import imresize, modcrop, read_image, to_float, write_image
from esrgan_lightning.weights import save_generator

CLASSES = ("sky", "water")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "lraspp.pth"
    torch.save(lraspp_mobilenet_v3_large(weights=None, weights_backbone=None).state_dict(), path)
    return path


@pytest.fixture
def photos(tmp_path):
    random = torch.Generator().manual_seed(0)
    for name, size in (("a.png", (34, 41)), ("trip/b.v2.jpg", (28, 30))):
        pixels = torch.randint(0, 256, (3, *size), generator=random, dtype=torch.uint8)
        write_image(tmp_path / "photos" / name, pixels)
    return tmp_path / "photos"


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    net = SFTNet(CLASSES, num_features=4, num_blocks=1, scale=2, init_scale=1)
    save_generator(tmp_path / "sft.safetensors", net)
    return tmp_path / "sft.safetensors"


def test_maps_of_the_lr_of_each_photo(photos, weights, tmp_path):
    """What training meets: the network on the bicubic LR of the photo cut to a multiple of the scale."""
    code, out, _ = esrgan("segment", photos, "-o", tmp_path / "maps", "--weights", weights, "--device", "cpu")
    files = [tmp_path / "maps" / name for name in ("a.safetensors", "trip/b.v2.safetensors")]
    assert (code, out.split()) == (0, list(map(str, files)))
    maps = read_maps(files[0], OUTDOOR_CLASSES, 8, 10)
    lr = imresize(modcrop(read_image(photos / "a.png"), 4), 1 / 4)
    assert (quantised(Segmentation(weights=weights)(to_float(lr)[None])[0]).numpy() == maps).all()


def test_maps_that_are_there_stay_and_classes_are_a_setting(photos, weights, tmp_path):
    settings = "--lr --classes animal,vehicle,background --group vehicle=car,bus --group animal=cat"
    line = ("segment", photos / "a.png", "-o", tmp_path / "maps", "--weights", weights, *settings.split())
    assert esrgan(*line)[0] == 0
    before = (tmp_path / "maps/a.safetensors").read_bytes()
    read_maps(tmp_path / "maps/a.safetensors", ("animal", "vehicle", "background"), 34, 41)
    code, out, told = esrgan(*line)
    assert (code, out) == (0, "")
    assert "1 of 1 were there already" in told
    assert esrgan(*line, "--overwrite")[0] == 0
    assert (tmp_path / "maps/a.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--classes", "sky,sky"), "different names"),
        (("--group", "animal"), "CLASS=OUTPUT"),
        (("--categories", "a,,b"), "different names"),
        (("--network", "unet"), "known are"),
        (("--device", "nowhere"), "cannot be used"),
    ],
)
def test_wrong_options_are_one_line(photos, weights, tmp_path, more, told):
    code, _, error = esrgan("segment", photos, "-o", tmp_path / "maps", "--weights", weights, *more)
    assert (code, error.count("\n")) == (2, 1)
    assert told in error
    assert not (tmp_path / "maps").exists()


@pytest.mark.parametrize("options", [(), ("--tile", "12", "--overlap", "8"), ("--tta",), ("--scale", "1.5")])
def test_upscale_takes_each_pictures_maps(photos, model, tmp_path, options):
    """Breaks if the maps of another picture are taken, or a tile gets those of another place."""
    random = torch.Generator().manual_seed(1)
    maps = {
        "a": torch.rand(2, 34, 41, generator=random),
        "trip/b.v2": torch.rand(2, 28, 30, generator=random),
    }
    for name, each in maps.items():
        write_maps(tmp_path / f"maps/{name}.safetensors", each, CLASSES)
    code, _, told = esrgan(
        *("upscale", photos, "-o", tmp_path / "out", "-m", model, "--maps", tmp_path / "maps"),
        *("--device", "cpu", *options),
    )
    assert (code, told) == (0, "")
    scale = 1.5 if "--scale" in options else None
    upscaler = Upscaler(model, device="cpu", scale=scale, tta="--tta" in options, pre_pad=8)
    for name, suffix in (("a", "png"), ("trip/b.v2", "jpg")):
        lr = read_image(photos / f"{name}.{suffix}")
        expected = upscaler.upscale(lr, quantised(maps[name])).int()
        found = read_image(tmp_path / f"out/{name}.png").int()
        assert (found - expected).abs().max() <= 1
        other = upscaler.upscale(lr, quantised(1 - maps[name])).int()
        assert (found - other).abs().float().mean() > 1


def test_a_model_that_takes_maps_never_runs_without(photos, model, tmp_path):
    """No uniform maps in silence: one line, before any work, that names the remedy."""
    line = ("upscale", photos, "-o", tmp_path / "out", "--device", "cpu", "-m")
    save_generator(tmp_path / "rrdb.safetensors", RRDBNet(num_features=4, num_blocks=1, growth_channels=2))
    write_maps(tmp_path / "maps/a.safetensors", torch.rand(2, 34, 41), CLASSES)
    maps = ("--maps", tmp_path / "maps")
    for more, told in (
        ((model,), "takes maps of sky, water: give --maps DIR"),
        ((model, *maps), "trip/b.v2.safetensors is missing"),
        ((model, *maps, "--scale", "4"), "scale"),
        ((tmp_path / "rrdb.safetensors", *maps), "takes no maps"),
    ):
        code, _, error = esrgan(*line, *more)
        assert (code, error.count("\n")) == (2, 1)
        assert told in error
    write_maps(tmp_path / "maps/trip/b.v2.safetensors", torch.rand(2, 30, 30), CLASSES)
    code, out, error = esrgan(*line, model, *maps)
    assert (code, out.split()) == (1, [str(tmp_path / "out/a.png")])
    assert "(2, 30, 30)" in error
