"""Back-projection: the shrunk picture comes nearer to the one that was given."""

import pytest
import torch

from esrgan_lightning.errors import InputError
from esrgan_lightning.metrics import psnr_y
from esrgan_lightning.ops import BackProjection, imresize, modcrop, read_rgb, to_float


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
