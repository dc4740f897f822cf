"""Files of other tools: names there and back, where tensors lie, and what networks the shapes tell."""

import pytest
import torch
from spandrel import ModelLoader

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks import RRDBNet
from esrgan_lightning.weights import infer_spec, load_generator
from esrgan_lightning.weights.layouts import layout_of, select_state, to_2018, to_canonical

SMALL = {"num_features": 6, "num_blocks": 2, "growth_channels": 3}
SIZES = [{}, {"scale": 8}, {"scale": 3}, {"scale": 2}, {"scale": 1, "unshuffle": False}, {"num_blocks": 12}]


def to_2019(state):
    """The authors' names of that year."""
    pairs = (("conv_body", "trunk_conv"), ("body.", "RRDB_trunk."), (".rdb", ".RDB"), ("conv_up", "upconv"))
    for new, old in (*pairs, ("conv_hr", "HRconv")):
        state = {name.replace(new, old): tensor for name, tensor in state.items()}
    return state


@pytest.mark.parametrize(("layout", "rename"), [("esrgan2018", to_2018), ("esrgan2019", to_2019)])
@pytest.mark.parametrize("settings", SIZES, ids=str)
def test_there_and_back_is_the_same_tensor(layout, rename, settings):
    """Breaks if a step or a block is miscounted, or two names fall together."""
    state = RRDBNet(**SMALL | settings).state_dict()
    theirs = rename(state)
    assert layout_of(theirs) == layout
    again = to_canonical(theirs)
    assert list(again) == list(state)
    assert all(again[name] is tensor for name, tensor in state.items())


def test_another_upscaler_makes_the_same_picture_of_the_names_of_2019(tmp_path):
    net = RRDBNet(num_features=6, num_blocks=2, init_scale=1.0).eval()
    torch.save(to_2019(net.state_dict()), tmp_path / "g.pth")
    x = torch.rand(1, 3, 6, 8)
    with torch.no_grad():
        theirs = ModelLoader(device="cpu").load_from_file(tmp_path / "g.pth").model(x)
        torch.testing.assert_close(load_generator(tmp_path / "g.pth")(x), theirs, atol=1e-5, rtol=1e-5)


def test_the_published_names_of_2018():
    """As in the x4 file, of 23 blocks."""
    state = RRDBNet(num_features=2, growth_channels=1).state_dict()
    old = to_2018(state)
    names = "model.1.sub.22.RDB3.conv5.0.bias", "model.1.sub.23.weight", "model.8.weight", "model.10.bias"
    assert set(names) <= set(old)
    assert old["model.6.weight"] is state["conv_up2.weight"]


def test_names_that_no_layout_has_stay():
    """Breaks if a tensor is dropped in silence, instead of being told as one too many."""
    state = to_2018(RRDBNet(**SMALL).state_dict())
    state["model.1.sub.0.RDB1.conv1x1.weight"] = torch.zeros(1)  # ESRGAN+
    assert "model.1.sub.0.RDB1.conv1x1.weight" in to_canonical(state)


def network(**settings):
    torch.manual_seed(0)
    return RRDBNet(**{**SMALL, "init_scale": 1.0, **settings}).eval()


@pytest.mark.parametrize(
    ("settings", "given"),
    [
        ({}, None),
        ({"scale": 8}, None),
        ({"scale": 2}, None),
        ({"scale": 1}, None),
        ({"scale": 1, "unshuffle": False}, None),
        ({"scale": 2, "unshuffle": False}, 2),
        ({"scale": 3}, 3),
        ({"in_channels": 1, "out_channels": 1}, None),
        ({"in_channels": 1, "out_channels": 1, "scale": 2}, None),
        ({"in_channels": 4, "out_channels": 4, "num_blocks": 1, "num_features": 5, "growth_channels": 7}, 4),
    ],
)
def test_the_network_is_read_from_the_shapes(settings, given):
    """Everything that can be told from shapes is told: the inferred arguments are the network's own."""
    net = network(**settings)
    inferred = infer_spec(net.state_dict(), scale=given)
    assert inferred["architecture"] == "RRDBNet"
    assert inferred["arguments"] == {
        k: v for k, v in net.spec["arguments"].items() if not k.startswith("init_")
    }


def test_an_ambiguous_or_contradicting_scale_is_asked_for():
    """One conv_up is ×2 and ×3 alike: guessing would give images of the wrong size."""
    one = network(scale=3).state_dict()
    with pytest.raises(InputError, match=r"can be scale 2 or scale 3.*give scale="):
        infer_spec(one)
    with pytest.raises(InputError, match="scale=4 does not go with its 1 conv_up"):
        infer_spec(one, scale=4)
    with pytest.raises(InputError, match="scale=2 does not go with its 2 conv_up"):
        infer_spec(network().state_dict(), scale=2)


@pytest.mark.parametrize(
    "prefix", ["", "module.", "_orig_mod.", "generator.", "module._orig_mod.", "_orig_mod.module."]
)
@pytest.mark.parametrize(
    "keys", [(), ("params",), ("params_ema",), ("state_dict",), ("params", "params_ema")]
)
def test_wrappings_and_prefixes_are_taken_off(prefix, keys):
    """BasicSR's dictionaries, DDP, torch.compile; params_ema wins over params."""
    wanted = {"conv_first.weight": torch.ones(1), "conv_last.bias": torch.zeros(1)}
    named = {prefix + name: tensor for name, tensor in wanted.items()}
    other = {name: tensor + 5 for name, tensor in named.items()}
    content = {key: named if key == keys[-1] else other for key in keys} if keys else named
    assert select_state(content)[0] == wanted


@pytest.mark.parametrize("average", ["generator_ema.", "generator_ema.module."])
@pytest.mark.parametrize("outer", ["", "module."])
def test_mmagic_checkpoints_give_the_averaged_generator(average, outer):
    """Beside it lie the generator itself, the discriminator and counters, under one prefix of DDP or none."""
    content = {
        f"{outer}{average}conv_first.weight": torch.ones(1),
        f"{outer}generator_ema.steps": torch.ones(1),
        f"{outer}generator.conv_first.weight": torch.zeros(1),
        f"{outer}discriminator.conv0.weight": torch.zeros(2),
        f"{outer}step_counter": torch.zeros(1),
    }
    if average == "generator_ema.":
        del content[f"{outer}generator_ema.steps"]
    wrapped = {"meta": {"iter": 3}, "state_dict": content, "optimizer": {"generator": {}}}
    assert select_state(wrapped)[0] == {"conv_first.weight": torch.ones(1)}


class Stage(torch.nn.Module):
    """The names that a training run's checkpoint has."""

    def __init__(self):
        super().__init__()
        self.generator, self.discriminator = torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)
        self.ema = torch.optim.swa_utils.AveragedModel(self.generator)


def test_the_moving_average_is_preferred_once_there_is_one():
    """Before its first update it holds the weights from before init= was loaded."""
    stage = Stage()
    torch.nn.init.ones_(stage.generator.weight)
    untouched = select_state({"state_dict": stage.state_dict(), "epoch": 1})[0]
    assert untouched.keys() == {"weight", "bias"}
    assert torch.equal(untouched["weight"], stage.generator.weight)
    stage.ema.update_parameters(stage.generator)
    torch.nn.init.zeros_(stage.generator.weight)
    averaged = select_state({"state_dict": stage.state_dict(), "epoch": 1})[0]
    assert torch.equal(averaged["weight"], torch.ones(2, 2))
