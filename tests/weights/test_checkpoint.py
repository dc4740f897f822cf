"""Files of generators, written and read again, and real weights against an independent loader's image."""

import json
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks import SRCNN, RRDBNet, SRResNet, network_spec
from esrgan_lightning.weights import (
    LINEAGE_KEY,
    convert_file,
    describe_file,
    load_generator,
    load_state,
    read_generator_file,
    save_generator,
    state_hash,
)

SMALL = {"num_features": 4, "num_blocks": 2, "growth_channels": 2}
ANIME = "weights/realesrgan_x4plus_anime_6b_fp16.safetensors"


def test_half_precision_becomes_float32(shared):
    """The file holds fp16: on the CPU it would be slow, and an LR in float32 would not fit it."""
    path = shared(ANIME)
    assert {tensor.dtype for tensor in load_file(path).values()} == {torch.float16}
    assert {tensor.dtype for tensor in load_generator(path).state_dict().values()} == {torch.float32}


@pytest.mark.parametrize(
    "make",
    [
        lambda: RRDBNet(**SMALL, scale=2, residual_scaling=0.7),
        lambda: RRDBNet(**SMALL, scale=3, init_scope="dense"),
        lambda: SRResNet(num_features=4, num_blocks=2, scale=8, batch_norm=True),
    ],
)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_saved_and_loaded_is_bit_equal(make, memory_format, tmp_path):
    """Weights, buffers, spec and image; also from channels_last, whose tensors cannot be stored so."""
    net = make()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            module.num_batches_tracked += 5
    net = net.to(memory_format=memory_format).eval()
    path = tmp_path / "new" / "folder" / "net.safetensors"
    save_generator(path, net, metadata={"updates": 7})
    loaded = load_generator(path)
    assert not loaded.training
    assert all(p.requires_grad for p in loaded.parameters())
    assert network_spec(loaded) == network_spec(net)
    for (name, a), (other, b) in zip(net.state_dict().items(), loaded.state_dict().items(), strict=True):
        assert name == other
        assert torch.equal(a, b)
    x = torch.rand(1, 3, 4, 5)
    torch.testing.assert_close(loaded(x), net(x))
    loaded(x).sum().backward()  # the tensors are parameters of their own


def test_the_metadata_are_plain_strings_that_others_can_read(tmp_path):
    """The metadata of safetensors are strings: the lineage is one of them, as JSON."""
    net, path = RRDBNet(**SMALL), tmp_path / "net.safetensors"
    save_generator(path, net, metadata={"updates": 7, "origin": {"file": "psnr.ckpt"}})
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    lineage = json.loads(metadata[LINEAGE_KEY])
    assert len(lineage.pop("checksum")) == 64
    assert lineage == {
        "spec": network_spec(net),
        "provenance": {"updates": 7, "origin": {"file": "psnr.ckpt"}},
    }
    state, spec, provenance = read_generator_file(path)
    assert (spec, provenance) == (lineage["spec"], lineage["provenance"])
    assert state_hash(state) == state_hash(net.state_dict())


def test_writing_is_repeatable(tmp_path):
    """Equal networks give equal bytes."""
    net, path = RRDBNet(**SMALL), tmp_path / "net.safetensors"
    save_generator(path, net)
    before = path.read_bytes()
    save_generator(path, net)
    assert path.read_bytes() == before
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask  # readable by whom any new file is


def test_only_safetensors_are_written(tmp_path):
    with pytest.raises(InputError, match=r"net\.pth: generators are written as \.safetensors"):
        save_generator(tmp_path / "net.pth", RRDBNet(**SMALL))


def test_a_compiled_generator_keeps_its_names(tmp_path):
    """torch.compile's wrapping would add ``_orig_mod.`` to every key."""
    net = RRDBNet(**SMALL)
    save_generator(tmp_path / "net.safetensors", torch.compile(net, backend="eager"))
    assert set(load_file(tmp_path / "net.safetensors")) == set(net.state_dict())


class Stage(nn.Module):
    def __init__(self, generator):
        super().__init__()
        self.generator, self.discriminator = generator, nn.Linear(2, 2)
        self.ema = torch.optim.swa_utils.AveragedModel(generator)


def test_a_training_checkpoint_with_the_lineage_key(tmp_path):
    """Spec and provenance as a stage writes them; the moving average is what a user gets."""
    stage = Stage(SRResNet(num_features=4, num_blocks=1, scale=2))
    stage.ema.update_parameters(stage.generator)
    averaged = state_hash(stage.generator.state_dict())
    nn.init.zeros_(stage.generator.last.weight)
    lineage = {"spec": network_spec(stage.generator), "provenance": {"updates": 3}}
    optimizer = torch.optim.Adam(stage.parameters()).state_dict()
    content = {
        "state_dict": stage.state_dict(),
        "epoch": 1,
        "optimizer_states": [optimizer],
        LINEAGE_KEY: lineage,
    }
    torch.save(content, tmp_path / "last.ckpt")
    assert state_hash(load_generator(tmp_path / "last.ckpt").state_dict()) == averaged
    assert read_generator_file(tmp_path / "last.ckpt").metadata == {"updates": 3}
    torch.save(content | {"global_step": 5}, tmp_path / "last.ckpt")  # as Lightning writes it
    convert_file(tmp_path / "last.ckpt", tmp_path / "converted.safetensors", "safetensors")
    converted = read_generator_file(tmp_path / "converted.safetensors")
    assert (state_hash(converted.state), converted.metadata) == (averaged, {"updates": 5})


def test_load_state_returns_the_lineage(tmp_path):
    """The next run's provenance says what it began from; requires_grad and train mode stay as they are."""
    net, path = RRDBNet(**SMALL), tmp_path / "psnr.safetensors"
    save_generator(path, net, metadata={"updates": 7})
    other = RRDBNet(**SMALL, init_scale=1.0, init_scope="dense")  # another initialisation is no difference
    other.conv_first.requires_grad_(False)
    lineage = load_state(other, path)
    assert lineage == {
        "file": "psnr.safetensors",
        "sha256": state_hash(net.state_dict()),
        "metadata": {"updates": 7},
    }
    assert state_hash(other.state_dict()) == lineage["sha256"]
    assert other.training
    assert not other.conv_first.weight.requires_grad


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"num_blocks": 3}, "num_blocks is 2 instead of 3"),
        ({"residual_scaling": 1.0}, "residual_scaling is 0.2 instead of 1.0"),
        ({"scale": 2, "unshuffle": False}, "scale is 4 instead of 2"),
    ],
)
def test_load_state_refuses_other_settings(tmp_path, settings, says):
    """Another β loads without a word elsewhere, and gives another function."""
    save_generator(tmp_path / "a.safetensors", RRDBNet(**SMALL))
    generator = RRDBNet(**{**SMALL, **settings})
    before = state_hash(generator.state_dict())
    with pytest.raises(InputError, match=rf"a\.safetensors does not fit.*{says}.*build the generator"):
        load_state(generator, tmp_path / "a.safetensors")
    assert state_hash(generator.state_dict()) == before


def test_load_state_names_keys_and_shapes_where_a_file_has_no_spec(tmp_path):
    net = RRDBNet(**SMALL)
    state = net.state_dict()
    state["conv_hr.weight"] = state["conv_hr.weight"][:3]
    state["surplus"] = state.pop("conv_last.bias")
    torch.save(state, tmp_path / "b.pth")
    with pytest.raises(InputError) as caught:
        load_state(net, tmp_path / "b.pth")
    for part in (
        "1 missing: conv_last.bias",
        "1 not expected: surplus",
        "conv_hr.weight (3, 4, 3, 3) instead of (4,",
    ):
        assert part in str(caught.value)
    with pytest.raises(InputError, match=r"missing.*body"):
        load_state(SRResNet(num_features=4, num_blocks=1), tmp_path / "b.pth")


def test_a_generator_of_the_users_own_is_saved_and_loaded_into(tmp_path):
    """A research network outside this package trains with all the rest; only rebuilding is for the user."""
    own, path = nn.Sequential(nn.Conv2d(3, 3, 3), nn.PReLU()), tmp_path / "own.safetensors"
    save_generator(path, own)
    again = nn.Sequential(nn.Conv2d(3, 3, 3), nn.PReLU())
    load_state(again, path)
    assert state_hash(again.state_dict()) == state_hash(own.state_dict())
    with pytest.raises(InputError, match=r"container\.Sequential.*build the network yourself"):
        load_generator(path)
    with pytest.raises(InputError, match=r"it holds .*container\.Sequential instead of RRDBNet"):
        load_state(RRDBNet(**SMALL), path)


@pytest.mark.parametrize("change", ["tensor", "spec"])
def test_a_file_changed_after_it_was_written_is_refused(tmp_path, change):
    """The format has no checksum: one flipped bit would give another network without a word."""
    path = tmp_path / "a.safetensors"
    save_generator(path, RRDBNet(**SMALL))
    data = bytearray(path.read_bytes())
    if change == "tensor":
        data[-1] ^= 1
    else:
        at = data.find(b"residual_scaling") + len(b'residual_scaling\\": 0.')
        assert data[at : at + 1] == b"2"
        data[at] = ord("3")
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.safetensors: the checksum inside is not that"):
        read_generator_file(path)


def test_a_given_scale_is_checked_against_the_file(tmp_path):
    save_generator(tmp_path / "x4.safetensors", RRDBNet(**SMALL))
    assert load_generator(tmp_path / "x4.safetensors", scale=4).scale == 4
    with pytest.raises(InputError, match="scale=2 was asked for and the file holds scale 4"):
        load_generator(tmp_path / "x4.safetensors", scale=2)


def test_an_own_file_says_itself_what_it_is(tmp_path):
    net = RRDBNet(**SMALL, scale=2, residual_scaling=0.5)
    save_generator(tmp_path / "g.safetensors", net, metadata={"git_revision": "abc"})
    found = describe_file(tmp_path / "g.safetensors")
    assert found["stated"] is True
    assert found["arguments"] == net.spec["arguments"]
    assert found["provenance"] == {"git_revision": "abc"}
    assert found["parameters"] == sum(p.numel() for p in net.parameters())
    assert found["sha256"] == state_hash(net.state_dict())
    assert (found["layout"], found["within"], found["dtypes"]) == ("basicsr", "", ["float32"])


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
