"""Samples of materials: a pure function of seed and number, whatever loads them; validation exactly once."""

import collections
import types

import pytest
import torch
from textures import CLASSES, write_minc, write_textures
from torchvision.models import VGG19_Weights

from esrgan_lightning.data import materials, minc
from esrgan_lightning.data.loaders import eval_loader
from esrgan_lightning.data.material_module import TrainingImages, WholeImages
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import read_rgb


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_textures(tmp_path_factory.mktemp("materials"), 4, suffix=".png")


def module(folder, **settings):
    return materials(folder, val_share=0.25, **({"image_size": 32, "batch_size": 4} | settings))


def trainer(rank=0, world=1, done=0, updates=5):
    return types.SimpleNamespace(
        max_steps=updates, global_step=done, global_rank=rank, world_size=world, lightning_module=None
    )


def batches(data, **settings):
    data.trainer = trainer(**settings)
    return list(data.train_dataloader())


def test_a_sample_depends_on_the_seed_and_its_number_alone(folder):
    """Breaks if workers, processes, a resumed run or what was drawn before change what is trained on."""
    whole = batches(module(folder))
    assert whole[0]["image"].shape == (4, 3, 32, 32)
    torch.rand(7)  # what the training draws between
    for other in (
        batches(module(folder, num_workers=2)),
        batches(module(folder), done=0),
        whole[:2] + batches(module(folder), done=2),
        [
            {key: torch.cat([part[key] for part in parts]) for key in ("image", "label")}
            for parts in zip(*(batches(module(folder), rank=r, world=2) for r in range(2)), strict=True)
        ],
    ):
        assert len(other) == 5
        for one, two in zip(whole, other, strict=True):
            assert torch.equal(one["image"], two["image"])
            assert torch.equal(one["label"], two["label"])
    assert not torch.equal(whole[0]["image"], batches(module(folder, seed=1))[0]["image"])


def test_loading_draws_nothing_from_the_trainings_random_numbers(folder):
    """Breaks if dropout depends on the number of workers."""
    dataset = module(folder).train_set
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    dataset[0]
    assert torch.equal(torch.rand(3), expected)


def test_a_round_takes_each_training_image_once_each_time_cut_anew(folder):
    """Breaks if an image is left out, or every round shows the same cuts."""
    data = module(folder)
    rounds = [[data.train_set[12 * turn + n] for n in range(12)] for turn in range(2)]
    for each in rounds:
        assert sorted((s["name"], s["label"]) for s in each) == sorted(data.materials.train)
    first, second = ({s["name"]: s["image"] for s in each} for each in rounds)
    assert sum(torch.equal(first[name], second[name]) for name in first) < 3
    assert [s["name"] for s in rounds[0]] != [s["name"] for s in rounds[1]]


def test_with_the_whole_area_and_no_flips_a_square_picture_is_itself(tmp_path):
    """Breaks if crop_area or flips does not reach the transform."""
    write_textures(tmp_path, 2, suffix=".png")
    data = module(tmp_path, image_size=64)
    same = TrainingImages(data.materials, 64, seed=0, crop_area=[1.0, 1.0], flips=False)
    flipped = TrainingImages(data.materials, 64, seed=0, crop_area=[1.0, 1.0], flips=True)
    turned = 0
    for n in range(40):
        original = read_rgb(tmp_path / same[n]["name"])
        assert torch.equal(same[n]["image"], original)
        turned += torch.equal(flipped[n]["image"], original.flip(-1))
    assert 10 < turned < 30


def test_validation_is_imagenets(folder):
    """Breaks if accuracy is measured on other pictures than torchvision's own classifiers are."""
    name = "stripes/stripes_000000.png"
    mine = WholeImages(folder, [(name, 3)], 224)[0]
    resized = VGG19_Weights.IMAGENET1K_V1.transforms()(read_rgb(folder / name))
    normalised = (mine["image"] / 255 - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(3, 1, 1)
    # To one level of 255: the two kernels for uint8 round in different ways.
    torch.testing.assert_close(normalised, resized, rtol=0, atol=1.01 / 255 / 0.224)
    assert (mine["label"], mine["name"]) == (3, name)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_out_the_validation_images(folder, world):
    """Breaks if an image counts twice, or in no process."""
    data = module(folder)
    seen = collections.Counter()
    for rank in range(world):
        for batch in eval_loader(data.val_set, trainer(rank, world), batch_size=3):
            seen.update(batch["name"])
    assert seen == collections.Counter(name for name, _ in data.materials.val)


def test_minc_has_a_test_set_of_its_own(tmp_path):
    data = minc(write_minc(tmp_path / "minc"), image_size=32, batch_size=2)
    assert data.classes == CLASSES
    names = [name for batch in data.test_dataloader() for name in batch["name"]]
    assert names == (tmp_path / "minc/labels/test1.txt").read_text().splitlines()
    batch = data.on_after_batch_transfer(next(iter(data.val_dataloader())), 0)
    assert batch["image"].dtype == torch.float32
    assert 0 <= batch["image"].min() <= batch["image"].max() <= 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"image_size": 31}, "data.image_size=31 must be at least 32"),
        ({"crop_area": [0.5, 0.1]}, r"data.crop_area=\[0.5, 0.1\] must be two shares"),
    ],
)
def test_settings_without_sense_are_refused(folder, settings, words):
    with pytest.raises(InputError, match=words):
        module(folder, **settings)
