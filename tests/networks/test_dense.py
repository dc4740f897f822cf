"""The dense block that saves memory against the plain one: the same values and gradients, less kept."""

import copy

import pytest
import torch

from esrgan_lightning.networks import RRDBNet
from esrgan_lightning.networks.blocks import RRDB, DenseBlock

SMALL = {"num_features": 6, "num_blocks": 2, "growth_channels": 3, "init_scale": 1.0}


def twins(cls=DenseBlock, dtype=torch.float64, *, seed=0, **changed):
    """The plain module and a copy of it that saves memory."""
    torch.manual_seed(seed)
    plain = cls(6, 4, 0.3, memory_efficient=False).to(dtype)
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    other = cls(6, 4, 0.3, **({"memory_efficient": True} | changed)).to(dtype)
    other.load_state_dict(plain.state_dict())  # strict: the keys are an interface
    return plain, other


def picture(dtype=torch.float64, memory_format=torch.contiguous_format):
    return torch.randn(2, 6, 5, 7, dtype=dtype).to(memory_format=memory_format).requires_grad_()


def results(module, x, **autocast):
    """Output and all gradients of a loss whose gradient differs from place to place."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bool(autocast)):
        out = module(x)
    loss = (out.float() if autocast else out).sin().sum()
    return [out, *torch.autograd.grad(loss, [x, *module.parameters()])]


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("cls", [DenseBlock, RRDB])
def test_values_and_gradients_are_the_plain_blocks(cls, memory_format):
    """A wrong slice, slope or sign in the hand-written backward moves some gradient."""
    plain, other = (each.to(memory_format=memory_format) for each in twins(cls))
    x = picture(memory_format=memory_format)
    for mine, expected in zip(results(other, x), results(plain, x), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-12, atol=1e-12)
        assert mine.is_contiguous(memory_format=memory_format) or mine.ndim < 4


def test_numerical_gradient():
    """Against finite differences, which share no code with either form."""
    _, block = twins()
    x = picture()
    parameters = list(block.parameters())

    def function(x, *values):
        names = [name for name, _ in block.named_parameters()]
        return torch.func.functional_call(block, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(function, (x, *parameters), nondet_tol=0)


@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16])
def test_under_autocast_it_is_as_exact_as_the_plain_block(given):
    """Breaks if β or a sum is rounded otherwise, a result has another type, or weights get bf16 gradients."""
    errors = torch.zeros(2)
    for seed in range(20):  # one draw's gradients scatter by a fifth
        plain, other = twins(dtype=torch.float32, seed=seed)
        x = picture(given)
        exact = results(copy.deepcopy(plain).double(), x.detach().double().requires_grad_())
        found = [results(block, x, bf16=True) for block in (other, plain)]
        mine, theirs = found
        assert [each.dtype for each in mine] == [each.dtype for each in theirs]
        assert torch.equal(mine[0], theirs[0])
        for k, values in enumerate(found):
            errors[k] += sum(((a - b).norm() / b.norm()).item() for a, b in zip(values, exact, strict=True))
    assert errors[0] <= 1.05 * errors[1]


def test_frozen_parameters_and_a_frozen_input():
    """Breaks if a gradient is made for what does not learn, or missed where only one side learns."""
    plain, other = twins()
    x = picture()
    for block in (plain, other):
        for parameter in block.parameters():
            parameter.requires_grad_(parameter is block.conv3.weight)
    for block_input, wanted in ((x, (x,)), (x.detach(), ())):
        gradients = [
            torch.autograd.grad(block(block_input).sin().sum(), [*wanted, block.conv3.weight])
            for block in (plain, other)
        ]
        torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


def kept_bytes(module, x):
    """Bytes of what backward needs, parameters aside, each storage once."""
    own = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = module(x)
    del out
    return sum(kept.values())


def test_keeps_each_feature_map_once():
    """(nf + 4·gc) channels, where the plain form keeps 5·nf + 10·gc of input and 4·gc of output."""
    plain, other = twins()
    x = picture()
    channel = x.nbytes // 6
    assert kept_bytes(other, x) == (6 + 4 * 4) * channel
    assert kept_bytes(plain, x) == (5 * 6 + 14 * 4) * channel
    half = x.detach().bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert kept_bytes(twins(dtype=torch.float32)[1], half) == (6 + 4 * 4) * channel // 4


def test_checkpointing_keeps_the_input_alone():
    """Breaks if the second run differs from the first, or anything else stays in memory."""
    plain, other = twins(RRDB, checkpointing=True)
    x = picture()
    for mine, expected in zip(results(other, x), results(plain, x), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-12, atol=1e-12)
    assert kept_bytes(other, x) <= x.nbytes


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_a_graph(mode):
    """Inference takes the plain path, also on inference tensors."""
    plain, other = twins()
    with mode():
        x = torch.randn(1, 6, 4, 4, dtype=torch.float64)
        assert torch.equal(other(x), plain(x))


def test_a_second_derivative_is_refused_with_the_way_out():
    """Silence would mean a wrong gradient penalty; the plain form has the second derivative."""
    plain, other = twins()
    x = picture()
    with pytest.raises(RuntimeError, match="memory_efficient=False"):
        torch.autograd.grad(other(x).sin().sum(), x, create_graph=True)
    assert torch.autograd.grad(plain(x).sin().sum(), x, create_graph=True)[0].requires_grad


@pytest.mark.filterwarnings("ignore:.*")  # the compiler's own
def test_compiled_it_is_the_plain_form():
    """A hand-written backward in the middle would cut the compiler's graph in pieces."""
    plain, other = twins(dtype=torch.float32)
    keys = list(other.state_dict())
    other.compile(backend="aot_eager", fullgraph=True)
    x = picture(torch.float32)
    torch.testing.assert_close(results(other, x), results(plain, x))
    assert list(other.state_dict()) == keys


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_network_hands_both_switches_down(checkpointing):
    """Breaks if a switch stops at the network, or gets into the file that says what the network is."""
    net = RRDBNet(**SMALL, memory_efficient=False, checkpointing=checkpointing)
    assert not any(part.memory_efficient for part in net.modules() if isinstance(part, DenseBlock))
    assert {part.checkpointing for part in net.body} == {checkpointing}
    assert not {"memory_efficient", "checkpointing"} & set(net.spec["arguments"])
    assert all(part.memory_efficient for part in RRDBNet(**SMALL).modules() if isinstance(part, DenseBlock))
