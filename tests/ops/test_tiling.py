"""Tiles against the whole: exact where the overlap covers what the network sees."""

import pytest
import torch
import torch.nn.functional as F

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.tiling import upscale_tiled

KERNEL = torch.rand(3, 3, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def local(x):
    """A linear network that sees two LR pixels to each side (zeros beyond the border), x3."""
    x = F.conv2d(x, KERNEL, padding=2)
    return F.interpolate(x, scale_factor=3, mode="nearest")


def image(height=23, width=17, batch=1):
    return torch.rand(
        batch, 3, height, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )


@pytest.mark.parametrize("tile", [1, 4, 5, 16, 17, 22])
@pytest.mark.parametrize("overlap", [2, 3, 40])
def test_equals_the_whole_where_the_overlap_covers_the_receptive_field(tile, overlap):
    """A tile one pixel off, a black first row or a margin on one side only each differ."""
    whole = local(image(batch=2))
    tiled = upscale_tiled(local, image(batch=2), scale=3, tile=tile, overlap=overlap)
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-12)


def test_less_overlap_shows_seams_at_the_cuts_alone():
    """Otherwise the tests above could not fail."""
    whole, tiled = local(image()), upscale_tiled(local, image(), scale=3, tile=8, overlap=1)
    wrong = (whole - tiled).abs().amax((0, 1)) > 1e-12
    near_a_cut = torch.zeros_like(wrong)
    for cut in (8, 16):  # the outermost pixel of what each side sees is missing
        for lr in (cut - 1, cut):
            near_a_cut[3 * lr : 3 * lr + 3] = True
            near_a_cut[:, 3 * lr : 3 * lr + 3] = True
    assert wrong.any()
    assert not wrong[~near_a_cut].any()


@pytest.mark.parametrize("overlap", [0, 3])
def test_every_pixel_is_written_once_and_read_from_its_own_place(overlap):
    """Coordinates as the picture: a gap keeps garbage, a shift has another number."""
    numbers = torch.arange(23 * 17, dtype=torch.float64).reshape(1, 1, 23, 17)
    tiled = upscale_tiled(
        lambda x: x.repeat_interleave(2, -2).repeat_interleave(2, -1),
        numbers,
        scale=2,
        tile=5,
        overlap=overlap,
    )
    assert torch.equal(tiled[..., ::2, ::2], numbers)
    assert torch.equal(tiled[..., 1::2, 1::2], numbers)


def test_a_network_may_reuse_its_memory():
    """Kept views would all show the last tile."""
    memory = torch.empty(1, 3, 8, 8, dtype=torch.float64)
    tiled = upscale_tiled(lambda x: memory.copy_(x), image(16, 16), scale=1, tile=8, overlap=0)
    assert torch.equal(tiled, image(16, 16))


@pytest.mark.parametrize("tile", [3, 5, 8])
def test_folding_networks_get_tiles_at_multiples_of_the_fold(tile):
    """Pixel-unshuffle at an odd column pairs other neighbours: no overlap would mend that."""

    def folding(x):
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % 4, 0, -height % 4), mode="replicate")
        folded = F.pixel_unshuffle(x, 4)
        weights = torch.linspace(0, 1, 48, dtype=torch.float64)[None, :, None, None]
        return F.pixel_shuffle(folded * weights, 4)[..., :height, :width]

    whole = folding(image())
    aligned = upscale_tiled(folding, image(), scale=1, tile=tile, overlap=4, align=4)
    torch.testing.assert_close(aligned, whole, rtol=0, atol=0)
    if tile % 4:
        assert not torch.equal(upscale_tiled(folding, image(), scale=1, tile=tile, overlap=4), whole)


def test_dtype_and_channels_are_the_networks():
    tiled = upscale_tiled(lambda x: (x[:, :1] * 255).to(torch.uint8), image(), scale=1, tile=7, overlap=1)
    assert tiled.dtype is torch.uint8
    assert tiled.shape == (1, 1, 23, 17)


def test_a_network_of_another_scale_is_refused():
    with pytest.raises(InputError, match="at scale 2"):
        upscale_tiled(local, image(), scale=2, tile=None, overlap=0)
