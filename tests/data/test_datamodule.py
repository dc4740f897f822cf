"""What reaches the stages: the right batches, for any number of workers."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from noise import fill
from PIL import Image

from esrgan_lightning import data as builders
from esrgan_lightning.data import PhotoSet, SRDataModule, packed
from esrgan_lightning.data.degradations import Bicubic, BicubicJpeg, BicubicNoise, Order, RealESRGAN
from esrgan_lightning.data.degradations.realesrgan import second_order
from esrgan_lightning.data.loaders import TimedLoader
from esrgan_lightning.errors import InputError


@pytest.fixture
def photos(tmp_path):
    return fill(tmp_path / "photos", [(60 + index, 70) for index in range(4)])


def record(folder, updates, **settings):
    """The batches that a run of so many updates would train on."""
    given = {"patch_size": 32, "batch_size": 4} | settings
    module = SRDataModule(PhotoSet(packed([folder])), **given)
    stage = SimpleNamespace(dtype=torch.float32)
    module.trainer = SimpleNamespace(
        max_steps=updates, global_step=0, global_rank=0, world_size=1, lightning_module=stage
    )
    return [module.on_after_batch_transfer(batch, 0) for batch in module.train_dataloader()]


def same(first, second):
    return len(first) == len(second) and all(
        torch.equal(a["hr"], b["hr"]) and torch.equal(a["lr"], b["lr"])
        for a, b in zip(first, second, strict=True)
    )


def test_batches_are_floats_in_unit_range_and_do_not_depend_on_workers(photos):
    """Breaks if a worker's own random state plays a part, or order depends on which worker is first."""
    alone = record(photos, 6, num_workers=0)
    assert alone[0]["lr"].shape == (4, 3, 8, 8)
    assert alone[0]["hr"].shape == (4, 3, 32, 32)
    assert alone[0]["hr"].dtype == torch.float32
    assert 0 <= alone[0]["hr"].min() < 0.1 < 0.9 < alone[0]["hr"].max() <= 1
    assert same(alone, record(photos, 6, num_workers=2))
    assert not same(alone, record(photos, 6, num_workers=0, seed=1))


@pytest.mark.parametrize("degradation", [Bicubic(), RealESRGAN(seed=3)], ids=["bicubic", "realesrgan"])
def test_lr_is_the_same_made_on_the_device_or_in_a_worker(photos, degradation):
    """Breaks if the two ways differ in a bit, the degradation is ignored, or the worker sends floats."""
    device, worker = (
        record(photos, 3, num_workers=1, prepare=where, degradation=degradation)
        for where in ("device", "worker")
    )
    assert same(device, worker)
    assert device[0]["lr"].shape == (4, 3, 8, 8)
    assert same(device, record(photos, 3)) == isinstance(degradation, Bicubic)
    module = SRDataModule(PhotoSet(packed([photos])), patch_size=32, prepare="worker")
    assert module.train_set.__getitems__([0, 1])["lr"].dtype == torch.uint8


GRAY_NOISE = {"gray_noise_prob": 1.0}  # noise that is the same in all channels


@pytest.mark.parametrize(
    "degradation",
    [
        Bicubic(),
        BicubicJpeg(),
        BicubicNoise(gray_prob=1),
        RealESRGAN(Order(**GRAY_NOISE), replace(second_order(), **GRAY_NOISE)),
        None,
    ],
    ids=["bicubic", "jpeg", "noise", "realesrgan", "given"],
)
def test_one_channel_is_what_gray_files_hold(photos, tmp_path_factory, degradation):
    """The reference: Pillow's gray of each photo, in files, through the three channels of RGB."""
    small, gray, gray_small = (tmp_path_factory.mktemp(name) for name in ("small", "gray", "gray_small"))
    for path in photos.iterdir():
        hr = Image.open(path)
        lr = hr.rotate(180).crop((0, 0, 17, 15))  # of colours of its own
        lr.save(small / path.name)
        hr.convert("L").save(gray / path.name)
        lr.convert("L").save(gray_small / path.name)
    found = []
    for channels, hr, lr in ((1, photos, small), (1, gray, gray_small), (3, gray, gray_small)):
        settings = {"scale": 4, "patch_size": 32, "channels": channels}
        if degradation is None:
            module = builders.paired(hr, lr, hr, lr, **settings)
        else:
            module = builders.folder(hr, hr, degradation=degradation, **settings)
        batch = module.on_after_batch_transfer(module.train_set.__getitems__([0, 1, 2, 3]), 0)
        pairs = [module.train_set[2], *(module.val_set[i] for i in range(4))]
        assert all(torch.equal(batch[key][2], pairs[0][key] / 255) for key in ("lr", "hr"))
        assert all(len(pair[key]) == channels for pair in pairs for key in ("lr", "hr"))
        found.append([pair[key][:1] for pair in pairs for key in ("lr", "hr")])
    assert all(torch.equal(*pair) for other in found[1:] for pair in zip(found[0], other, strict=True))


def test_the_loader_adds_up_how_long_training_waited(photos, monkeypatch):
    """Breaks if the time that training itself takes between two batches is counted too."""
    clock = iter([0, 3, 10, 14, 20, 29])  # asked, got; asked, got; asked, ended
    monkeypatch.setattr("esrgan_lightning.data.loaders.time.perf_counter", lambda: next(clock))
    loader = TimedLoader(list(range(2)))
    assert len(list(loader)) == 2
    assert loader.waited_seconds == 3 + 4


def test_training_needs_a_length(photos):
    with pytest.raises(InputError, match="max_steps"):
        SRDataModule(PhotoSet(packed([photos])), scale=4, patch_size=32).train_dataloader()


@pytest.mark.parametrize(("key", "value"), [("batch_size", 0), ("num_workers", -1), ("prepare", "cpu")])
def test_senseless_settings_are_refused(photos, key, value):
    with pytest.raises(InputError, match=f"data.{key}={value}"):
        SRDataModule(PhotoSet(packed([photos])), scale=4, patch_size=32, **{key: value})


def test_a_degradation_beside_given_lr_is_refused(photos):
    """Breaks if a user who chose a degradation trains on other LR photos without a word."""
    pack = packed([photos])
    given = PhotoSet(pack, lr_pack=pack)
    with pytest.raises(InputError, match="LR photos are given"):
        SRDataModule(given, scale=1, patch_size=32, degradation=RealESRGAN())


def test_validation_photos_are_degraded_the_same_each_time(photos):
    module = builders.folder(photos, photos, patch_size=32, degradation=BicubicNoise(sigma=(20, 20)))
    first, second = (module.val_set[1]["lr"] for _ in range(2))
    assert torch.equal(first, second)
    plain = builders.folder(photos, photos, patch_size=32).val_set[1]["lr"]
    assert 15 < (first.float() - plain.float()).std() < 21  # clipping at 0 and 255 takes some


def test_index_hash_follows_names_and_sizes(photos):
    def index_hash():
        return SRDataModule(PhotoSet(packed([photos])), scale=4, patch_size=32).index_hash()

    before = index_hash()
    assert before == index_hash()
    (photos / "000.png").rename(photos / "009.png")
    assert index_hash() != before


def test_paired_wants_both_validation_folders(photos, tmp_path):
    with pytest.raises(InputError, match="go together"):
        builders.paired(photos, photos, val_hr=photos, scale=1, patch_size=32)
