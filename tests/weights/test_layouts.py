"""Names in both directions, against names written down by hand."""

import pytest
import torch

from esrgan_lightning.networks import RRDBNet
from esrgan_lightning.weights.layouts import LAYOUTS, from_today, layout_of, to_today

SMALL = {"num_features": 4, "num_blocks": 2, "growth_channels": 2}
SIZES = [{}, {"scale": 8}, {"scale": 3}, {"scale": 2}, {"scale": 1, "unshuffle": False}, {"num_blocks": 12}]


@pytest.mark.parametrize("layout", list(LAYOUTS))
@pytest.mark.parametrize("settings", SIZES, ids=str)
def test_there_and_back_is_the_same_tensor(layout, settings):
    """Breaks if a step or a block is miscounted, or two names fall together."""
    state = RRDBNet(**SMALL | settings).state_dict()
    theirs = from_today(state, layout)
    assert layout_of(theirs) == layout
    again = to_today(theirs)
    assert list(again) == list(state)
    assert all(again[name] is tensor for name, tensor in state.items())


def test_the_published_names():
    """As in the x4 files of 2018 (23 blocks) and 2019."""
    state = RRDBNet(num_features=2, growth_channels=1).state_dict()
    old, newer = from_today(state, "esrgan2018"), from_today(state, "esrgan2019")
    for name in (
        "model.1.sub.22.RDB3.conv5.0.bias",
        "model.1.sub.23.weight",
        "model.8.weight",
        "model.10.bias",
    ):
        assert name in old
    assert old["model.6.weight"] is state["conv_up2.weight"]
    assert newer["RRDB_trunk.7.RDB2.conv1.weight"] is state["body.7.rdb2.conv1.weight"]
    assert newer["HRconv.bias"] is state["conv_hr.bias"]


def test_names_that_no_layout_has_stay():
    """Breaks if a tensor is dropped in silence, instead of being told as one too many."""
    state = from_today(RRDBNet(**SMALL).state_dict(), "esrgan2018")
    state["model.1.sub.0.RDB1.conv1x1.weight"] = torch.zeros(1)  # ESRGAN+
    assert "model.1.sub.0.RDB1.conv1x1.weight" in to_today(state)
