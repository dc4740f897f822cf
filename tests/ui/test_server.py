"""What stands in the way of a page is said before it starts."""

import os
import signal
import socket
import sys
import tempfile

import pytest
import torch
from typed import esrgan

from esrgan_lightning.errors import InputError
from esrgan_lightning.inference import NetworkPair
from esrgan_lightning.networks import RRDBNet
from esrgan_lightning.ui.server import serve
from esrgan_lightning.weights import save_generator


@pytest.fixture
def network(tmp_path):
    torch.manual_seed(0)
    save_generator(tmp_path / "net.safetensors", RRDBNet(num_features=8, num_blocks=1, growth_channels=4))
    return tmp_path / "net.safetensors"


def test_what_is_no_network_or_does_not_fit_is_one_line(network, tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"broken")
    for gan, told in (("gan", "gan.safetensors does not fit"), (tmp_path / "broken.safetensors", "broken.")):
        code, _, error = esrgan("ui", "--psnr", network, "--gan", gan)
        assert (code, told in error, len(error.splitlines())) == (2, True, 1)


def test_an_address_that_cannot_be_had_is_named(network, tmp_path):
    pair = NetworkPair.read(network, network)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port}"):
            serve(pair, runs=tmp_path, examples={"a": network}, port=port)
    with pytest.raises(InputError, match=r"no\.such\.host\.invalid"):
        serve(pair, runs=tmp_path, examples={"a": network}, host="no.such.host.invalid")


def test_without_gradio_the_extra_is_named(network, tmp_path, monkeypatch):
    """And nothing is left behind: no folder, no environment, no handler."""
    monkeypatch.setitem(sys.modules, "gradio", None)
    before = tempfile.tempdir, signal.getsignal(signal.SIGTERM)
    with pytest.raises(InputError, match=r"esrgan-lightning\[ui\]"):
        serve(NetworkPair.read(network, network), runs=tmp_path, examples={"a": network}, port=0)
    assert (tempfile.tempdir, signal.getsignal(signal.SIGTERM)) == before
    assert "GRADIO_TEMP_DIR" not in os.environ
