"""What lies between two networks, as a model."""

import pickle

import pytest
import torch

from esrgan_lightning.errors import InputError
from esrgan_lightning.inference import NetworkPair, Upscaler
from esrgan_lightning.networks import RRDBNet
from esrgan_lightning.weights import save_generator


def test_the_network_between(tmp_path):
    """Breaks if the ends are swapped or outputs are mixed in place of weights."""
    nets = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        nets.append(RRDBNet(num_features=4, num_blocks=1, growth_channels=2, init_scale=1.0).eval())
        save_generator(tmp_path / f"{seed}.safetensors", nets[-1])
    lr = torch.randint(0, 256, (3, 8, 9), dtype=torch.uint8)
    files = [tmp_path / "0.safetensors", tmp_path / "1.safetensors"]
    blend = NetworkPair.read(*files, scale=4, device="cpu").at(0.25)
    with torch.no_grad():
        for mine, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
            mine.mul_(0.75).add_(0.25 * other)
    expected = Upscaler(nets[0], device="cpu").upscale(lr)
    assert torch.equal(blend(lr), expected)
    assert torch.equal(pickle.loads(pickle.dumps(blend))(lr), expected)  # as another process gets it
    with pytest.raises(InputError, match="scale"):
        NetworkPair.read(*files, scale=2)
