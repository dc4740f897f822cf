"""N processes with a batch of B/N take the steps of one with B: whole runs by `train`."""

import csv
from pathlib import Path

import pytest
import rank_work
import torch
from ranks import on_ranks

from esrgan_lightning.ops import to_uint8, write_image

# In one worker: a fixture of a minute serves them all.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("same_steps")]

COMMON = (
    "generator.num_features=4", "generator.num_blocks=1", "generator.growth_channels=2",
    "generator.init_scale=1", "trainer.accelerator=cpu", "trainer.max_updates=20",
    "trainer.log_interval=1", "data=folder", "data.patch_size=32", "data.batch_size=8",
    "data.num_workers=0", "stage.ema_decay=0.9", "schedule=constant", "optimizer.lr=1e-3",
)  # fmt: skip
PSNR = ("stage=psnr", *COMMON)
# The adversarial term is as strong as the pixels', so that an error in it shows.
GAN = (
    "stage=gan", "init=null", *COMMON, "discriminator=patch", "discriminator.num_features=4",
    "discriminator.num_layers=2", "loss/perceptual=none", "loss.weights.pixel=1",
    "loss.weights.adversarial=1",
)  # fmt: skip
PLAIN, SYNCED = "discriminator.norm=none", "trainer.sync_batchnorm=true"
EXACT, FAST = ("trainer.precision=64",), ("trainer.precision=32", "trainer.max_updates=5")
RUNS = {
    "psnr 64": (*PSNR, *EXACT),
    "gan 64": (*GAN, *EXACT, PLAIN),
    "gan with batch norm 64": (*GAN, *EXACT, SYNCED),
    "gan with gradient penalty 64": (*GAN, *EXACT, PLAIN, "loss/adversarial=wasserstein_gp"),
    "psnr 32": (*PSNR, *FAST),
    "gan with batch norm 32": (*GAN, *FAST, SYNCED),
}
TWICE = ("stage.accumulate=2", "trainer.max_updates=4")
ACCUMULATED = {
    "gan accumulated 64": (*GAN, *EXACT, SYNCED, "stage.order=generator_first", *TWICE),
    "psnr accumulated 64": (*PSNR, *EXACT, *TWICE),
}


# Four processes have a smaller share, and nothing else that two do not have.
FOUR = ("psnr 64", "gan with batch norm 64")


class Run:
    """What a run has left."""

    def __init__(self, folder: Path) -> None:
        self.state = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        with (folder / "metrics.csv").open(newline="") as file:
            self.rows = list(csv.DictReader(file))

    def furthest(self, other: "Run") -> float:
        """The largest difference of any two elements."""
        return max(float((self.state[name] - other.state[name]).abs().max()) for name in other.state)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """``trained[processes][name]`` → the run."""
    home = tmp_path_factory.mktemp("same")
    random = torch.Generator().manual_seed(0)
    for number in range(4):
        small = torch.rand(1, 3, 12, 16, generator=random)
        image = torch.nn.functional.interpolate(small, scale_factor=4, mode="bilinear")[0]
        for folder in ("train", "val") if number == 0 else ("train",):
            write_image(home / folder / f"{number}.png", to_uint8(image))
    photos = (f"data.train_dir='{home / 'train'}'", f"data.val_dir='{home / 'val'}'")
    several = RUNS | ACCUMULATED
    everything = {}
    for world, runs in {1: several, 2: several, 4: {name: RUNS[name] for name in FOUR}}.items():
        work = {name: (*changes, *photos) for name, changes in runs.items()}
        on_ranks(world, rank_work.runs, work, home / str(world), world)
        everything[world] = {name: Run(home / str(world) / name) for name in runs}
    return everything


@pytest.mark.parametrize(
    ("name", "world"), [*((name, 2) for name in RUNS if name.endswith("64")), *((name, 4) for name in FOUR)]
)
def test_in_float64_every_element_is_the_same(trained, name, world):
    """Breaks if a mean, its gradient or the average of gradients is not that of the whole batch."""
    one, several = trained[1][name], trained[world][name]
    assert one.state.keys() == several.state.keys()
    assert any(key.startswith("ema.") for key in one.state)
    assert several.furthest(one) < 1e-8


@pytest.mark.parametrize("name", [name for name in RUNS if name.endswith("32")])
def test_in_float32_every_tensor_is_the_same_but_for_rounding(trained, name):
    """Breaks where a reduction in the wrong precision hides behind float64; ‖a − b‖ bounds |‖a‖ − ‖b‖|."""
    one, several = trained[1][name].state, trained[2][name].state
    # A relativistic loss sees differences of logits alone: the gradient of their common offset is rounding.
    offset = [key for key in one if key.startswith("discriminator.") and key.endswith(".bias")][-1:]
    for key, tensor in one.items():
        if key not in offset:
            assert (several[key] - tensor).double().norm() <= 1e-5 * tensor.double().norm(), key


@pytest.mark.parametrize("name", list(ACCUMULATED))
def test_accumulated_batches_are_those_of_all_processes(trained, name):
    """Breaks if a gradient is averaged twice, or a mean is taken over an update instead of its batches."""
    assert trained[2][name].furthest(trained[1][name]) < 1e-8


@pytest.mark.parametrize("name", [name for name in RUNS if name.endswith("64")])
def test_logged_losses_are_those_of_the_whole_batch(trained, name):
    """Breaks if metrics.csv shows the share of one process."""
    one, two = trained[1][name].rows, trained[2][name].rows
    losses = [column for column in one[0] if column.startswith("train/") and column != "train/lr"]
    assert "train/pixel" in losses
    assert len(one) == len(two) == 20
    for mine, theirs in zip(one, two, strict=True):
        for column in losses:
            assert float(theirs[column]) == pytest.approx(float(mine[column]), rel=1e-6), column
