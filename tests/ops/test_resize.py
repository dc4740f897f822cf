"""imresize against MATLAB's own output, an independent port of it, and closed forms."""

import itertools
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from esrgan_lightning.errors import InputError
from esrgan_lightning.metrics import psnr_y
from esrgan_lightning.ops import BackProjection, imresize, modcrop, read_image, read_rgb, resize, to_float

SCALES = {
    "0.5000": 1 / 2,
    "0.3333": 1 / 3,
    "0.2500": 1 / 4,
    "0.7000": 0.7,
    "1.5000": 1.5,
    "2.0000": 2.0,
    "3.0000": 3.0,
    "4.0000": 4.0,
}


def photo(height, width, seed=0, channels=3):
    """Not smooth: noise with flat and saturated areas, so that clamping between the passes matters."""
    image = torch.randint(0, 256, (channels, height, width), generator=torch.Generator().manual_seed(seed))
    image[:, : height // 3, : width // 2] = 255
    image[:, height // 2 :, : width // 4] = 0
    return image.to(torch.uint8)


def planes(array):
    return torch.from_numpy(np.ascontiguousarray(array if array.ndim == 2 else array.transpose(2, 0, 1)))


@pytest.mark.parametrize("scale", SCALES)
def test_equals_the_independent_port_in_every_variant(scale):
    """Of noise, a step, a ramp and a checkerboard; the port makes the LR of Set5 and Set14 bit for bit."""
    with np.load(Path(__file__).parents[1] / "goldens" / "imresize.npz") as golden:
        names = [name for name in golden if f"/s{scale}/" in name]
        assert len(names) >= 10
        for name in names:
            image, expected = planes(golden["in/" + name.split("/")[0]]), planes(golden[name])
            variant = name.split("/")[2]
            if variant.startswith("u8_matlab"):
                ours = imresize(image, SCALES[scale], edges=variant.removeprefix("u8_matlab_"))
                assert ours.dtype is torch.uint8
                if scale == "0.7000":  # ties hang on the order of the processor's sums
                    apart = (ours.int() - expected.int()).abs()
                    assert apart.max() <= 1, name
                    assert apart.count_nonzero() <= 0.02 * apart.numel(), name
                else:
                    assert torch.equal(ours, expected), name
            else:
                sharp = "noaa" in variant  # stored as float32
                ours = imresize(image.double(), SCALES[scale], edges="symmetric", antialias=not sharp)
                torch.testing.assert_close(ours, expected.double(), rtol=0, atol=2e-5 if sharp else 1e-12)


@pytest.mark.parametrize(("name", "scale"), list(itertools.product(("Set5", "Set14"), (2, 3, 4))))
def test_makes_the_public_lr_images_with_no_pixel_different(shared, name, scale):
    files = sorted(shared(f"data/{name}/HR").glob("*.png"))
    assert files
    for file in files:
        lr = read_image(shared(f"data/{name}/LRbicx{scale}") / file.name)
        assert torch.equal(imresize(modcrop(read_image(file), scale), 1 / scale), lr), file


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_lr_of_a_crop_is_the_crop_of_the_lr_borders_included(scale):
    """Fails if a result depends on the position in the image, on the blocks or on the edge rule."""
    side, margin = 12 * scale, 4 * scale
    hr = photo(40 * scale, 36 * scale, seed=scale)
    whole = imresize(hr, 1 / scale)
    for top, left in itertools.product((0, 5 * scale, 28 * scale), (0, 11 * scale, 24 * scale)):
        above, before = max(0, top - margin), max(0, left - margin)
        part = imresize(hr[:, above : top + side + margin, before : left + side + margin], 1 / scale)
        row, column = (top - above) // scale, (left - before) // scale
        trimmed = part[:, row : row + 12, column : column + 12]
        expected = whole[:, top // scale : top // scale + 12, left // scale : left // scale + 12]
        assert torch.equal(trimmed, expected), (top, left)


def keys(x):
    x = abs(x)
    if x <= 1:
        return Fraction(3, 2) * x**3 - Fraction(5, 2) * x**2 + 1
    return -Fraction(1, 2) * x**3 + Fraction(5, 2) * x**2 - 4 * x + 2 if x < 2 else Fraction(0)


@pytest.mark.parametrize("scale", [Fraction(1, 2), Fraction(1, 3), Fraction(1, 4), Fraction(2), Fraction(4)])
def test_ties_round_up_as_in_rational_arithmetic(scale):
    """All columns alike, so one pass counts; floating sums alone put exact halves on either side."""
    column = torch.randint(0, 256, (960,), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
    narrow, expected, ties = min(scale, Fraction(1)), [], 0
    for i in range(math.ceil(960 * scale)):
        centre = (i + Fraction(1, 2)) / scale - Fraction(1, 2)
        reach = range(math.floor(centre - 2 / narrow), math.ceil(centre + 2 / narrow) + 1)
        weights = [keys(narrow * (centre - j)) for j in reach]
        pixels = [int(column[min(max(j, 0), 959)]) for j in reach]
        value = sum(w * x for w, x in zip(weights, pixels, strict=True)) / sum(weights)
        ties += (value - Fraction(1, 2)).denominator == 1
        expected.append(min(max(math.floor(value + Fraction(1, 2)), 0), 255))
    image = column[:, None].expand(960, 24).contiguous()
    assert imresize(image, float(scale))[:, math.ceil(24 * scale) // 2].tolist() == expected
    assert ties or scale in (Fraction(1, 3), Fraction(1, 4))  # odd denominators; rare


def test_large_images_in_blocks_equal_the_whole_matrix():
    """Sizes beyond one block, against a dense matrix built column by column from unit impulses."""
    size, scale = 700, 1 / 3
    impulses = torch.eye(size, dtype=torch.float64)[:, None, :]  # one image of 1×size each
    matrix = imresize(impulses, scale)[:, 0]  # (size, ceil(size/3))
    x = torch.rand(5, size, dtype=torch.float64)
    rows = imresize(x[:, None, :], scale)[:, 0]
    torch.testing.assert_close(rows, x @ matrix, rtol=0, atol=1e-12)
    torch.testing.assert_close(matrix.sum(0), torch.ones(234, dtype=torch.float64))


@pytest.mark.parametrize("scale", [1 / 4, 1 / 3, 0.7, 1.5, 2, 4])
def test_constants_and_inner_ramps_survive(scale):
    """Keys' kernel reproduces polynomials of first degree: a shift by half a pixel would show here."""
    ramp = torch.arange(96, dtype=torch.float64).expand(1, 8, 96)
    ours = imresize(ramp, scale)[0, 0]
    centres = (torch.arange(len(ours), dtype=torch.float64) + 0.5) / scale - 0.5
    inner = slice(len(ours) // 4, -len(ours) // 4)
    torch.testing.assert_close(ours[inner], centres[inner], rtol=0, atol=0.05 if scale < 1 else 1e-9)
    assert torch.equal(
        imresize(torch.full((2, 9, 7), 200, dtype=torch.uint8), scale).unique(), torch.tensor([200])
    )


@pytest.mark.parametrize(
    ("size", "scale", "expected"), [(10, 0.7, 7), (11, 0.7, 8), (100, 0.7, 70), (50, 1.1, 56)]
)
def test_size_is_the_ceiling_of_the_floating_product_as_in_matlab(size, scale, expected):
    """50·1.1 is 55.00000000000001 in floating point, so the ceiling is 56."""
    assert imresize(torch.zeros(1, size, size), scale).shape == (1, expected, expected)
    assert all(math.ceil(n * (1 / 3)) == n // 3 for n in range(3, 9000, 3))


def test_batches_and_layouts_equal_single_images():
    batch = torch.stack([photo(24, 36, seed) for seed in range(4)]).reshape(2, 2, 3, 24, 36)
    ours = imresize(batch, 1 / 2)
    for a, b in itertools.product(range(2), range(2)):
        assert torch.equal(ours[a, b], imresize(batch[a, b], 1 / 2))
    turned = batch[0].contiguous(memory_format=torch.channels_last)
    assert torch.equal(imresize(turned, 1 / 2), ours[0])


def test_the_input_is_left_alone():
    """The rounding is done in place, on what must be a copy."""
    image = photo(8, 8)
    before = image.clone()
    imresize(image, 1.0)
    assert torch.equal(image, before)
    exact = image.double()
    imresize(exact, 1.0)
    assert torch.equal(exact, before.double())


def test_uint16_is_uint8_scaled():
    """257·x is the same picture at 16 bits: the two differ by the rounding of both passes alone."""
    image = photo(32, 32)
    deep = imresize((image.int() * 257).to(torch.uint16), 1 / 2)
    assert deep.dtype is torch.uint16
    assert (deep.float() / 257 - imresize(image, 1 / 2).float()).abs().max() <= 1.5


@pytest.mark.parametrize("scale", [1 / 2, 0.7, 2])
def test_gradients(scale):
    image = torch.rand(1, 6, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: imresize(x, scale), image)


def test_autocast_changes_nothing():
    image = photo(32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(imresize(image, 1 / 4), imresize(image.clone(), 1 / 4))
        inside = imresize(image.float(), 1 / 4)
    assert torch.equal(inside, imresize(image.float(), 1 / 4))


@pytest.mark.gpu
@pytest.mark.parametrize("scale", [1 / 2, 1 / 3, 1 / 4, 2, 3, 4])
def test_the_gpu_gives_the_same_pixels(scale):
    image = photo(480, 516, seed=9)
    assert torch.equal(imresize(image.cuda(), scale).cpu(), imresize(image, scale))


def test_wrong_arguments_are_refused():
    for scale in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="scale"):
            imresize(torch.zeros(1, 4, 4), scale)
    with pytest.raises(InputError, match="edges"):
        imresize(torch.zeros(1, 4, 4), 2, edges="reflect")
    with pytest.raises(InputError, match=r"\(3, 0, 4\)"):
        imresize(torch.zeros(3, 0, 4), 2)
    with pytest.raises(TypeError, match="int64"):
        imresize(torch.zeros(1, 4, 4, dtype=torch.int64), 2)


def test_matrices_that_are_kept_serve_training_later():
    """Breaks if they are other ones, or were made as inference tensors, which autograd refuses."""
    device = torch.device("cpu")
    with torch.inference_mode():
        imresize(torch.rand(1, 50, 51), 1 / 2)
        kept = resize._kept(device, 36, 0.25, "replicate", True)
    imresize(torch.rand(1, 50, 51, requires_grad=True), 1 / 2).sum().backward()
    plain = resize._bands_on(device, 36, 0.25, "replicate", True)
    for (first, end, mine), (wanted_first, wanted_end, wanted) in zip(kept, plain, strict=True):
        assert (first, end) == (wanted_first, wanted_end)
        assert torch.equal(mine, wanted)
        (mine @ torch.ones(end - first, 1, dtype=torch.float64, requires_grad=True)).sum().backward()
    assert resize._kept(device, 36, 0.25, "replicate", True) is kept


def consistency(sr, lr):
    return (imresize(to_float(sr), 0.25) - to_float(lr)).square().mean().item()


def test_bicubic_becomes_consistent_and_better(shared):
    """Breaks if the correction has the wrong sign, or is shrunk by another kernel than the LR was."""
    gains = []
    for name in ("img_001", "img_003", "img_004"):
        hr = modcrop(read_rgb(shared(f"data/Set5/HR/{name}.png")), 4)
        lr = imresize(hr, 0.25)
        bicubic = to_float(imresize(lr, 4))
        errors = [consistency(bicubic, lr)]
        errors += [consistency(BackProjection(4, iterations=n)(bicubic, lr), lr) for n in (1, 2, 5, 10)]
        assert errors == sorted(errors, reverse=True)
        assert errors[-1] < 0.05 * errors[0]
        better = BackProjection(4)(bicubic, lr)
        gains.append((psnr_y(better[None], hr[None], 4) - psnr_y(bicubic[None], hr[None], 4)).item())
    assert min(gains) > 0.2


def test_a_consistent_picture_stays():
    """A constant one is its own enlargement."""
    sr = torch.full((2, 3, 24, 16), 0.25, dtype=torch.float64)
    torch.testing.assert_close(BackProjection(4)(sr, sr[..., :6, :4]), sr, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dtype", "peak"), [(torch.uint8, 255), (torch.uint16, 65535), (torch.float64, 1)])
def test_a_step_is_by_hand_and_stays_in_the_range_and_kind(dtype, peak):
    """Flat pictures are their own enlargement: SR + step · (LR − SR), clamped, rounded where it is whole.

    A black SR under a white LR with a step of 2 is 2, and a white one under black −1: unclamped they would
    leave [0,1], or wrap round.
    """
    for before, given, after in ((0.0, 1.0, 1.0), (1.0, 0.0, 0.0), (0.2, 0.4, 0.6)):
        sr = torch.full((3, 12, 10), before * peak, dtype=torch.float64).round().to(torch.int32)
        sr = torch.full((3, 12, 10), before, dtype=dtype) if peak == 1 else sr.to(dtype)
        out = BackProjection(2, iterations=1, step=2.0)(sr, torch.full((3, 6, 5), given))
        assert out.dtype is dtype
        expected = torch.full((3, 12, 10), after * peak, dtype=torch.float64)
        torch.testing.assert_close(out.double(), expected, rtol=0, atol=1e-6 * peak if peak == 1 else 0.5)


def test_wrong_sizes_and_settings_are_named():
    with pytest.raises(InputError, match=r"SR is \(3, 8, 8\).*by 4 is \(3, 12, 12\)"):
        BackProjection(4)(torch.zeros(3, 8, 8), torch.zeros(3, 3, 3))
    for settings in ({"scale": 1}, {"scale": 4, "iterations": 0}, {"scale": 4, "step": 0.0}):
        with pytest.raises(InputError, match="back-projection: scale="):
            BackProjection(**settings)
