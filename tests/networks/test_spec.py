"""Specs: plain values that rebuild the network, and nothing else."""

import copy
import inspect
import json

import pytest
import torch
from torch import nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks import GENERATORS, SRCNN, RRDBNet, SRResNet, build_network, network_spec

NETWORKS = [
    RRDBNet(
        1, 2, 5, 2, 3, scale=2, residual_scaling=0.5, init_scale=1.0, init_scope="dense", unshuffle=False
    ),
    RRDBNet(num_features=4, num_blocks=1, scale=1),
    SRResNet(1, 2, 5, 2, scale=3, batch_norm=True, init_scale=0.5),
    SRCNN(1, 2, 6, (3, 5, 1), scale=2, init_scale=0.5),
]


@pytest.mark.parametrize("net", NETWORKS)
def test_the_spec_rebuilds_the_network(net):
    """Through JSON, as in a file: same spec, same keys and shapes."""
    again = build_network(json.loads(json.dumps(network_spec(net))))
    assert network_spec(again) == network_spec(net)
    shapes = [{name: tensor.shape for name, tensor in each.state_dict().items()} for each in (net, again)]
    assert shapes[0] == shapes[1]
    assert (again.scale, again.in_channels, again.out_channels) == (
        net.scale,
        net.in_channels,
        net.out_channels,
    )


@pytest.mark.parametrize("kind", GENERATORS.values())
def test_the_spec_names_every_argument_of_the_constructor(kind):
    """A new argument that is not recorded would be lost in every file; how it is trained is no part of it."""
    training_only = {"memory_efficient", "checkpointing", "bilinear_init"}
    known = set(inspect.signature(kind).parameters) - training_only
    assert set(network_spec(kind(num_features=4))["arguments"]) == known


def test_the_spec_survives_copies_and_cannot_be_changed_from_outside():
    """An average of the generator is a deep copy; changing a returned spec must not change the network's."""
    net = RRDBNet(num_features=4, num_blocks=1)
    network_spec(net)["arguments"]["scale"] = 99
    assert network_spec(copy.deepcopy(net))["arguments"]["scale"] == 4
    assert network_spec(torch.compile(net, backend="eager")) == network_spec(net)


def test_a_network_of_the_users_own_is_named():
    """It can be trained and saved; rebuilding it is for the user."""
    spec = network_spec(nn.Conv2d(3, 3, 3))
    assert spec == {"architecture": "torch.nn.modules.conv.Conv2d", "arguments": {}}
    with pytest.raises(InputError, match="RRDBNet, SRResNet, SRCNN, SFTNet: build the network yourself"):
        build_network(spec)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"architecture": "os.system", "arguments": {"command": "true"}},
        {"architecture": ["RRDBNet"], "arguments": {}},
        {"architecture": "RRDBNet"},
        {"architecture": "RRDBNet", "arguments": [3]},
        {"architecture": "RRDBNet", "arguments": {"device": "cuda"}},
        {"architecture": "RRDBNet", "arguments": {"scale": [4]}},
        {"architecture": "RRDBNet", "arguments": {"num_features": {"a": 1}}},
    ],
)
def test_a_spec_from_a_strangers_file_is_an_input_error(spec):
    """Never an import, an attribute look-up or a traceback."""
    with pytest.raises(InputError):
        build_network(spec)
