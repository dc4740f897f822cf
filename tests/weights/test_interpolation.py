"""Network interpolation against NumPy, and the files that it writes."""

import numpy as np
import pytest
import torch

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks import RRDBNet, SRResNet
from esrgan_lightning.weights import (
    blend,
    blend_files,
    convert_file,
    interpolate,
    interpolate_files,
    load_generator,
    read_generator_file,
    save_generator,
    state_hash,
)
from esrgan_lightning.weights.interpolation import ancestry_warning

SMALL = {"num_features": 4, "num_blocks": 1, "growth_channels": 2}


def pair(make):
    return [make().state_dict() for _ in range(2)]


@pytest.mark.parametrize("alpha", [0.2, 0.8])
def test_every_parameter_lies_between(alpha):
    """θ = (1−α)·θ_a + α·θ_b in NumPy float64, every tensor; α the other way round fails."""
    a, b = pair(lambda: RRDBNet(**SMALL))
    between = interpolate(a, b, alpha)
    assert list(between) == list(a)
    for name, tensor in between.items():
        expected = (1 - alpha) * a[name].double().numpy() + alpha * b[name].double().numpy()
        np.testing.assert_allclose(tensor.numpy(), expected, rtol=0, atol=1e-7)


def test_the_ends_are_exact_and_new():
    """α = 0 and 1 reproduce the parents bit for bit, without sharing their memory."""
    a, b = pair(lambda: RRDBNet(**SMALL))
    for alpha, parent in ((0, a), (1, b)):
        end = interpolate(a, b, alpha)
        assert state_hash(end) == state_hash(parent)
        end["conv_last.weight"].zero_()
        assert parent["conv_last.weight"].any()


def test_batch_norm_statistics_are_mixed_and_counters_taken_from_b():
    """An interpolated counter would be a fraction."""
    a, b = pair(lambda: SRResNet(num_features=4, num_blocks=1, batch_norm=True))
    a["body.0.norm1.num_batches_tracked"].fill_(10)
    b["body.0.norm1.num_batches_tracked"].fill_(21)
    b["body.0.norm1.running_mean"].fill_(2.0)
    mixed = interpolate(a, b, 0.5)
    assert mixed["body.0.norm1.num_batches_tracked"].item() == 21
    assert mixed["body.0.norm1.num_batches_tracked"].dtype == torch.int64
    assert torch.equal(mixed["body.0.norm1.running_mean"], torch.ones(4))


def test_half_precision_is_computed_in_float32():
    """In fp16 each product would be rounded before the sum: these three then miss the nearest value."""
    a, b = (
        {"w": torch.tensor([1.4697, 1.0469, 2.0938]).half()},
        {"w": torch.tensor([0.9331, 3.8047, 5.77]).half()},
    )
    result = interpolate(a, b, 0.3)["w"]
    exact = (0.7 * a["w"].double() + 0.3 * b["w"].double()).half()
    assert result.dtype == torch.float16
    assert torch.equal(result, exact)
    assert not (0.7 * a["w"] + 0.3 * b["w"] == exact).any()
    assert interpolate(a, {"w": b["w"].double()}, 0.3)["w"].dtype == torch.float64


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_is_checked(alpha):
    with pytest.raises(InputError, match=r"alpha=.* must lie from 0"):
        interpolate({}, {}, alpha)


def test_other_networks_are_refused():
    a, b = RRDBNet(**SMALL).state_dict(), RRDBNet(**{**SMALL, "num_features": 5}).state_dict()
    with pytest.raises(InputError, match=r"conv_first\.weight \(5, 3, 3, 3\) instead of \(4, 3, 3, 3\)"):
        interpolate(a, b, 0.5)
    del a["conv_last.bias"]
    with pytest.raises(InputError, match=r"1 not expected: conv_last\.bias"):
        interpolate(a, RRDBNet(**SMALL).state_dict(), 0.5)


def test_files_keep_the_spec_and_name_both_parents(tmp_path):
    """From the result alone one can tell what it was made of."""
    nets = [RRDBNet(**SMALL, residual_scaling=0.5) for _ in range(2)]
    paths = [tmp_path / "psnr.safetensors", tmp_path / "gan.safetensors"]
    for index, (net, path) in enumerate(zip(nets, paths, strict=True)):
        save_generator(path, net, metadata={"updates": index})
    out = tmp_path / "mix.safetensors"
    written = interpolate_files(*paths, 0.25, out)
    state, spec, metadata = read_generator_file(out)
    assert spec == nets[0].spec
    assert metadata == written
    assert metadata["interpolation"]["alpha"] == 0.25
    assert metadata["interpolation"]["parents"] == [
        {"file": path.name, "sha256": state_hash(net.state_dict()), "metadata": {"updates": index}}
        for index, (net, path) in enumerate(zip(nets, paths, strict=True))
    ]
    expected = interpolate(nets[0].state_dict(), nets[1].state_dict(), 0.25)
    assert state_hash(state) == state_hash(expected) == state_hash(load_generator(out).state_dict())


def test_a_foreign_partner_takes_the_stated_spec(tmp_path):
    """The shapes of one conv_up say neither ×2 nor ×3; the partner's spec does."""
    save_generator(tmp_path / "a.safetensors", RRDBNet(**SMALL, scale=3))
    torch.save({"params_ema": RRDBNet(**SMALL, scale=3).state_dict()}, tmp_path / "b.pth")
    for first, second in (("a.safetensors", "b.pth"), ("b.pth", "a.safetensors")):
        interpolate_files(tmp_path / first, tmp_path / second, 0.5, tmp_path / "out.safetensors")
        assert load_generator(tmp_path / "out.safetensors").scale == 3
    with pytest.raises(InputError, match="give scale="):
        interpolate_files(tmp_path / "b.pth", tmp_path / "b.pth", 0.5, tmp_path / "c.safetensors")
    interpolate_files(tmp_path / "b.pth", tmp_path / "b.pth", 0.5, tmp_path / "c.safetensors", scale=3)


def test_files_of_other_networks_are_refused_by_name(tmp_path):
    """β differs in no shape: mixing such networks gives a function that neither had."""
    save_generator(tmp_path / "a.safetensors", RRDBNet(**SMALL))
    save_generator(tmp_path / "b.safetensors", RRDBNet(**SMALL, residual_scaling=1.0))
    torch.save(RRDBNet(**{**SMALL, "num_blocks": 2}).state_dict(), tmp_path / "c.pth")
    with pytest.raises(
        InputError, match=r"b\.safetensors does not fit .*a\.safetensors: residual_scaling is 1\.0"
    ):
        interpolate_files(
            tmp_path / "a.safetensors", tmp_path / "b.safetensors", 0.5, tmp_path / "o.safetensors"
        )
    with pytest.raises(
        InputError, match=r"c\.pth is not of the same kind as .*a\.safetensors: 30 not expected"
    ):
        interpolate_files(tmp_path / "a.safetensors", tmp_path / "c.pth", 0.5, tmp_path / "o.safetensors")
    assert not (tmp_path / "o.safetensors").exists()


def test_several_networks_by_their_weights():
    """Σ w_i θ_i in NumPy float64; breaks if weights are taken in another order or renormalised."""
    states = [RRDBNet(**SMALL).state_dict() for _ in range(4)]
    weights = [0.5, 0.0, 0.3, 0.2]
    mixed = blend(states, weights)
    for name in states[0]:
        expected = sum(w * state[name].double().numpy() for w, state in zip(weights, states, strict=True))
        np.testing.assert_allclose(mixed[name].numpy(), expected, rtol=0, atol=1e-6)
    alone = blend(states, [0.0, 0.0, 1.0, 0.0])
    assert all(torch.equal(alone[name], tensor) for name, tensor in states[2].items())


@pytest.mark.parametrize(
    ("weights", "says"),
    [([0.5, 0.5, 0.5], "together they are 1, not 1.5"), ([1.5, -0.5], "each lies from 0 to 1"),
     ([1.0], "1 weights"), ([0.5, 0.5], "3 networks and 2 weights")],
)  # fmt: skip
def test_weights_are_checked(weights, says):
    states = [RRDBNet(**SMALL).state_dict()] * (3 if len(weights) != 1 else 2)
    with pytest.raises(InputError, match=says):
        blend(states[: 2 if weights == [1.5, -0.5] else 3], weights)


def test_files_of_several_layouts_are_blended(tmp_path):
    """Breaks if names of one layout are compared with those of another."""
    nets = [RRDBNet(**SMALL) for _ in range(3)]
    for index, (net, layout) in enumerate(zip(nets, ("basicsr", "esrgan2018", "mmagic"), strict=True)):
        save_generator(tmp_path / f"{index}.safetensors", net)
        convert_file(tmp_path / f"{index}.safetensors", tmp_path / f"{index}.pth", layout)
    files = [tmp_path / f"{index}.pth" for index in range(3)]
    written = blend_files(files, [0.2, 0.3, 0.5], tmp_path / "mix.safetensors")
    assert written["interpolation"]["weights"] == [0.2, 0.3, 0.5]
    mixed = blend([net.state_dict() for net in nets], [0.2, 0.3, 0.5])
    assert state_hash(load_generator(tmp_path / "mix.safetensors").state_dict()) == state_hash(mixed)


def record(name, metadata=None, sha256=None):
    return {"file": name, "sha256": sha256 or name, "metadata": metadata or {}}


def test_a_blend_of_strangers_is_told():
    """Breaks if only the direct parent is looked at, or a missing lineage is taken for a wrong one."""
    psnr = record("psnr")
    child = record("gan", {"init": record("psnr")})
    grandchild = record("gan2", {"init": child})
    assert ancestry_warning(psnr, child) is None
    assert ancestry_warning(psnr, grandchild) is None
    assert ancestry_warning(psnr, record("mix", {"interpolation": {}})) is None
    assert ancestry_warning(psnr, record("copy", sha256="psnr")) is None
    assert "does not say" in ancestry_warning(psnr, record("foreign"))
    assert "but from random weights" in ancestry_warning(psnr, record("alone", {"init": None}))
    assert "gan2 was not trained from other, but from gan" in ancestry_warning(record("other"), grandchild)


@pytest.mark.parametrize("init", [3, "text", {"sha256": 5}, {"file": "a", "metadata": "text"}, [1]])
def test_a_lineage_may_hold_anything(init):
    """It comes from a file, which may be a stranger's."""
    assert "not trained from" in ancestry_warning(record("psnr"), record("gan", {"init": init}))
