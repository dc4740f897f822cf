"""The systems that the paper compares: each trains by its line, and a penalty's run resumes to the bit."""

import pytest
import tiny
import torch

from esrgan_lightning import load_generator
from esrgan_lightning.config import compose
from esrgan_lightning.run import cuda_graphs
from esrgan_lightning.training import train

GAN = ("stage=gan", "init=null")
SYSTEMS = {
    "srcnn": ("stage=psnr", "generator=srcnn", "loss/pixel=mse"),
    "srresnet": ("stage=psnr", "generator=srresnet", "loss/pixel=mse"),
    "srresnet with batch norm": ("stage=psnr", "generator=srresnet_bn", "loss/pixel=mse"),
    "srgan": (*GAN, "generator=srresnet_bn", "loss/adversarial=standard", "loss/perceptual=vgg19_srgan"),
    "srgan without batch norm": (*GAN, "generator=srresnet", "loss/adversarial=standard"),
    "rrdb of 16 blocks": ("stage=psnr", "generator=rrdb", "generator.num_blocks=16"),
    "rrdb of 23 blocks": ("stage=psnr", "generator=rrdb", "generator.num_blocks=23"),
    "standard": (*GAN, "loss/adversarial=standard"),
    "standard with r1": (*GAN, "loss/adversarial=standard_r1", "discriminator.norm=none"),
    "relativistic": (*GAN, "loss/adversarial=relativistic_average"),
    "least squares": (*GAN, "loss/adversarial=least_squares"),
    "hinge": (*GAN, "loss/adversarial=hinge"),
    "wgan-gp": (*GAN, "loss/adversarial=wasserstein_gp", "discriminator.norm=none"),
    "wgan-gp on the u-net": (*GAN, "loss/adversarial=wasserstein_gp", "discriminator=unet"),
    "contextual": (*GAN, "loss/contextual=efficientnet_lite0"),
}
pytestmark = pytest.mark.usefixtures("one_thread")


def config(line, *overrides):
    sizes = tiny.GAN if "stage=gan" in line else tiny.PSNR
    named = {word.split("=")[0] for word in line}
    sizes = [size for size in tiny.fitting(sizes, line) if size.split("=")[0] not in named]
    return compose(*line, *sizes, "trainer.precision=32", *overrides)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(SYSTEMS))
def test_a_system_trains_by_one_line(name, tmp_path):
    """Breaks if a choice does not fit the others, an update is skipped, or the file cannot be read again."""
    line = SYSTEMS[name]
    metrics = train(config(line), tmp_path / "run")
    assert metrics["val/psnr_y"] > 0
    table = (tmp_path / "run/metrics.csv").read_text().splitlines()
    last = dict(zip(table[0].split(","), table[-1].split(","), strict=True))
    assert float(last["train/skipped"]) == 0
    assert ("train/gradient_penalty" in last) == (name in {"standard with r1"} or name.startswith("wgan"))
    assert ("train/contextual" in last) == (name == "contextual")
    sr = load_generator(tmp_path / "run/generator.safetensors")(torch.rand(1, 3, 8, 8))
    assert sr.shape == (1, 3, 32, 32)


@pytest.mark.slow
def test_a_run_with_a_gradient_penalty_resumes_to_the_bit(tmp_path):
    """Breaks if the penalty's draws depend on what the process has drawn before."""
    line = (*SYSTEMS["wgan-gp"], "stage.order=generator_first", "trainer.checkpoint_interval=1")
    train(config(line, "trainer.max_updates=3"), tmp_path / "whole")
    train(config(line, "trainer.max_updates=2"), tmp_path / "parts")
    train(config(line, "trainer.max_updates=3", "resume=last"), tmp_path / "parts")
    one, other = (
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("whole", "parts")
    )
    for key, tensor in one.items():
        assert torch.equal(tensor, other[key]), key


@pytest.mark.gpu
@pytest.mark.parametrize("name", [*SYSTEMS, "esrgan"])
def test_a_system_is_recorded_on_a_gpu(name, tmp_path, monkeypatch):
    """Breaks if a loss or network asks the device for a value, which no CUDA graph can hold.

    A gradient penalty draws on the processor: its runs have no graph.
    """
    recorded, record = [], cuda_graphs.Replay._record

    def counted(replay, *args):
        record(replay, *args)
        recorded.append(replay)

    monkeypatch.setattr(cuda_graphs.Replay, "_record", counted)
    line = SYSTEMS.get(name, (*GAN, "loss.perceptual.weights=random", "loss.weights.perceptual=1"))
    changed = ("trainer.accelerator=gpu", "trainer.precision=bf16", "trainer.max_updates=6", "data=photos")
    metrics = train(config(line, *changed), tmp_path / "run")
    assert metrics["val/psnr_y"] > 0
    assert len(recorded) == (not (name in {"standard with r1"} or name.startswith("wgan")))
