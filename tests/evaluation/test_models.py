"""What is compared, under names that tell the models apart."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from esrgan_lightning.bundled import bundled_weights
from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation import load_models, unique_names
from esrgan_lightning.networks import RRDBNet
from esrgan_lightning.ops import imresize
from esrgan_lightning.weights import save_generator

LR = torch.arange(3 * 6 * 5, dtype=torch.uint8).reshape(3, 6, 5)


def net(scale=2):
    torch.manual_seed(scale)
    return RRDBNet(num_features=4, num_blocks=1, growth_channels=2, scale=scale, init_scale=1.0)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["bicubic", "a.pth"], ["bicubic", "a"]),
        # what two runs write
        (["runs/p/generator.safetensors", "runs/g/generator.safetensors"], ["p/generator", "g/generator"]),
        (["x/p/g.pth", "y/p/g.pth", "z/q/g.pth"], ["x/p/g", "y/p/g", "q/g"]),
        (["p/g.pth", "p/g.safetensors"], [str(Path.cwd() / "p/g.pth"), str(Path.cwd() / "p/g.safetensors")]),
        (["bicubic", "old/bicubic.pth"], ["bicubic", "old/bicubic"]),
        (["a.pth", "b.pth"], ["a", "b"]),
    ],
)
def test_names_are_stems_with_as_many_folders_as_are_needed(given, expected):
    assert unique_names(given) == expected


def test_a_folder_keeps_what_follows_its_point(tmp_path):
    for name in ("v1.0", "v1.1"):
        (tmp_path / name).mkdir()
    assert unique_names([str(tmp_path / "v1.0"), str(tmp_path / "v1.1")]) == ["v1.0", "v1.1"]


def test_a_model_given_twice_is_refused():
    for names in (["bicubic", "bicubic"], ["a/b.pth", "a/b.pth"], ["psnr", str(bundled_weights("psnr"))]):
        with pytest.raises(InputError, match="given twice"):
            unique_names(names)


def test_models_map_eight_bits_to_eight_bits(tmp_path):
    save_generator(tmp_path / "own.safetensors", net())
    save_file(net().state_dict(), tmp_path / "foreign.safetensors")  # no metadata: told by its shapes
    names = ["bicubic", str(tmp_path / "own.safetensors"), str(tmp_path / "foreign.safetensors")]
    models = load_models(names, 2, device="cpu")
    assert list(models) == ["bicubic", "own", "foreign"]
    results = {name: model(LR) for name, model in models.items()}
    for sr in results.values():
        assert sr.dtype is torch.uint8
        assert sr.shape == (3, 12, 10)
    assert torch.equal(results["bicubic"], imresize(LR, 2))
    assert torch.equal(results["own"], results["foreign"])
    tiled = load_models(names[1:2], 2, device="cpu", tile=4, overlap=40)["own"](LR)
    assert (tiled.to(int) - results["own"].to(int)).abs().max() <= 1
