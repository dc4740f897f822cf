"""Maps on their way to the network: with gray, alpha, several images, tiles and turns."""

import pytest
import torch

from esrgan_lightning import Upscaler
from esrgan_lightning.errors import InputError
from esrgan_lightning.inference import Runner
from esrgan_lightning.networks import RRDBNet, SFTNet

CLASSES = ("sky", "water")


def net(**settings):
    torch.manual_seed(0)
    return SFTNet(CLASSES, **({"num_features": 4, "num_blocks": 1, "scale": 2, "init_scale": 0.5} | settings))


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_it_is_the_generator_on_image_and_maps():
    """For a batch, each image with its own maps; bytes are 255 in sum."""
    images, maps, generator = random(2, 3, 6, 7), random(2, 2, 6, 7, seed=1), net().eval()
    found = Upscaler(generator).upscale(images, maps)
    torch.testing.assert_close(found, generator(images, maps).clamp(0, 1))
    assert not torch.equal(found[0], Upscaler(generator).upscale(images[0], maps[1]))
    one = Upscaler(generator).upscale(images, maps[0])  # of all images
    torch.testing.assert_close(one[1], generator(images[1:], maps[:1])[0].clamp(0, 1))
    bytes_ = torch.full((2, 6, 7), 51, dtype=torch.uint8)
    assert torch.equal(
        Upscaler(generator).upscale(images, bytes_), Upscaler(generator).upscale(images, bytes_ / 255)
    )


@torch.no_grad()
def test_tiles_that_see_enough_equal_the_whole():
    """Breaks if a tile gets the maps of another place. The network sees 7 LR pixels to each side."""
    image, maps = random(3, 20, 23), random(2, 20, 23, seed=1)
    whole = Upscaler(net(), tile=None).upscale(image, maps)
    torch.testing.assert_close(Upscaler(net(), tile=6, overlap=8).upscale(image, maps), whole)


@torch.no_grad()
def test_turned_images_have_turned_maps():
    """The mean over eight symmetries does not change when image and maps are turned together."""
    image, maps = random(3, 6, 9), random(2, 6, 9, seed=1)
    upscaler = Upscaler(net(), tta=True)
    turned = upscaler.upscale(image.rot90(1, (1, 2)), maps.rot90(1, (1, 2)))
    torch.testing.assert_close(turned.rot90(-1, (1, 2)), upscaler.upscale(image, maps))


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("own", [1, 3])
def test_gray_colour_and_alpha(channels, own):
    """A network of gray enlarges each colour with the same maps; alpha never sees them."""
    image, maps = random(channels, 5, 6), random(2, 5, 6, seed=1)
    if channels in (2, 4):
        image[-1].clamp_(min=0.05)  # transparent pixels take other colours
    generator = net(in_channels=own, out_channels=own).eval()
    large = Upscaler(generator).upscale(image, maps)
    assert large.shape == (channels, 10, 12)
    colors = image[: 1 if channels < 3 else 3]
    batch = colors[:, None] if own == 1 else colors.expand(1, 3, -1, -1)
    sr = generator(batch, maps.expand(len(batch), -1, -1, -1)).clamp(0, 1)
    expected = sr[:, 0] if own == 1 else sr[0] if len(colors) == 3 else sr.mean(1)
    torch.testing.assert_close(large[: len(colors)], expected)


@pytest.mark.parametrize(
    ("generator", "maps", "settings", "told"),
    [
        (net(), None, {}, "SFTNet takes maps of sky, water: give them"),
        (RRDBNet(num_features=4, num_blocks=1, growth_channels=2), (2, 5, 5), {}, "RRDBNet takes no maps"),
        (net(), (3, 5, 5), {}, r"\(3, 5, 5\)"),
        (net(), (2, 10, 10), {}, r"\(2, 10, 10\)"),
        (net(), (3, 2, 5, 5), {}, r"\(3, 2, 5, 5\)"),
        (net(), (2, 5, 5), {"scale": 4}, "scale of at most its own"),
    ],
)
def test_what_does_not_fit_is_named(generator, maps, settings, told):
    given = None if maps is None else torch.rand(maps)
    with pytest.raises(InputError, match=told):
        Upscaler(generator, **settings).upscale(torch.rand(3, 5, 5), given)


def test_a_runner_and_exact_tiling_say_what_they_cannot():
    with pytest.raises(InputError, match="2 classes come behind the colours"):
        Runner(net(), device=torch.device("cpu"))(torch.rand(1, 2, 5, 5))
    with pytest.raises(InputError, match="not SFTNet"):
        Upscaler(net(), tile="exact").upscale(torch.rand(3, 5, 5), torch.rand(2, 5, 5))
