"""The page's arithmetic, without a page."""

import pytest
import torch
from PIL import Image

from esrgan_lightning.errors import InputError
from esrgan_lightning.inference import NetworkPair
from esrgan_lightning.metrics import niqe, psnr_y, ssim_y
from esrgan_lightning.networks import RRDBNet, SFTNet
from esrgan_lightning.ops import imresize
from esrgan_lightning.ui import view
from esrgan_lightning.weights import save_generator


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    for seed, name in enumerate(("psnr", "gan")):
        torch.manual_seed(seed)
        net = RRDBNet(num_features=8, num_blocks=1, growth_channels=4, init_scale=1.0)
        save_generator(folder / f"{name}.safetensors", net)
    return folder / "psnr.safetensors", folder / "gan.safetensors"


@pytest.fixture(scope="module")
def pair(files):
    return NetworkPair.read(*files, pre_pad=8)


def image(*shape, dtype=torch.uint8):
    return torch.randint(0, 256, shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


def test_a_pair_says_what_does_not_fit(files, pair, tmp_path):
    """Networks that were not trained from each other blend badly: the page says so."""
    assert "gan.safetensors" in pair.warning
    save_generator(tmp_path / "other.safetensors", RRDBNet(num_features=16, num_blocks=1, growth_channels=4))
    with pytest.raises(InputError, match=r"other\.safetensors"):
        NetworkPair.read(files[0], tmp_path / "other.safetensors")
    save_generator(tmp_path / "sft.safetensors", SFTNet(num_features=8, num_blocks=1))
    with pytest.raises(InputError, match="take maps"):
        NetworkPair.read(tmp_path / "sft.safetensors", tmp_path / "sft.safetensors")


@pytest.mark.parametrize("place", [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0), (0.3, 0.9)])
def test_a_part_is_a_part_of_the_whole(pair, place):
    """One block sees 16 pixels far at most: with them around it, a part is the whole's, to the level."""
    picture = view.as_picture(image(3, 60, 80), is_hr=False, scale=4)
    part = view.part_at(picture, *place, 32)
    assert 0 <= part.top <= 60 - 32
    assert 0 <= part.left <= 80 - 32
    bicubic, sr = view.compare(picture, part, pair, 1.0)
    rows, columns = (slice(4 * first, 4 * (first + 32)) for first in (part.top, part.left))
    whole = view.enlarge(picture, pair, 1.0, 60 * 80)
    for one, all_ in zip((bicubic, sr), whole, strict=True):
        difference = (one.int() - all_[:, rows, columns].int()).abs()
        assert difference.max() <= 1  # another order of summation


def test_an_original_is_cut_and_shrunk_as_the_evaluation_does():
    photo = image(3, 131, 135)
    picture = view.as_picture(photo, is_hr=True, scale=4)
    assert torch.equal(picture.hr, photo[:, :128, :132])
    assert torch.equal(picture.lr, imresize(photo[:, :128, :132], 1 / 4))
    assert view.part_at(picture, 0.9, 0.9, 128) == view.Part(0, 1, 32)  # a small picture is its own part
    part = view.Part(3, 5, 16)
    assert torch.equal(view.part_of_hr(picture, part, 4), photo[:, 12:76, 20:84])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_the_whole_keeps_gray_alpha_and_depth(pair, channels):
    photo = image(channels, 20, 24, dtype=torch.int32).to(torch.uint16)
    bicubic, sr = view.enlarge(view.as_picture(photo, is_hr=False, scale=4), pair, 0.5, 20 * 24)
    assert (sr.shape, sr.dtype) == ((channels, 80, 96), torch.uint16)
    assert (bicubic.shape, bicubic.dtype) == ((3, 80, 96), torch.uint8)


def test_figures_are_those_of_the_metrics():
    hr, sr = image(3, 208, 208), image(3, 208, 208).flip(-1)
    ((name, psnr, ssim, natural),) = view.figures({"a": sr}, hr, 4)
    assert name == "a"
    assert psnr == f"{float(psnr_y(sr[None], hr[None], 4)):.2f}"
    assert ssim == f"{float(ssim_y(sr[None], hr[None], 4)):.4f}"
    assert natural == f"{float(niqe(sr[None], 4)):.2f}"
    assert view.figures({"a": sr[:, :100]}, hr[:, :100], 4)[0][-1] == "–"  # 92 rows: no block of 96


def test_limits_are_told_before_anything_is_decoded(tmp_path):
    Image.new("L", (3000, 2000)).save(tmp_path / "large.png")
    whole = (tmp_path / "large.png").read_bytes()
    (tmp_path / "large.png").write_bytes(whole[:60])  # the header alone: decoding would fail
    with pytest.raises(InputError, match=r"large\.png has 6\.0 megapixels, this page takes 4"):
        view.read_photo(tmp_path / "large.png", 4_000_000)
    with pytest.raises(InputError, match="each side needs 64"):
        view.as_picture(image(3, 63, 100), is_hr=True, scale=4)
    picture = view.as_picture(image(3, 40, 40), is_hr=False, scale=4)
    with pytest.raises(InputError, match="40×40 pixels are more"):
        view.enlarge(picture, None, 1.0, 1599)


def test_the_screen_gets_whole_pixels_and_a_frame():
    """A small part is enlarged by repeating pixels, so that the eye sees the network and no other filter."""
    part = image(3, 100, 100)
    large = view.shown(part, 768)
    assert large.shape == (3, 700, 700)
    assert torch.equal(large[:, ::7, ::7], part)
    assert torch.equal(large[:, 6::7, 6::7], part)
    assert max(view.shown(image(3, 300, 900), 360).shape) == 360
    flat = torch.full((3, 100, 90), 128, dtype=torch.uint8)
    framed = view.framed(view.shown(flat, 100), view.Picture(flat, None), view.Part(10, 20, 40))
    assert framed[:, 10, 20].tolist() == [0, 0, 0]
    assert framed[:, 11, 21].tolist() == [255, 255, 255]
    assert (framed[:, 0:10] == 128).all()
    assert (framed[:, 14:45, 24:55] == 128).all()
    assert (flat == 128).all(), "the frame was drawn into the photo"
