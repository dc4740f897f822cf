"""The network over an image's pixels, whole, streamed and in tiles: one picture, whatever memory there is."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.inference import Runner, plan
from esrgan_lightning.inference.pixels import computing
from esrgan_lightning.networks import RRDBNet, SRResNet

CPU = torch.device("cpu")


class Nearest(nn.Module):
    """Each pixel twice; lacks memory for more than so many pixels."""

    def __init__(self, most=10**9):
        super().__init__()
        self.scale, self.most, self.seen = 2, most, []

    def forward(self, x):
        self.seen.append(x.shape[-2:])
        if x.shape[-2] * x.shape[-1] > self.most:
            raise torch.OutOfMemoryError("full")
        return F.interpolate(x, scale_factor=2, mode="nearest")


def tiny(**settings):
    torch.manual_seed(0)
    return RRDBNet(num_features=4, num_blocks=1, growth_channels=2, init_scale=1.0, **settings)


def picture(*size, dtype=torch.uint8, seed=0):
    values = torch.rand(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    peak = {torch.uint8: 255, torch.uint16: 65535}.get(dtype)
    return values.to(dtype) if peak is None else (values * peak).to(torch.int32).to(dtype)


@pytest.fixture
def small_blocks(monkeypatch):
    """Streams in blocks of two rows, where a test's pictures would go through in one."""
    monkeypatch.setattr(plan, "_BLOCK", 1)
    monkeypatch.setattr(plan, "_LEAST_ROWS", 2)


@pytest.fixture
def free(monkeypatch):
    """``free(n)``: there are n bytes of free memory."""
    return lambda bytes_: monkeypatch.setattr(plan, "free_memory", lambda device: bytes_)


def run(net, colors, **settings):
    return Runner(net, device=CPU, **settings)(colors)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("net_channels", [1, 3])
@pytest.mark.usefixtures("small_blocks")
def test_exact_is_the_whole_for_every_kind_of_image(dtype, channels, net_channels):
    """Gray through colour, colour through gray, 16 bits, and batches: as without streaming."""
    net = tiny(in_channels=net_channels, out_channels=net_channels).double()
    colors = picture(2, channels, 19, 11, dtype=dtype)
    exact, whole = run(net, colors, tile="exact"), run(net, colors, tile=None)
    assert exact.dtype is dtype
    assert exact.shape == (2, channels, 76, 44)
    torch.testing.assert_close(
        exact.double(), whole.double(), rtol=0, atol=1e-7 if dtype.is_floating_point else 0
    )


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("size", [(1, 1), (1, 30), (2, 3), (7, 5), (33, 17)])
def test_exact_is_the_whole_at_every_scale_and_size(scale, size):
    for net in (tiny(scale=scale).double(), SRResNet(3, 3, 4, 1, scale, True, 1.0).double()):
        colors = picture(1, 3, *size, dtype=torch.float64)
        exact, whole = run(net, colors, tile="exact"), run(net, colors, tile=None)
        torch.testing.assert_close(exact, whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_too_wide_an_image_goes_through_in_bands_of_columns(free, scale):
    """Bands with less around them than the network sees would have seams; folds must not be cut."""
    net = tiny(scale=scale).double()
    colors = picture(1, 3, 9, 431, dtype=torch.float64)
    whole = run(net, colors, tile=None)
    free(1000)
    runner = Runner(net, device=CPU, tile="exact")
    planned = runner.plan(9, 431)
    assert planned.columns < 431
    assert "columns" in str(planned)
    torch.testing.assert_close(runner(colors), whole, rtol=0, atol=1e-12)


def test_tiles_that_lack_memory_shrink_and_say_so():
    """The whole in tiles of half, and half of that, of the same picture."""
    told, net, colors = [], Nearest(most=60 * 60), picture(1, 3, 100, 90)
    runner = Runner(net, device=CPU, tile=64, overlap=4, notice=told.append)
    assert torch.equal(runner(colors), run(Nearest(), colors))
    assert len(told) == 1
    assert "tiles of 64" in told[0]
    assert str(runner.plan(100, 90)).startswith("tiles of 32 ")
    runner(colors)
    assert len(told) == 1  # it knows by now


def test_an_image_that_lacks_memory_as_a_whole_goes_in_tiles():
    colors = picture(1, 3, 50, 90)
    with pytest.warns(UserWarning, match="the whole image at once.*too much for the memory of cpu"):
        large = run(Nearest(most=60 * 60), colors, tile=None, overlap=4)
    assert torch.equal(large, run(Nearest(), colors))


@pytest.mark.usefixtures("small_blocks")
def test_an_image_that_lacks_memory_as_a_whole_is_streamed_where_it_can_be(monkeypatch):
    """Exact all the same: tiles would have seams."""
    told, net, colors = [], tiny(), picture(1, 3, 40, 30)
    whole = run(net, colors, tile=None)
    forward = type(net).forward

    def failing(self, x):
        if x.shape[-2] > 20:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return forward(self, x)

    monkeypatch.setattr(type(net), "forward", failing)
    assert (run(net, colors, tile=None, notice=told.append).int() - whole.int()).abs().max() <= 1
    assert len(told) == 1


def test_blocks_that_lack_memory_shrink_and_say_so(monkeypatch):
    told, net, colors = [], tiny(), picture(1, 3, 64, 30)
    whole, convolve = run(net, colors, tile=None), F.conv2d

    def failing(window, *args, **settings):
        if window.shape[2] > 100:  # at four times the height
            raise torch.OutOfMemoryError("full")
        return convolve(window, *args, **settings)

    runner = Runner(net, device=CPU, tile="exact", notice=told.append)
    monkeypatch.setattr(F, "conv2d", failing)
    assert (runner(colors).int() - whole.int()).abs().max() <= 1
    assert [line.split(" rows")[0] for line in told] == ["exact, 64", "exact, 32"]
    assert 8 < runner.plan(64, 30).rows <= 16
    told.clear()
    runner(colors)
    assert told == []


@pytest.mark.parametrize("tile", [None, "auto", 16, 64])
def test_no_memory_for_the_least_piece_is_an_error(tile):
    """Never another tile's pixels, never a loop."""
    with pytest.raises(InputError, match=r"40×50 LR pixels .* of cpu, even .*: free some"):
        run(Nearest(most=0), picture(1, 3, 40, 50), tile=tile, notice=lambda line: None)


def test_auto_takes_what_fits(free):
    """Exact by streaming for a network that can be, in the largest tiles for one that cannot."""
    net, colors = Nearest(), picture(1, 3, 200, 300)
    free(10**12)
    runner = Runner(net, device=CPU, tile="auto", overlap=5)
    assert runner.plan(200, 300).mode == "whole"
    free(20_000_000)
    planned = runner.plan(200, 300)
    assert planned.mode == "tiles"
    assert planned.rows % 16 == 0
    assert planned.memory <= 10_000_000 < (planned.rows + 26) ** 2 * 192 * 4 * 4
    assert "not exact" in str(planned)
    assert torch.equal(runner(colors), run(Nearest(), colors, tile=None))
    assert max(net.seen) == (planned.rows + 10, planned.rows + 10)

    streams = Runner(tiny(), device=CPU)  # auto
    assert streams.plan(20, 30).mode == "whole"
    assert streams.plan(2000, 3000).mode == "exact"
    assert streams.plan(2000, 3000).memory <= 10_000_000


def test_plans_of_wide_images_stay_within_the_memory(free):
    """65,500 pixels in a row are a legal picture: 23 blocks keep 414 kB of each column."""
    free(8 * 2**30)
    runner = Runner(RRDBNet(), device=CPU, tile="exact")
    for size in ((20, 65_500), (3000, 65_500), (65_500, 65_500), (65_500, 20), (3000, 4000)):
        planned = runner.plan(*size)
        assert planned.mode == "exact"
        assert planned.memory <= 4 * 2**30, planned


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.usefixtures("small_blocks")
def test_precision_is_the_networks_alone(precision):
    """Another picture than fp32's, close to it, of all 16 bits, and nobody else's precision afterwards."""
    colors = picture(1, 3, 24, 20, dtype=torch.uint16)
    full = run(tiny(), colors, tile=None).int()
    for tile in (None, "exact", 8):
        half = run(tiny(), colors, tile=tile, precision=precision).int()
        assert 0 < (half - full).abs().float().mean() < 400
    assert not torch.is_autocast_enabled("cpu")


def test_fp32_is_fp32_within_somebody_elses_autocast():
    colors = picture(1, 3, 9, 9, dtype=torch.uint16)
    alone = run(tiny(), colors)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(run(tiny(), colors).int(), alone.int())


def test_convolutions_on_cuda_do_not_round_to_tf32():
    """PyTorch's default there is ten bits; whoever wants that back has it after the network."""
    convolutions = torch.backends.cudnn.conv
    before = convolutions.fp32_precision
    with computing(torch.device("cuda"), "fp32"):
        assert convolutions.fp32_precision == "ieee"
    assert convolutions.fp32_precision == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tile": "exact"}, "not Nearest.*give tile="),
        ({"tile": "half"}, "tile=half must be auto, exact"),
        ({"tile": 0}, "tile=0"),
        ({"tile": 8, "overlap": -1}, "overlap=-1"),
        ({"precision": "int8"}, "precision=int8 must be one of fp32, bf16, fp16"),
    ],
)
def test_what_does_not_serve_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Runner(Nearest(), device=CPU, **settings)
