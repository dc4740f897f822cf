"""Every layout to every other and back to the bit, and what other upscalers make of the files."""

import itertools

import pytest
import torch
from safetensors.torch import load_file, save_file
from spandrel import ModelLoader

from esrgan_lightning.bundled import bundled_names
from esrgan_lightning.errors import InputError
from esrgan_lightning.networks import RRDBNet, SRResNet
from esrgan_lightning.weights import convert_file, load_generator, save_generator
from esrgan_lightning.weights.conversion import TARGETS

EXACT = [layout for layout in TARGETS if layout != "chainner"]
SMALL = {"num_features": 6, "num_blocks": 2, "growth_channels": 3}


def network(**settings):
    torch.manual_seed(0)
    return RRDBNet(**{**SMALL, "init_scale": 1.0, **settings}).eval()


def ending(layout):
    return TARGETS[layout][0]


def saved(tmp_path, **settings):
    save_generator(tmp_path / "own.safetensors", network(**settings), metadata={"note": "kept"})
    return tmp_path / "own.safetensors"


@pytest.mark.parametrize(("first", "second"), list(itertools.product(EXACT, repeat=2)))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_round_trips_to_the_bit(tmp_path, first, second, dtype):
    """Breaks if a conversion widens half precision, as loading does, or changes an order of tensors."""
    state = {name: tensor.to(dtype) for name, tensor in network().state_dict().items()}
    save_file(state, tmp_path / "start.safetensors")
    steps = [tmp_path / f"1{ending(first)}", tmp_path / f"2{ending(second)}", tmp_path / "end.safetensors"]
    convert_file(tmp_path / "start.safetensors", steps[0], first)
    convert_file(steps[0], steps[1], second)
    convert_file(steps[1], steps[2], "safetensors")
    end = load_file(steps[2])
    assert end.keys() == state.keys()
    assert all(end[n].dtype is dtype and torch.equal(end[n], tensor) for n, tensor in state.items())


def test_spec_and_provenance_go_along_where_there_is_room(tmp_path):
    """Breaks if a detour through another tool's file loses where a model came from."""
    start = saved(tmp_path, scale=8)
    for layout in ("basicsr", "mmagic"):
        convert_file(start, tmp_path / f"{layout}.pth", layout)
        convert_file(tmp_path / f"{layout}.pth", tmp_path / f"{layout}.safetensors", "safetensors")
        assert (tmp_path / f"{layout}.safetensors").read_bytes() == start.read_bytes()


@pytest.mark.parametrize("layout", ["safetensors", "basicsr", "esrgan2018", "chainner"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_features": 10},
        {"scale": 8},
        {"scale": 2},
        {"scale": 1},
        {"scale": 2, "unshuffle": False},
        {"scale": 1, "unshuffle": False},
        {"in_channels": 1, "out_channels": 1},
    ],
    ids=str,
)
@torch.no_grad()
def test_spandrel_makes_the_same_picture(tmp_path, layout, settings):
    """The loader of chaiNNer and others. Its networks always grow by 32 channels."""
    if layout == "esrgan2018" and settings.get("scale") in (1, 2) and settings.get("unshuffle") is None:
        pytest.skip("a layout without pixel-unshuffle")
    net = network(growth_channels=32, **settings)
    save_generator(tmp_path / "own.safetensors", net)
    file = tmp_path / f"theirs{ending(layout)}"
    convert_file(tmp_path / "own.safetensors", file, layout)
    theirs = ModelLoader().load_from_file(file)
    assert (theirs.scale, theirs.input_channels) == (net.scale, net.in_channels)
    x = torch.rand(1, net.in_channels, 8, 12)
    torch.testing.assert_close(theirs.model(x), net(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layout", ["basicsr", "esrgan2018", "chainner", "mmagic"])
@pytest.mark.parametrize("beta", [0.0, 0.1, 0.5, 1.0])
@torch.no_grad()
def test_beta_goes_into_the_weights(tmp_path, layout, beta):
    """A reader builds a network of 0.2: its picture is that of the network that was trained with β."""
    net = network(residual_scaling=beta)
    save_generator(tmp_path / "own.safetensors", net)
    assert f"β = {beta:g}" in convert_file(tmp_path / "own.safetensors", tmp_path / "g.pth", layout)[0]
    theirs = load_generator(tmp_path / "g.pth")
    assert theirs.spec["arguments"]["residual_scaling"] == 0.2
    x = torch.rand(1, 3, 8, 9)
    wanted = net(x)
    torch.testing.assert_close(theirs(x), wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize("name", bundled_names())
@torch.no_grad()
def test_chainner_reads_the_bundled_networks(tmp_path, name):
    """They grow by 16 channels, its loader by 32."""
    convert_file(name, tmp_path / "g.pth", "chainner")
    theirs = ModelLoader().load_from_file(tmp_path / "g.pth")
    x = torch.rand(1, 3, 12, 10)
    torch.testing.assert_close(theirs.model(x), load_generator(name)(x), rtol=1e-4, atol=1e-5)


def test_mmagic_reads_its_names(tmp_path):
    """Its checkpoints hold a state dict of the whole model: the generator's part of it."""
    convert_file(saved(tmp_path), tmp_path / "m.pth", "mmagic")
    content = torch.load(tmp_path / "m.pth", weights_only=True)
    assert list(content) == ["meta", "state_dict", "esrgan_lightning"], "readers may take what is first"
    assert {name.split(".")[0] for name in content["state_dict"]} == {"generator"}
    assert "generator.body.1.rdb3.conv5.weight" in content["state_dict"]


@pytest.mark.parametrize(
    ("settings", "layout", "says"),
    [
        ({"growth_channels": 33}, "chainner", r"grows by 33 channels.*--to basicsr"),
        ({"scale": 3}, "chainner", "is x3, which chaiNNer's loader takes for x2"),
        ({"scale": 2}, "esrgan2018", "pixel-unshuffle, x2.*--to basicsr"),
    ],
)
def test_what_a_layout_cannot_say_is_refused(tmp_path, settings, layout, says):
    with pytest.raises(InputError, match=says):
        convert_file(saved(tmp_path, **settings), tmp_path / "out.pth", layout)
    assert not (tmp_path / "out.pth").exists()


def test_what_the_reader_has_to_be_told_is_noted(tmp_path):
    growth, note = convert_file(saved(tmp_path, scale=3), tmp_path / "x3.pth", "esrgan2018")
    assert "told 3 growth channels" in growth
    assert "tell its reader scale 3" in note
    _, note = convert_file(saved(tmp_path, scale=8), tmp_path / "x8.pth", "basicsr")
    assert "does not load this one (x8)" in note
    with pytest.raises(InputError, match=r"scale 2 or scale 3.*--scale"):
        convert_file(tmp_path / "x3.pth", tmp_path / "back.safetensors", "safetensors")
    convert_file(tmp_path / "x3.pth", tmp_path / "back.safetensors", "safetensors", scale=3)
    assert load_generator(tmp_path / "back.safetensors").scale == 3


def test_other_networks_stay_in_safetensors(tmp_path):
    net = SRResNet(num_features=4, num_blocks=1)
    save_generator(tmp_path / "own.safetensors", net)
    with pytest.raises(InputError, match="holds SRResNet, and basicsr knows RRDB networks"):
        convert_file(tmp_path / "own.safetensors", tmp_path / "out.pth", "basicsr")
    convert_file(tmp_path / "own.safetensors", tmp_path / "again.safetensors", "safetensors")


def test_refused_before_anything_is_written(tmp_path):
    start = saved(tmp_path)
    cut = load_file(start)
    del cut["conv_hr.bias"]
    save_file(cut, tmp_path / "cut.safetensors")
    for path, out, to, says in (
        (start, "out.pth", "onnx", "known are safetensors, basicsr"),
        (start, "out.safetensors", "basicsr", "ends in .pth or .pt"),
        (start, "own.safetensors", "safetensors", "exists.*--overwrite"),
        (tmp_path / "cut.safetensors", "out.pth", "basicsr", "1 missing: conv_hr.bias"),
        (tmp_path / "none.pth", "out.pth", "basicsr", "no such file"),
    ):
        with pytest.raises(InputError, match=says):
            convert_file(path, tmp_path / out, to)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        convert_file(start, tmp_path / "file/out.pth", "basicsr")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.safetensors", "file", "own.safetensors"]


def test_half_is_the_nearest_float16_and_says_where_it_cannot(tmp_path):
    start = saved(tmp_path)
    convert_file(start, tmp_path / "half.safetensors", "safetensors", half=True)
    whole, half = load_file(start), load_file(tmp_path / "half.safetensors")
    assert all(torch.equal(half[name], tensor.half()) for name, tensor in whole.items())
    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * start.stat().st_size
    large = {name: tensor * 1e6 for name, tensor in whole.items()}
    save_file(large, tmp_path / "large.safetensors")
    with pytest.raises(InputError, match=r"large\.safetensors.*leave out --half"):
        convert_file(tmp_path / "large.safetensors", tmp_path / "no.safetensors", "safetensors", half=True)
    assert not (tmp_path / "no.safetensors").exists()
