"""Files that are broken or hostile: one InputError with the file's name and a remedy, and nothing is run."""

import argparse
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks import RRDBNet
from esrgan_lightning.weights import (
    LINEAGE_KEY,
    describe_file,
    load_generator,
    load_state,
    read_generator_file,
    save_generator,
)
from esrgan_lightning.weights.layouts import to_2018

SMALL = {"num_features": 4, "num_blocks": 1, "growth_channels": 2}


class Touch:
    """Unpickled without care, it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def refused(path, says):
    for read in (read_generator_file, load_generator, lambda file: load_state(RRDBNet(**SMALL), file)):
        with pytest.raises(InputError, match=says) as caught:
            read(path)
        assert path.name in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["evil.pth", "evil.ckpt", "evil.pt"])
@pytest.mark.parametrize("nested", [True, False])
def test_code_in_a_pickle_is_never_run(tmp_path, name, nested):
    """``torch.load`` without weights_only would create the folder."""
    trap = Touch(tmp_path / "was_run")
    torch.save({"state_dict": {"generator.conv_first.weight": trap}} if nested else trap, tmp_path / name)
    refused(tmp_path / name, "hold code, which is never run")
    assert not (tmp_path / "was_run").exists()


def test_a_compressed_pth_is_refused(tmp_path):
    """A kilobyte that unfolds to gigabytes: torch.save compresses nothing, torch.load would unfold it."""
    path = tmp_path / "bomb.pth"
    torch.save({"conv_first.weight": torch.zeros(10**6)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as small,
    ):
        for entry in plain.infolist():
            small.writestr(entry.filename, plain.read(entry))
    assert path.stat().st_size < 20_000
    assert torch.load(path, weights_only=True)["conv_first.weight"].numel() == 10**6
    refused(path, "it is compressed, which files of weights are not")


def test_missing_folder_and_other_ending(tmp_path):
    refused(tmp_path / "none.safetensors", "there is no such file")
    refused(tmp_path, "is a folder")
    (tmp_path / "photo.png").write_bytes(b"x")
    refused(tmp_path / "photo.png", r"expected a file ending in \.safetensors, \.ckpt, \.pth, \.pt")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([1, 2], "found a list inside"),
        (torch.zeros(3), "found a Tensor inside"),
        ({}, "found nothing where tensors belong"),
        ({"epoch": 3}, r"found epoch \(int\) where tensors belong"),
        ({"params": {"a": "text"}}, r"found a \(str\)"),
        ({"a": torch.zeros(3).to_sparse()}, r"found a \(Tensor\)"),
        ({"a": torch.zeros(1).expand(10**9, 10**9)}, r"found a \(Tensor\)"),
        ({"a": torch.zeros(2, dtype=torch.complex64)}, r"found a \(Tensor\)"),
        ({"a": torch.zeros(2, device="meta")}, r"found a \(Tensor\)"),
        ({LINEAGE_KEY: 3, "state_dict": {"a": torch.zeros(1)}}, "found int, expected a map"),
        (
            {LINEAGE_KEY: {"spec": torch.zeros(2)}, "state_dict": {"a": torch.zeros(1)}},
            "not readable as weights",
        ),
        ({LINEAGE_KEY: {"spec": [1]}, "state_dict": {"a": torch.zeros(1)}}, "is not a spec"),
        (
            {LINEAGE_KEY: {"spec": {"architecture": "A", "arguments": [1]}}, "a": torch.zeros(1)},
            "is not a spec",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")
def test_what_is_not_a_map_of_plain_tensors(tmp_path, content, says):
    """A tensor of stride 0 claims exabytes from one stored value; the others fail later in odd ways."""
    torch.save(content, tmp_path / "odd.pth")
    refused(tmp_path / "odd.pth", says)


@pytest.mark.parametrize("lineage", ["{", "[]", '{"spec": 3}', '{"provenance": []}', "[" * 100_000])
def test_metadata_that_is_no_lineage(tmp_path, lineage):
    save_file(RRDBNet(**SMALL).state_dict(), tmp_path / "m.safetensors", metadata={LINEAGE_KEY: lineage})
    refused(tmp_path / "m.safetensors", "not readable as weights|inside; expected|is not a spec")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"num_blocks": 10**9}, "states 1000000000 blocks"),
        ({"num_features": 10**6}, "the tensors are not those of RRDBNet"),
        ({"num_features": 10**12}, "overflowed"),
        ({"growth_channels": -1}, "growth_channels=-1"),
        ({"scale": 7}, "scale=7 must be one of"),
        ({"cuda": True}, "expected some of"),
    ],
)
def test_a_spec_that_does_not_belong_to_its_tensors(tmp_path, change, says):
    """Without memory or time being spent on what it claims."""
    net, path = RRDBNet(**SMALL), tmp_path / "lies.safetensors"
    net.spec["arguments"].update(change)
    save_generator(path, net)
    with pytest.raises(InputError, match=rf"lies\.safetensors.*{says}"):
        load_generator(path)


def test_a_diverged_network_is_refused(tmp_path):
    net = RRDBNet(**SMALL)
    torch.nn.init.constant_(net.conv_last.bias, float("nan"))
    save_generator(tmp_path / "nan.safetensors", net)
    for read in (load_generator, lambda path: load_state(RRDBNet(**SMALL), path)):
        with pytest.raises(InputError, match=r"nan\.safetensors: the weights hold NaN .*conv_last\.bias"):
            read(tmp_path / "nan.safetensors")


def test_integers_are_no_weights(tmp_path):
    """A file quantised elsewhere: loading its codes as if they were the weights would give noise."""
    state = {name: tensor.to(torch.int8) for name, tensor in RRDBNet(**SMALL).state_dict().items()}
    save_file(state, tmp_path / "int8.safetensors")
    for read in (load_generator, lambda path: load_state(RRDBNet(**SMALL), path)):
        with pytest.raises(InputError, match=r"of another type: .* torch\.int8 instead of torch\.float32"):
            read(tmp_path / "int8.safetensors")


def test_a_readable_file_of_the_old_pth_kind(tmp_path):
    """PyTorch's format before 1.6, in which many published weights are stored."""
    net = RRDBNet(**SMALL)
    torch.save({"params_ema": net.state_dict()}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    loaded = load_generator(tmp_path / "old.pth").state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 67\n",
            "pointer of Git LFS.*git lfs pull",
        ),
        (b"\n<!DOCTYPE html><html></html>", "a web page, not the file"),
        (b'{"message": "Not Found"}', "text"),
        (b"\x1f\x8b\x08\0", "unpack it"),
        (b"", "is empty: get it again"),
    ],
)
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_what_a_download_gave_instead(tmp_path, content, says, ending):
    (tmp_path / f"net{ending}").write_bytes(content)
    refused(tmp_path / f"net{ending}", says)


@pytest.mark.parametrize("name", ["g.pth", "G.PTH", "g.pth.tar", "G.SafeTensors", "g.ckpt", "g.bin", "g"])
@pytest.mark.parametrize("write", [save_file, torch.save])
def test_the_content_tells_the_format(tmp_path, name, write):
    state = RRDBNet(**SMALL).state_dict()
    write(state, tmp_path / name)
    assert torch.equal(load_generator(tmp_path / name).state_dict()["conv_hr.bias"], state["conv_hr.bias"])


@pytest.mark.parametrize("zipped", [True, False])
def test_a_trainers_options_beside_the_tensors(tmp_path, zipped):
    """They are passed over: torch refuses the whole file for them."""
    state, options = RRDBNet(**SMALL).state_dict(), argparse.Namespace(lr=1e-4)
    content = {"model_state_dict": state, "args": options, "best": np.float64(1)}
    if zipped:
        content["path"] = Path("a")
    torch.save(content, tmp_path / "g.pth", _use_new_zipfile_serialization=zipped)
    assert load_generator(tmp_path / "g.pth").state_dict().keys() == state.keys()
    torch.save({"model_state_dict": {"a": options}}, tmp_path / "g.pth")
    refused(tmp_path / "g.pth", r"found a \(StandIn\) where tensors belong")


@pytest.mark.parametrize("key", ["model_state_dict", "net_g", "params-ema", "generator"])
@pytest.mark.parametrize("prefix", ["", "netG.", "model."])
@pytest.mark.parametrize("layout", ["basicsr", "esrgan2018"])
def test_keys_of_other_trainers(tmp_path, key, prefix, layout):
    net = RRDBNet(**SMALL)
    state = to_2018(net.state_dict()) if layout == "esrgan2018" else net.state_dict()
    torch.save({key: {f"{prefix}{name}": x for name, x in state.items()}, "epoch": 3}, tmp_path / "g.pth")
    assert load_generator(tmp_path / "g.pth").state_dict().keys() == net.state_dict().keys()
    assert describe_file(tmp_path / "g.pth")["arguments"]["num_features"] == 4


@pytest.mark.parametrize("change", ["missing", "shape", "nan", "surplus"])
@pytest.mark.parametrize("scale", [3, 4])
def test_inspect_refuses_what_does_not_load(tmp_path, change, scale):
    state = RRDBNet(**SMALL, scale=scale).state_dict()
    if change == "missing":
        del state["conv_hr.bias"]
    elif change == "shape":
        state["conv_hr.weight"] = state["conv_hr.weight"][:2].clone()
    elif change == "nan":
        state["conv_hr.bias"].fill_(float("nan"))
    else:
        state["mean"] = torch.zeros(3)
    save_file(state, tmp_path / "g.safetensors")
    with pytest.raises(InputError) as loaded:
        load_generator(tmp_path / "g.safetensors", scale=scale)
    with pytest.raises(InputError) as described:
        describe_file(tmp_path / "g.safetensors")
    assert str(described.value) == str(loaded.value)
