"""A generator started from one of another size: what fits is loaded, all else is named."""

import pytest
import torch

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks import RRDBNet, SFTNet, SRResNet
from esrgan_lightning.weights import load_state, save_generator, state_hash, warm_start

SMALL = {"num_features": 8, "num_blocks": 2, "growth_channels": 4}


def net(**settings):
    return RRDBNet(**{**SMALL, **settings})


def module_names(names):
    return {name.rpartition(".")[0] for name in names}


@pytest.mark.parametrize(
    ("settings", "new", "unused"),
    [
        ({"scale": 8}, {"conv_up3"}, set()),
        ({"scale": 2}, {"conv_first"}, set()),  # by pixel-unshuffle: 12 channels in place of 3
        ({"scale": 3}, set(), {"conv_up2"}),
        ({"scale": 1, "unshuffle": False}, set(), {"conv_up1", "conv_up2"}),
        ({"in_channels": 1, "out_channels": 1}, {"conv_first", "conv_last"}, set()),
    ],
)
@pytest.mark.parametrize("kind", ["ours", "foreign"])
def test_what_fits_is_loaded_and_the_rest_named(settings, new, unused, kind, tmp_path):
    source, target = net(), net(**settings)
    if kind == "ours":
        path = tmp_path / "x4.safetensors"
        save_generator(path, source)
    else:
        path = tmp_path / "x4.pth"
        torch.save({"params_ema": source.state_dict()}, path)
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    done = warm_start(target, path)
    assert (module_names(done.new), module_names(done.unused)) == (new, unused)
    for name, tensor in target.state_dict().items():
        fits = name not in done.new
        assert torch.equal(tensor, source.state_dict()[name] if fits else before[name]), name
    assert done.lineage["partial"]["new"] == sorted(done.new)
    assert done.lineage["sha256"] == state_hash(source.state_dict())
    assert all(name in str(done) for name in [*done.new, *done.unused])


def test_all_of_it_fits_as_with_load_state(tmp_path):
    save_generator(tmp_path / "a.safetensors", net())
    done, whole = warm_start(net(), tmp_path / "a.safetensors"), load_state(net(), tmp_path / "a.safetensors")
    assert (done.share, done.new, done.unused) == (1.0, {}, [])
    assert {name: done.lineage[name] for name in whole} == whole


def test_a_deeper_body_keeps_its_own_further_blocks(tmp_path):
    save_generator(tmp_path / "a.safetensors", net())
    done = warm_start(net(num_blocks=3), tmp_path / "a.safetensors")
    assert all(name.startswith("body.2.") for name in done.new)
    assert set(done.new.values()) == {"not in the file"}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: net(num_features=6),
            r"generator's parameters fit.*conv_first\.weight \(the file has",
        ),
        (lambda: net(residual_scaling=0.5), "not even in part: residual_scaling is 0.2 instead of 0.5"),
        (lambda: SRResNet(num_features=8, num_blocks=2), "holds RRDBNet instead of SRResNet"),
    ],
)
@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
def test_what_is_no_start_is_refused(make, says, name, tmp_path):
    """A few biases that happen to fit are a training from random weights by another name."""
    if name.endswith(".pth"):
        torch.save(net().state_dict(), tmp_path / name)
    else:
        save_generator(tmp_path / name, net())
    generator = make()
    before = state_hash(generator.state_dict())
    with pytest.raises(InputError, match=says):
        warm_start(generator, tmp_path / name)
    assert state_hash(generator.state_dict()) == before


def test_maps_of_other_classes_are_no_start(tmp_path):
    """As many classes of other names fit in every shape, and would be taken for each other."""
    sizes = {"num_features": 4, "num_blocks": 1}
    save_generator(tmp_path / "a.safetensors", SFTNet(("sky", "water"), **sizes))
    assert warm_start(SFTNet(("sky", "water"), scale=8, **sizes), tmp_path / "a.safetensors").share > 0.9
    for load in (warm_start, load_state):
        with pytest.raises(InputError, match=r"classes is \['sky', 'water'\] instead of \['water', 'sky'\]"):
            load(SFTNet(("water", "sky"), **sizes), tmp_path / "a.safetensors")
