"""Streamed rows against the whole image: equal at every size, at the borders above all, in bounded memory."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.inference.rows import steps as steps_module
from esrgan_lightning.inference.rows.layers import costs_of, steps_of, unsupported_layer
from esrgan_lightning.inference.rows.steps import Fork
from esrgan_lightning.inference.rows.stream import Stream
from esrgan_lightning.networks import RRDBNet, SRResNet

NETWORKS = {
    "rrdb": {"num_features": 4, "num_blocks": 2, "growth_channels": 2, "init_scale": 1.0},
    "srresnet": {"num_features": 4, "num_blocks": 2, "init_scale": 1.0, "batch_norm": True},
}


def network(kind="rrdb", **settings):
    """Of float64, with biases and statistics that are no zeros: zero padding then shows at every layer."""
    torch.manual_seed(0)
    net = (RRDBNet if kind == "rrdb" else SRResNet)(**NETWORKS[kind] | settings).double().eval()
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if name.endswith(("bias", "running_mean")):
                tensor.uniform_(-0.5, 0.5)
            elif name.endswith("running_var"):
                tensor.uniform_(0.5, 2)
    return net


def image(height, width, batch=1, channels=3):
    random = torch.Generator().manual_seed(height)
    return torch.rand(batch, channels, height, width, generator=random, dtype=torch.float64)


def streamed(net, x, rows, shrink=lambda rows: None):
    """All rows of the result, from blocks of so many."""
    height, width = x.shape[-2:]
    fold = getattr(net, "fold", 1)
    steps = steps_of(net, mirrors=-height % fold < height and -width % fold < width)
    stream = Stream(steps, most=lambda: rows, within=torch.no_grad, shrink=shrink)
    done, top = [], 0
    while top < height:
        bottom = height if height - top - rows < fold else top + rows
        done += stream(x[:, :, top:bottom], bottom == height)
        top = bottom
    return torch.cat(done, 2)[:, :, : height * net.scale, : width * net.scale]


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        *(("rrdb", {"scale": scale}) for scale in (1, 2, 3, 8)),
        *(("rrdb", {"scale": scale, "unshuffle": False}) for scale in (1, 2)),
        *(("srresnet", {"scale": scale}) for scale in (1, 2, 3, 8)),
        ("rrdb", {}),
        ("srresnet", {}),
        ("rrdb", {"in_channels": 1, "out_channels": 1}),
        ("rrdb", {"residual_scaling": 1.0}),
    ],
)
@pytest.mark.parametrize(
    "size", [(1, 1), (1, 9), (9, 1), (2, 7), (5, 6), (13, 9), (14, 11), (19, 8), (33, 17)]
)
def test_every_kind_of_network_equals_the_whole(kind, settings, size):
    """A row lost, doubled or shifted, or anything but zeros beyond the border of any layer.

    Folds that an odd size does not divide are mirrored, or repeated where there is too little.
    """
    net = network(kind, **settings)
    x = image(*size, batch=2, channels=net.in_channels)
    with torch.no_grad():
        whole = net(x)
    for rows in (getattr(net, "fold", 1), 8, 16):
        torch.testing.assert_close(streamed(net, x, rows), whole, rtol=0, atol=1e-12)


def test_other_padding_than_zeros_would_be_seen(monkeypatch):
    """The tests above can fail: anything else around each layer's input is another picture."""
    net, x = network(), image(12, 9)
    with torch.no_grad():
        whole = net(x)
    pad = steps_module.F.pad
    monkeypatch.setattr(steps_module.F, "pad", lambda rows, by: pad(rows, by, value=0.1))
    assert (streamed(net, x, 4) - whole).abs().max() > 1e-2


def kept_values(steps):
    """Values that the steps hold between two blocks."""
    tensors = []
    for step in steps:
        tensors += [*getattr(step, "_maps", []), getattr(step, "_rows", None)]
        tensors += step.waiting if isinstance(step, Fork) else []
    assert all(each.untyped_storage().nbytes() == each.nbytes for each in tensors if each is not None)
    return sum(each.numel() for each in tensors if each is not None)


@pytest.mark.parametrize(
    ("kind", "settings"), [("rrdb", {}), ("rrdb", {"scale": 2}), ("rrdb", {"scale": 3}), ("srresnet", {})]
)
def test_costs_are_what_is_kept(kind, settings):
    """Plans rest on them; a view kept in place of a few rows would hold a whole block."""
    net, width = network(kind, **settings), 6
    steps, rows = steps_of(net, mirrors=True), getattr(net, "fold", 1)
    stream, held = Stream(steps, most=lambda: rows, within=torch.no_grad, shrink=pytest.fail), set()
    for _ in range(80):
        list(stream(image(rows, width), False))
        held.add(kept_values(steps))
    assert max(held) == costs_of(net).column * width


@pytest.mark.parametrize(
    ("kind", "settings"), [("rrdb", {}), ("rrdb", {"scale": 2}), ("rrdb", {"scale": 8}), ("srresnet", {})]
)
def test_the_radius_is_what_a_pixel_of_the_result_sees(kind, settings):
    """Less, and bands of columns have seams; much more, and they are slow."""
    net = network(kind, **settings)
    with torch.no_grad():  # of a black image but for one pixel nothing is lost in rounding or cancelled
        for name, tensor in net.state_dict().items():
            tensor.copy_(tensor.abs() if name.endswith("weight") else torch.ones_like(tensor))
            if name.endswith(("bias", "running_mean")):
                tensor.zero_()
    radius, fold = costs_of(net).radius, getattr(net, "fold", 1)
    at = (radius + 4) // fold * fold
    x = torch.zeros(1, 3, 1, 2 * at, dtype=torch.float64)
    x[..., at] = 1
    with torch.no_grad():
        seen = net(x).any(2)[0].any(0).nonzero().flatten() // net.scale
    reach = max(at - int(seen.min()), int(seen.max()) - at)
    assert radius - fold < reach <= radius + fold - 1


def out_of_memory_above(monkeypatch, limit, error):
    """Convolutions fail on more than so many rows."""
    convolve = steps_module.F.conv2d

    def failing(window, *args, **settings):
        if window.shape[2] > limit:
            raise error
        return convolve(window, *args, **settings)

    monkeypatch.setattr(steps_module.F, "conv2d", failing)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_too_little_memory_halves_a_block_and_goes_on(monkeypatch, error):
    """A step that had already taken the rows would see them twice; nothing is computed anew or left out."""
    net, x, told = network(), image(37, 9), []
    with torch.no_grad():
        whole = net(x)
    out_of_memory_above(monkeypatch, 12, error)
    result = streamed(net, x, 32, shrink=told.append)
    torch.testing.assert_close(result, whole, rtol=0, atol=1e-12)
    assert told[0] == 32
    assert min(told) > 12 // 4 - 2  # LR rows, of the layers at four times the height too


@pytest.mark.parametrize("rows", [2, 8])
def test_no_step_meets_more_rows_than_a_block_has(monkeypatch, rows):
    """The last block sets free what waited in all layers above: at once, it would be the peak of all."""
    net, seen = network(num_blocks=4), []
    forward = steps_module.Convolution.__call__
    monkeypatch.setattr(
        steps_module.Convolution,
        "__call__",
        lambda step, x, last: seen.append(x.shape[2]) or forward(step, x, last),
    )
    streamed(net, image(90, 3), rows)
    assert max(seen) == 4 * rows


def test_memory_for_not_even_a_row_is_an_error(monkeypatch):
    out_of_memory_above(monkeypatch, 2, torch.OutOfMemoryError("full"))
    with pytest.raises(torch.OutOfMemoryError):
        streamed(network(), image(20, 9), 8)


def test_other_errors_are_not_taken_for_it(monkeypatch):
    out_of_memory_above(monkeypatch, 2, RuntimeError("defect"))
    with pytest.raises(RuntimeError, match="defect"):
        streamed(network(), image(20, 9), 8)


def test_what_cannot_be_streamed_is_named():
    """A layer that the steps do not compute must never be passed over."""
    odd = network()
    odd.body[1].rdb2.conv3.padding_mode = "reflect"
    replaced = network()
    replaced.act = nn.GELU()
    for net, name in ((nn.Conv2d(3, 3, 1), "Conv2d"), (odd, r"body\.1\.rdb2\.conv3"), (replaced, "act")):
        with pytest.raises(InputError, match=rf"{name}.*tile="):
            steps_of(net, mirrors=True)
    assert unsupported_layer(network()) is unsupported_layer(network("srresnet")) is None


CHILD = """
import sys, torch
from pathlib import Path
from esrgan_lightning.inference import Runner
from esrgan_lightning.networks import RRDBNet

torch.set_num_threads(1)
net = RRDBNet(num_features=16, num_blocks=6, growth_channels=8)
runner = Runner(net, device=torch.device("cpu"), tile="exact")
height, width = int(sys.argv[1]), 48
assert runner(torch.zeros(1, 3, height, width, dtype=torch.uint8)).shape[2] == 4 * height
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the peak, which no parent has a share in")
def test_the_memory_does_not_depend_on_the_height():
    """Whole, the higher strip's two widest feature maps alone are 590 MiB, and its result 14 MiB."""
    low, high = (
        int(
            subprocess.run([sys.executable, "-c", CHILD, str(height)], check=True, capture_output=True).stdout
        )
        for height in (600, 6000)
    )
    assert high - low < 40 * 1024
