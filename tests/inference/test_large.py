"""Pictures by rows: what comes out is what the whole picture gives."""

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms

from esrgan_lightning import Upscaler
from esrgan_lightning.errors import InputError
from esrgan_lightning.inference.large import upscale_large
from esrgan_lightning.networks import RRDBNet
from esrgan_lightning.ops import read_image, write_image
from esrgan_lightning.ops.image import read_photo

pytest.importorskip("pyvips", exc_type=(ImportError, OSError))

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="module")
def upscaler():
    torch.manual_seed(0)
    net = RRDBNet(num_features=4, num_blocks=1, growth_channels=2, scale=2, init_scale=1.0)
    return Upscaler(net, tile=None)


def photo(channels, dtype, height=301, width=37):
    levels = torch.rand(channels, height, width, generator=torch.Generator().manual_seed(1))
    return (levels * (255 if dtype is torch.uint8 else 65535)).to(torch.int32).to(dtype)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
@pytest.mark.parametrize(("source", "target"), [("x.png", "y.tif"), ("x.tif", "y.png")])
def test_equals_the_whole_picture(upscaler, tmp_path, channels, dtype, source, target):
    """Rows lost or doubled between strips, depth, colour order, a predictor that does not fit its tag."""
    image = photo(channels, dtype)
    profile = SRGB if channels == 3 else None
    write_image(tmp_path / source, image, profile=profile)
    assert upscale_large(upscaler, tmp_path / source, tmp_path / target) == ([301, 37], [602, 74])
    found = read_photo(tmp_path / target)
    assert found.pixels.dtype is dtype
    limit = 1 if dtype is torch.uint8 else 16  # float summation in another order
    assert (found.pixels.int() - upscaler(image).int()).abs().max() <= limit
    assert found.profile == profile
    if target.endswith("tif"):
        with tifffile.TiffFile(tmp_path / target) as file:
            assert file.is_bigtiff
    assert sorted(path.name for path in tmp_path.iterdir()) == [source, target]


def test_a_jpeg_is_read_too(upscaler, tmp_path):
    write_image(tmp_path / "x.jpg", photo(3, torch.uint8, 40, 40))
    upscale_large(upscaler, tmp_path / "x.jpg", tmp_path / "y.png")
    difference = read_image(tmp_path / "y.png").int() - upscaler(tmp_path / "x.jpg").int()
    assert difference.abs().max() <= 3  # another decoder


def test_a_picture_that_is_cut_short_leaves_nothing(upscaler, tmp_path):
    for suffix in (".png", ".jpg", ".tif"):
        path = tmp_path / f"x{suffix}"
        write_image(path, photo(3, torch.uint8, 400, 64))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        for target in ("y.png", "y.tif"):
            with pytest.raises(InputError, match=r"is damaged|not readable"):
                upscale_large(upscaler, path, tmp_path / target)
        path.unlink()
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_streamed_is_refused(upscaler, tmp_path):
    def refused(message, path=tmp_path / "x.png", using=upscaler):
        with pytest.raises(InputError, match=message):
            upscale_large(using, path, tmp_path / "y.png")
        assert not (tmp_path / "y.png").exists()

    refused("missing")
    write_image(tmp_path / "x.png", photo(4, torch.uint8, 8, 8))
    refused("without alpha")
    Image.new("CMYK", (4, 4)).save(tmp_path / "x.tif")
    refused("without alpha", tmp_path / "x.tif")
    tifffile.imwrite(tmp_path / "float.tif", np.zeros((4, 4), np.float32))
    refused("8 or 16 bits", tmp_path / "float.tif")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (4, 4)).save(tmp_path / "turned.jpg", exif=exif)
    refused("turn it first", tmp_path / "turned.jpg")
    Image.new("RGB", (4, 4)).save(tmp_path / "x.webp")
    refused("no PNG, JPEG or TIFF", tmp_path / "x.webp")
    write_image(tmp_path / "x.png", photo(3, torch.uint8, 8, 8))
    refused("without --tta", using=Upscaler(upscaler.generator, tta=True))
    refused("the model's scale 2", using=Upscaler(upscaler.generator, scale=3))
