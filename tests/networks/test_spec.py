"""Specs: plain values that rebuild the network, and nothing else."""

import copy
import json

import pytest
import torch
from torch import nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks import (
    SRCNN,
    PatchDiscriminator,
    RRDBNet,
    SFTNet,
    SRResNet,
    UNetDiscriminator,
    VGGDiscriminator,
    build_network,
    network_spec,
)

NETWORKS = [
    RRDBNet(
        1, 2, 5, 2, 3, scale=2, residual_scaling=0.5, init_scale=1.0, init_scope="dense", unshuffle=False
    ),
    RRDBNet(num_features=4, num_blocks=1, scale=1),
    SRResNet(1, 2, 5, 2, scale=3, batch_norm=True, init_scale=0.5),
    SRCNN(1, 2, 6, (3, 5, 1), scale=2, init_scale=0.5),
    SFTNet(["sky", "rest"], 1, 2, 4, 1, scale=2, init_scale=0.5),
]


def test_the_published_parameter_counts():
    """The paper's network and its six-block one; SRGAN's with one slope per PReLU; pix2pix's of six channels.

    The authors' code has 2,880 idle biases more in ESRGAN's discriminator, in front of batch norms, and in
    SFTGAN a first layer of 4×4 over the maps.
    """
    with torch.device("meta"):
        nets = {
            16_697_987: RRDBNet(),
            4_467_779: RRDBNet(num_blocks=6),
            1_545_238: SRResNet(),
            1_549_462: SRResNet(batch_norm=True),
            1_833_763 - 15 * 8 * 128: SFTNet(),
            14_502_281 - 2_880: VGGDiscriminator(),
            2_768_705: PatchDiscriminator(in_channels=6),
            4_376_897: UNetDiscriminator(),
        }
    assert [sum(p.numel() for p in net.parameters()) for net in nets.values()] == list(nets)
    assert nets[4_376_897].skip_connections


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


@pytest.mark.parametrize(
    ("network", "setting", "says"),
    [
        (RRDBNet, {"scale": 5}, "RRDBNet: scale=5 must be one of 1, 2, 3, 4, 8"),
        (RRDBNet, {"scale": True}, "scale=True"),
        (RRDBNet, {"num_blocks": 0}, "num_blocks=0 must be a whole number of at least 1"),
        (RRDBNet, {"num_features": "64"}, "num_features='64'"),
        (RRDBNet, {"residual_scaling": 1.5}, "residual_scaling=1.5 must be a number from 0 to 1"),
        (RRDBNet, {"residual_scaling": float("nan")}, "residual_scaling=nan"),
        (RRDBNet, {"init_scale": -1}, "init_scale=-1 must be a number of at least 0"),
        (RRDBNet, {"init_scope": "some"}, "init_scope='some' must be all or dense"),
        (RRDBNet, {"scale": 4, "unshuffle": True}, "only scales 1 and 2"),
        (SRResNet, {"batch_norm": "yes"}, "batch_norm='yes' must be true or false"),
        (SRCNN, {"num_features": 5}, "num_features=5 must be even"),
        *((SRCNN, {"kernels": kernels}, "kernels=") for kernels in ((9, 1), (9, 2, 5), "915", 9)),
        *(
            (SFTNet, {"classes": classes}, "classes=")
            for classes in ([], "sky", ["sky", "sky"], [1, 2], None)
        ),
        (VGGDiscriminator, {"patch_size": 100}, "patch_size=100 must be a multiple of 32"),
        (VGGDiscriminator, {"norm": "layer"}, "norm='layer' must be batch or none"),
        (UNetDiscriminator, {"num_features": 0}, "UNetDiscriminator: num_features=0"),
    ],
)
def test_wrong_settings_are_named(network, setting, says):
    with pytest.raises(InputError, match=says):
        network(**setting)


@pytest.mark.parametrize(
    ("network", "size", "says"),
    [
        (VGGDiscriminator(num_features=2, patch_size=64), (128, 96), r"64×64 .*128×96.*patch_size"),
        (PatchDiscriminator(num_features=2), (23, 64), "at least 24×24 .* 23×64"),
        (UNetDiscriminator(num_features=2), (8, 7), "at least 8×8 .* 8×7"),
    ],
)
def test_images_that_a_discriminator_cannot_judge_are_named(network, size, says):
    """Otherwise the message is about the shapes of a matrix product."""
    with pytest.raises(InputError, match=says):
        network(torch.rand(1, 3, *size))
