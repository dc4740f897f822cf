"""Damaged files of each kind: one clear error, or the very network that was written.

Truncated, with flipped bits, with bytes replaced, cut out, doubled or zeroed; seeded, so that a failure can
be repeated from its number.
"""

import random
import struct
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks import RRDBNet, network_spec
from esrgan_lightning.networks.backbones import VGGFeatures
from esrgan_lightning.ops import tensors
from esrgan_lightning.weights import LINEAGE_KEY, load_generator, save_generator, state_hash

SMALL = {"num_features": 2, "num_blocks": 1, "growth_channels": 1}
COUNT = 250


def network():
    torch.manual_seed(0)
    return RRDBNet(**SMALL)


def stored(kind, folder):
    """The bytes of an undamaged file."""
    net, path = network(), folder / f"whole{kind}"
    state = net.state_dict()
    if kind == ".safetensors":
        save_generator(path, net, metadata={"updates": 7})
    elif kind == ".ckpt":
        content = {f"generator.{name}": tensor for name, tensor in state.items()}
        lineage = {"spec": network_spec(net), "provenance": {"updates": 7}}
        torch.save({"state_dict": content, "global_step": 7, LINEAGE_KEY: lineage}, path)
    else:
        torch.save({"params_ema": state, "params": {n: t + 1 for n, t in state.items()}}, path)
    return path.read_bytes()


def damaged(data, dice):
    """One kind of damage somewhere; half of them near the beginning or the end, where the structure lies."""
    place = dice.choice([len(data), len(data), min(400, len(data))])
    at = dice.randrange(place)
    at = len(data) - 1 - at if dice.random() < 0.3 else at
    length = dice.choice([1, 2, 8, 64, 700])
    kind = dice.randrange(7)
    if kind == 0:
        return data[:at]
    if kind in (1, 2):  # the most likely damage, and the hardest to see
        return data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :]
    if kind == 3:
        return data[:at] + dice.randbytes(length) + data[at + length :]
    if kind == 4:
        return data[:at] + data[at + length :]
    if kind == 5:
        return data[:at] + data[at : at + length] + data[at:]
    return data[:at] + bytes(length) + data[at + length :]


def outcome(path):
    """The network, or None and the message of the only error that there may be."""
    try:
        return load_generator(path), ""
    except InputError as error:
        return None, str(error)


@pytest.mark.parametrize("kind", [".pth", ".ckpt", ".safetensors"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # zipfile tells of doubled names before it refuses
def test_a_damaged_file_is_refused_or_makes_no_difference(kind, tmp_path):
    """Breaks at a traceback, a partial load, or weights other than those written."""
    data, whole, refused = stored(kind, tmp_path), state_hash(network().state_dict()), 0
    for number in range(COUNT):
        path = tmp_path / f"{number}{kind}"
        path.write_bytes(damaged(data, random.Random(number)))
        loaded, message = outcome(path)
        if loaded is None:
            refused += 1
            assert path.name in message
            assert "\n" not in message
        else:
            assert state_hash(loaded.state_dict()) == whole, f"{number}: other weights were loaded"
            assert network_spec(loaded)["arguments"]["residual_scaling"] == 0.2
        path.unlink()
    assert refused > COUNT // 2  # most damage is somewhere that matters


def test_files_without_checksums_give_no_traceback(tmp_path):
    """PyTorch's format before 1.6, and .safetensors of other tools: damage in their values cannot be seen."""
    torch.save({"params": network().state_dict()}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    save_file(network().state_dict(), tmp_path / "b.safetensors")
    keys = network().state_dict().keys()
    for name in ("a.pth", "b.safetensors"):
        data = (tmp_path / name).read_bytes()
        for number in range(COUNT):
            path = tmp_path / f"{number}{name}"
            path.write_bytes(damaged(data, random.Random(number)))
            loaded, message = outcome(path)
            assert path.name in message if loaded is None else loaded.state_dict().keys() == keys
            path.unlink()


def refused(path, says):
    with pytest.raises(InputError, match=says) as caught:
        load_generator(path)
    assert path.name in str(caught.value)


def test_entries_that_claim_more_than_the_file_are_refused(tmp_path):
    """Many entries over the same bytes: each would be unpacked on its own."""
    torch.save({"a": torch.zeros(2000)}, tmp_path / "a.pth")
    data = (tmp_path / "a.pth").read_bytes()
    end = data.rindex(b"PK\5\6")
    count, size, start = struct.unpack("<HII", data[end + 10 : end + 20])
    directory = data[start : start + size] * 9
    tail = struct.pack("<HHII", count * 9, count * 9, len(directory), start) + b"\0\0"
    (tmp_path / "overlap.pth").write_bytes(data[:start] + directory + b"PK\5\6\0\0\0\0" + tail)
    refused(tmp_path / "overlap.pth", r"its entries claim \d+ bytes")


def test_a_storage_larger_than_its_bytes_is_refused(tmp_path):
    """The pickle claims 2 GiB of an entry of 32 bytes, with a checksum that is right."""
    torch.save({"a": torch.arange(8.0)}, tmp_path / "a.pth")
    large = struct.pack("<i", 2**29)

    with zipfile.ZipFile(tmp_path / "a.pth") as old, zipfile.ZipFile(tmp_path / "lies.pth", "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith("data.pkl"):
                assert b"K\x08tq" in data
                data = data.replace(b"K\x08tq", b"J" + large + b"tq")
                data = data.replace(b"K\x08\x85", b"J" + large + b"\x85")
            new.writestr(entry.filename, data)
    refused(tmp_path / "lies.pth", "not readable as weights|claim")


class Filled:
    """Unpickled, a bytearray of a terabyte: torch allows the constructor."""

    def __reduce__(self):
        return bytearray, (2**40,)


def test_memory_asked_for_by_a_number_is_refused(tmp_path):
    for old in (True, False):
        torch.save({"a": Filled()}, tmp_path / "fill.pth", _use_new_zipfile_serialization=not old)
        refused(tmp_path / "fill.pth", "it asks for a bytearray")
        with pytest.raises(InputError, match=r"weights=.*fill\.pth: .*it asks for a bytearray"):
            VGGFeatures(weights=tmp_path / "fill.pth")


def test_a_lineage_that_unfolds_is_refused(tmp_path):
    """Thirty lists, each twice the one before: a gigabyte of JSON out of a few hundred bytes."""
    nested = ["x"]
    for _ in range(30):
        nested = [nested, nested]
    content = {LINEAGE_KEY: {"provenance": {"x": nested}}, "state_dict": network().state_dict()}
    torch.save(content, tmp_path / "laughs.ckpt")
    refused(tmp_path / "laughs.ckpt", "is too long")


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_a_file_too_large_to_be_weights_is_not_opened(name, tmp_path):
    with (tmp_path / name).open("wb") as file:
        file.truncate(tensors.MAX_BYTES + 1)  # sparse: no byte of it is on the disk
    refused(tmp_path / name, f"at most {tensors.MAX_BYTES} are read")


def test_too_many_tensors_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tensors, "MAX_TENSORS", 10)
    save_file(network().state_dict(), tmp_path / "many.safetensors")
    refused(tmp_path / "many.safetensors", "42 tensors, and at most 10 are read")
    torch.save(network().state_dict(), tmp_path / "many.pth")
    refused(tmp_path / "many.pth", "entries, and at most 20 are read")


@pytest.mark.parametrize("length", [0, 1, 101, 2**31, 2**64 - 1])
def test_a_header_that_claims_another_length_is_refused(length, tmp_path):
    (tmp_path / "h.safetensors").write_bytes(struct.pack("<Q", length) + b"{" * 100)
    refused(tmp_path / "h.safetensors", "not readable as weights: .*header")
