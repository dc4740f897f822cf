"""What an earlier version wrote goes on: a checkpoint resumes, a generator loads and gives its picture.

``goldens/earlier`` holds a GAN run of two updates on the pictures below, as commit 99b9137 made it.
"""

import csv
import shutil
from pathlib import Path

import pytest
import torch

from esrgan_lightning import load_generator
from esrgan_lightning.config import compose
from esrgan_lightning.ops import write_image
from esrgan_lightning.training import train
from esrgan_lightning.weights import read_generator_file

EARLIER = Path(__file__).parent / "goldens/earlier"
SETTINGS = (
    "stage=gan", "preset=demo", "loss/perceptual=none", "stage.ema_decay=0.9", "name=earlier", "init=null",
    "data=folder", "data.train_dir=photos", "data.val_count=1", "data.patch_size=32", "data.batch_size=2",
    "generator.num_features=4", "generator.num_blocks=1", "generator.growth_channels=2",
    "discriminator.num_features=2", "trainer.precision=32", "trainer.log_interval=1",
    "trainer.accelerator=cpu", "data.cache_dir=cache",
)  # fmt: skip


def picture(number: int) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(64), torch.arange(72), indexing="ij")
    return torch.stack([(x * (3 + number) + y * c + 40 * number) % 256 for c in (1, 5, 9)]).byte()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where that run would have been called from."""
    monkeypatch.chdir(tmp_path)
    for number in range(4):
        write_image(tmp_path / f"photos/{number}.png", picture(number))
    (tmp_path / "runs/earlier/checkpoints").mkdir(parents=True)
    shutil.copy(EARLIER / "last.ckpt", tmp_path / "runs/earlier/checkpoints/last.ckpt")
    return tmp_path


def test_a_checkpoint_of_an_earlier_version_goes_on(folder):
    train(compose(*SETTINGS, "resume=last", "trainer.max_updates=4", "schedule.updates=2"))
    saved = torch.load(folder / "runs/earlier/checkpoints/last.ckpt", weights_only=True)
    assert saved["global_step"] == 4
    assert [state["state"][0]["step"].item() for state in saved["optimizer_states"]] == [4, 4]
    with (folder / "runs/earlier/metrics.csv").open(newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["3", "4"]


def test_a_generator_of_an_earlier_version_loads():
    net = load_generator(EARLIER / "generator.safetensors")
    assert read_generator_file(EARLIER / "generator.safetensors")[1]["arguments"]["num_features"] == 4
    with torch.inference_mode():
        sr = net(picture(0)[None, :, :16, :16].double().div(255).float())
    assert sr.shape == (1, 3, 64, 64)
    assert float(sr.double().mean()) == pytest.approx(0.224766, abs=1e-5)  # of that version
