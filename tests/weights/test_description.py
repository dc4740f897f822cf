"""What `esrgan inspect` says, of files whose making is known."""

import pytest
import torch
from safetensors.torch import save_file

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks import SRCNN, RRDBNet
from esrgan_lightning.weights import convert_file, describe_file, save_generator, state_hash

SMALL = {"num_features": 6, "num_blocks": 2, "growth_channels": 3}


def test_an_own_file_says_itself_what_it_is(tmp_path):
    net = RRDBNet(**SMALL, scale=2, residual_scaling=0.5)
    save_generator(tmp_path / "g.safetensors", net, metadata={"git_revision": "abc"})
    found = describe_file(tmp_path / "g.safetensors")
    assert found["stated"] is True
    assert found["arguments"] == net.spec["arguments"]
    assert found["provenance"] == {"git_revision": "abc"}
    assert found["parameters"] == sum(p.numel() for p in net.parameters())
    assert found["sha256"] == state_hash(net.state_dict())
    assert (found["layout"], found["within"], found["dtypes"]) == ("today", "", ["float32"])


def test_another_network_has_names_of_its_own(tmp_path):
    """Breaks if every file without an old layout is said to have RRDBNet's names."""
    save_generator(tmp_path / "g.safetensors", SRCNN())
    assert describe_file(tmp_path / "g.safetensors")["layout"] == "own"


def within(prefix, state):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    ("wrap", "found_in"),
    [
        (lambda state: {"params_ema": state, "params": {}}, "params_ema"),
        (lambda state: {"state_dict": within("generator_ema.", state)}, "state_dict → generator_ema"),
        (lambda state: {"state_dict": within("module.generator.", state)}, "state_dict → generator"),
    ],
)
def test_where_the_tensors_were_found(tmp_path, wrap, found_in):
    torch.save(wrap(RRDBNet(**SMALL).state_dict()), tmp_path / "g.pth")
    found = describe_file(tmp_path / "g.pth")
    assert (found["within"], found["arguments"]["num_blocks"]) == (found_in, 2)


def test_a_scale_that_cannot_be_told_is_left_open(tmp_path):
    save_generator(tmp_path / "own.safetensors", RRDBNet(**SMALL, scale=3))
    convert_file(tmp_path / "own.safetensors", tmp_path / "old.pth", "esrgan2018")
    found = describe_file(tmp_path / "old.pth")
    assert (found["layout"], found["arguments"]["scale"]) == ("esrgan2018", "2 or 3")
    assert describe_file(tmp_path / "old.pth", scale=3)["arguments"]["scale"] == 3


def test_what_is_no_generator_is_refused(tmp_path):
    save_file({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"found 1 tensors: fc\.weight; expected a generator"):
        describe_file(tmp_path / "other.safetensors")
