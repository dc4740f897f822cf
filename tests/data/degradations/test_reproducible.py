"""Sample n is a function of (seed, n, hr): of no batch, order, process, thread or global state."""

import random

import numpy as np
import pytest
import torch

from esrgan_lightning.config import compose
from esrgan_lightning.data.degradations import Bicubic, BicubicJpeg, BicubicNoise, RealESRGAN
from esrgan_lightning.data.sources import embedded_photos
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import read_rgb
from esrgan_lightning.run.build import build

KINDS = (Bicubic, BicubicNoise, BicubicJpeg, RealESRGAN)
COUNT = 12


@pytest.fixture(scope="module")
def hr():
    photo = read_rgb(embedded_photos()[0].hr)
    return torch.stack([photo[:, 9 * i : 9 * i + 96, 7 * i : 7 * i + 128] for i in range(COUNT)])


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_bits_in_any_batch_and_order(kind, hr):
    """Breaks if a convolution or a sum is computed in another way for another batch."""
    degradation, numbers = kind(seed=3), torch.arange(COUNT)
    whole = degradation(hr, numbers, 4)
    assert whole.dtype is torch.uint8
    assert whole.shape == (COUNT, 3, 24, 32)
    for step in (1, 3, 5):
        parts = [degradation(hr[i : i + step], numbers[i : i + step], 4) for i in range(0, COUNT, step)]
        assert torch.equal(torch.cat(parts), whole), step
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))
    assert torch.equal(degradation(hr[order], order, 4), whole[order])


@pytest.mark.parametrize("kind", KINDS)
def test_equal_bits_with_any_number_of_threads(kind, hr, threads):
    """Breaks if training in a loader's process, which has one, differs from training in the main process."""
    degradation = kind(seed=3)
    threads(1)
    single = degradation(hr, torch.arange(COUNT), 4)
    threads(2)
    assert torch.equal(degradation(hr, torch.arange(COUNT), 4), single)


@pytest.mark.parametrize("kind", KINDS)
def test_global_random_states_are_neither_read_nor_moved(kind, hr):
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
        results.append(kind()(hr[:3], torch.arange(3), 4))
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.array_equal(np.random.get_state()[1], before[1])
        assert random.getstate() == before[2]
    assert torch.equal(*results)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_seeds_and_numbers_draw_differently(kind, hr):
    same = hr[:1].expand(COUNT, -1, -1, -1)
    one, other = (kind(seed=seed)(same, torch.arange(COUNT), 4) for seed in (0, 1))
    assert len({image.numpy().tobytes() for image in torch.cat([one, other])}) > 1.5 * COUNT
    far = kind()(same[:2], torch.tensor([2**62, 2**62 + 1]), 4)
    assert not torch.equal(far[0], far[1])


@pytest.mark.parametrize(
    ("choice", "kind"), list(zip(("bicubic", "bicubic_noise", "jpeg", "realesrgan"), KINDS, strict=True))
)
def test_each_choice_builds_with_its_classs_defaults(choice, kind):
    """Breaks if a file of the configuration and its class say different things."""
    cfg = compose(f"degradation={choice}", "seed=7")
    assert build(cfg.degradation, "degradation") == kind(seed=7)


def test_settings_from_the_command_line_reach_the_chain_and_mistakes_are_named():
    overrides = ("degradation=realesrgan", "degradation.first.kernel_prob.iso=0", "degradation.margin=4")
    chain = build(compose(*overrides, "degradation.first.blur_sigma=[0.5,2]").degradation, "degradation")
    assert (chain.first.blur_sigma, chain.first.kernel_prob["iso"], chain.margin) == ((0.5, 2.0), 0.0, 4)
    with pytest.raises(InputError, match=r"degradation\.first\.blur_sigma=\[3, 1\]"):
        build(compose(*overrides, "degradation.first.blur_sigma=[3,1]").degradation, "degradation")


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
def test_on_cuda_a_batch_and_its_parts_agree(kind, hr):
    degradation, numbers, images = kind(seed=3), torch.arange(COUNT), hr.cuda()
    whole = degradation(images, numbers, 4)
    assert whole.device == images.device
    parts = [degradation(images[i : i + 5], numbers[i : i + 5], 4) for i in range(0, COUNT, 5)]
    assert torch.equal(torch.cat(parts), whole)
