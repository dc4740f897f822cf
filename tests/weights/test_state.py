"""The hash and the differences of state dicts."""

import hashlib

import pytest
import torch

from esrgan_lightning.errors import InputError
from esrgan_lightning.weights import state_hash
from esrgan_lightning.weights.state import differences, require_finite

STATE = {"b": torch.tensor([[1.0, -0.0], [2.0, 3.0]]), "a": torch.tensor(7)}


def test_the_hash_is_what_it_says():
    """Computed here from NumPy's bytes alone: name, dtype, shape, bytes, in the order of the names."""
    parts = [
        b"a\0torch.int64\0[]\0" + (7).to_bytes(8, "little"),
        b"b\0torch.float32\0[2, 2]\0" + STATE["b"].numpy().tobytes(),
    ]
    assert state_hash(STATE) == hashlib.sha256(b"".join(parts)).hexdigest()


def test_the_hash_ignores_order_memory_format_and_gradients():
    image = torch.rand(2, 3, 4, 4)
    expected = state_hash({"x": image, **STATE})
    strided = image.to(memory_format=torch.channels_last).requires_grad_()
    assert state_hash({**dict(reversed(STATE.items())), "x": strided}) == expected


@pytest.mark.parametrize(
    "other",
    [
        {**STATE, "c": torch.tensor(0)},
        {"b": STATE["b"], "A": STATE["a"]},
        {**STATE, "b": STATE["b"].reshape(4)},
        {**STATE, "b": STATE["b"].double()},
        {**STATE, "b": STATE["b"].abs()},  # −0.0 became 0.0
        {**STATE, "b": STATE["b"].T},
    ],
)
def test_the_hash_sees_any_other_change(other):
    assert state_hash(other) != state_hash(STATE)


def test_differences_name_keys_and_shapes():
    found = {"b": torch.zeros(3), **{f"extra{i}": torch.zeros(1) for i in range(6)}}
    text = differences(STATE, found)
    assert "1 missing: a" in text
    assert "6 not expected: extra0, extra1, extra2, extra3 and 2 more" in text
    assert "b (3,) instead of (2, 2)" in text
    assert differences(STATE, dict(STATE)) == ""


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value):
    """They load without a word and give a black image."""
    with pytest.raises(InputError, match=r"NaN or infinite values \(b\): the training"):
        require_finite({**STATE, "b": torch.tensor([value])}, "net.safetensors")
