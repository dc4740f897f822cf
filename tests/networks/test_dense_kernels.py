"""The dense block's GPU kernels: the plain block's values and gradients, to the rounding of half precision.

On a CPU the kernels run in Triton's interpreter, which has to be chosen before Triton is imported: in a
process of its own.
"""

import copy
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

from esrgan_lightning.networks import RRDBNet, dense
from esrgan_lightning.networks.blocks import DenseBlock


def error(mine, expected):
    """‖mine − expected‖ / ‖expected‖."""
    mine, expected = mine.detach().double(), expected.detach().double()
    return float((mine - expected).norm() / expected.norm())


def results(function, x, parameters, grad):
    out = function(x)
    return [out, *torch.autograd.grad(out, [x, *parameters], grad)]


def compare(features, shape, dtype, device, memory_format=torch.channels_last):
    """Errors of output and gradients against float64: of the kernels, and of the plain block in this type."""
    from esrgan_lightning.networks.dense.kernels import DenseBlockKernels

    torch.manual_seed(0)
    exact = DenseBlock(features, features // 2, 0.3, memory_efficient=False).double()
    for parameter in exact.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    exact = exact.to(device, memory_format=memory_format)
    plain = copy.deepcopy(exact).float()
    x = torch.randn(shape[0], features, *shape[1:], dtype=torch.float64, device=device)
    x = x.to(memory_format=memory_format).requires_grad_()
    grad = torch.randn_like(x)
    half = x.detach().to(dtype).requires_grad_()
    own = list(plain.parameters())
    expected = results(exact, x, list(exact.parameters()), grad)
    mine = results(lambda x: DenseBlockKernels.apply(x, 0.3, dtype, *own), half, own, grad.to(dtype))
    with torch.autocast(device, dtype=dtype):
        theirs = results(plain, half, own, grad.to(dtype))
    for given, wanted in zip(mine, expected, strict=True):
        assert given.shape == wanted.shape
    assert [given.dtype for given in mine] == [dtype, dtype] + [torch.float32] * 10
    return [[error(*pair) for pair in zip(found, expected, strict=True)] for found in (mine, theirs)]


def check(*case):
    """The kernels round less often than the plain block, which rounds each of its steps."""
    for number, (mine, plain) in enumerate(zip(*compare(*case), strict=True)):
        assert mine < 1.3 * plain + 1e-4, f"result {number}: {mine:.1e}, plain {plain:.1e}"


def interpreted():
    """What the child does: small tiles, so that pictures span several and the remainder has its loop."""
    from esrgan_lightning.networks.dense import kernels

    kernels.PIXELS, kernels.SHARES, kernels.BLOCK = 16, 2, 8192
    kernels.WEIGHTS = kernels.WEIGHTS | {"BP": 16}
    check(32, (2, 3, 5), torch.float16, "cpu")
    check(32, (1, 4, 1), torch.float16, "cpu", torch.contiguous_format)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed here")
def test_kernels_in_the_interpreter():
    """Breaks if a tap, a slope, β, a border or a tile's edge is wrong in either direction.

    In fp16: the interpreter's products of bf16 are wrong.
    """
    command = [sys.executable, "-W", "ignore", __file__]
    done = subprocess.run(command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.gpu
@pytest.mark.parametrize(
    "case",
    [
        (64, (16, 32, 32), torch.bfloat16, "cuda"),
        (64, (3, 33, 31), torch.float16, "cuda"),
        (32, (2, 5, 7), torch.bfloat16, "cuda"),
        (64, (1, 1, 200), torch.bfloat16, "cuda", torch.contiguous_format),
    ],
)
def test_kernels_on_a_gpu(case):
    """Breaks if compiled kernels differ from interpreted ones, or one begins before its input is there."""
    check(*case)


@pytest.mark.gpu
def test_kernels_give_the_same_bits_each_time():
    """Breaks if a kernel starts before the one it waits for has written, or sums in a changing order."""
    torch.manual_seed(0)
    network = RRDBNet(num_blocks=3).cuda().to(memory_format=torch.channels_last)
    lr = torch.rand(4, 3, 24, 24, device="cuda")
    first = None
    for _ in range(20):
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = network(lr).float().square().mean()
        body = list(network.body.parameters())
        found = torch.autograd.grad(loss, body)
        if first is not None:
            assert all(torch.equal(a, b) for a, b in zip(first, found, strict=True))
        first = found


@pytest.mark.gpu
def test_kernels_refuse_a_graph_of_their_gradient():
    """Breaks if a second derivative is silently zero."""
    block = DenseBlock(32, 16).cuda()
    x = torch.randn(1, 32, 4, 4, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    with (
        torch.autocast("cuda", dtype=torch.bfloat16),
        pytest.raises(RuntimeError, match="memory_efficient=False"),
    ):
        torch.autograd.grad(block(x).sum(), x, create_graph=True)


def test_where_the_kernels_are_taken(monkeypatch):
    """Breaks if a card, type or size that they have not been tried on gets them."""
    capability = [(9, 0)]
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability[0])
    monkeypatch.setattr(dense, "find_spec", lambda name: object())

    def fits(features=64, growth=32, dtype=torch.bfloat16):
        return dense._kernels_fit(
            torch.empty(1, features, 2, 2, dtype=dtype), torch.empty(growth, features, 3, 3)
        )

    assert fits()
    assert fits(32, 16, torch.float16)
    assert not fits(dtype=torch.float32)
    assert not fits(64, 16)
    assert not fits(12, 6)
    for other in ((8, 0), (8, 9), (12, 0)):
        capability[0] = other
        assert not fits()
    capability[0] = (9, 0)
    with monkeypatch.context() as patch:
        patch.setattr(torch.version, "hip", "6.4")
        assert not fits()
    monkeypatch.setattr(dense, "find_spec", lambda name: None)
    assert not fits()


if __name__ == "__main__":
    interpreted()
