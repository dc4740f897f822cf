"""Every system learns: overfitted to one crop, it leaves bicubic behind by 5 dB."""

from pathlib import Path

import pytest
import skimage

from esrgan_lightning.config import compose
from esrgan_lightning.metrics import psnr_y
from esrgan_lightning.ops import imresize, read_rgb, write_image
from esrgan_lightning.training import train

# A board in perspective would do as well: sharp edges, of which bicubic makes slopes.
PHOTO, TOP, LEFT, SIDE = "chessboard_GRAY.png", 96, 96, 64
PSNR = ("stage=psnr", "trainer.max_updates=250")
SMALL = ("generator.num_features=16", "generator.growth_channels=8", "generator.init_scope=dense")
RESNET = ("generator.num_features=16", "generator.num_blocks=2", "generator.init_scale=1")
# The pixel term leads, so that PSNR tells whether all terms together train the generator.
GAN = (
    "stage=gan", "init=null", "trainer.max_updates=150", "loss.weights.pixel=1",
    "discriminator.num_features=8", "discriminator.norm=none", "discriminator_optimizer.lr=1e-4",
)  # fmt: skip
BLIND = (*GAN, "loss/perceptual=none", "generator.num_blocks=1", *SMALL)
# Features weigh more than pixels by far: the scale of the paper's η is that of VGG19.
SEEING = ("loss.weights.pixel=20", "trainer.max_updates=200")
# Each kind of generator, game and image term once; test_systems.py trains all combinations by a line.
SYSTEMS = {
    "srcnn": (*PSNR, "generator=srcnn"),
    "srresnet with batch norm": (*PSNR, "generator=srresnet_bn", *RESNET),
    "esrgan": (*GAN, *SEEING, *SMALL, "generator.num_blocks=1", "loss/perceptual=efficientnet_lite0"),
    "wgan-gp": (*BLIND, "loss/adversarial=wasserstein_gp"),
    "contextual": (*BLIND, "loss.weights.pixel=5", "loss/contextual=efficientnet_lite0"),
}
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def crop():
    """(3,96,96) uint8."""
    photo = read_rgb(Path(skimage.__file__).parent / "data" / PHOTO)
    return photo[:, TOP : TOP + SIDE, LEFT : LEFT + SIDE].contiguous()


@pytest.mark.slow
@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_overfits_one_crop(name, crop, tmp_path):
    """Breaks if gradients do not reach the weights, a term has the wrong sign, or LR and HR do not match."""
    write_image(tmp_path / "photos/crop.png", crop)
    bicubic = psnr_y(imresize(imresize(crop, 1 / 4), 4)[None], crop[None], crop=4).item()
    last = [each.split("=")[1] for each in SYSTEMS[name] if each.startswith("trainer.max_updates")][-1]
    metrics = train(
        compose(
            "data=folder", f"data.train_dir={tmp_path}/photos", f"data.val_dir={tmp_path}/photos",
            f"data.patch_size={SIDE}", "data.batch_size=1", "data.num_workers=0", "data.flips=false",
            "data.rotations=false", "trainer.accelerator=cpu", "trainer.precision=32", "optimizer.lr=3e-3",
            "schedule=cosine", "schedule.warmup=20", "stage.clip_norm=1", f"trainer.val_interval={last}",
            *SYSTEMS[name],
        ),
        tmp_path / "run",
    )  # fmt: skip
    print(name, metrics["val/psnr_y"] - bicubic)
    assert metrics["val/psnr_y"] > bicubic + 5
