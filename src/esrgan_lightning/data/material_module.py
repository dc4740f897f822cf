"""The LightningDataModule of materials: pictures and their classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2  # type: ignore[import-untyped]

from esrgan_lightning.data.loaders import check_loading, eval_loader, training_loader
from esrgan_lightning.data.material_folders import Materials, check_images, class_folders, minc_folder
from esrgan_lightning.data.placement import shuffled
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import read_rgb, to_float

# Streams of the run's seed; data/placement.py says which others there are.
_ROUND, _AUGMENT = 8, 9
_SMALLEST = 2**5


class Sample(TypedDict):
    """One picture, uint8 (3,S,S), its class and its name."""

    image: Tensor
    label: int
    name: str


class TrainingImages(Dataset[Sample]):
    """Pictures by sample number, without end: in shuffled rounds, each cut and mirrored at random.

    Sample n depends on (seed, n) alone. The cut is a share of the picture's area drawn from ``crop_area``, of
    a ratio between 3:4 and 4:3, scaled to S×S (Szegedy et al. 2015, section 6).
    """

    def __init__(
        self, materials: Materials, size: int, *, seed: int, crop_area: Sequence[float], flips: bool
    ) -> None:
        self.root, self.images, self.seed = materials.root, materials.train, seed
        cut = v2.RandomResizedCrop(size, scale=tuple(crop_area), antialias=True)
        self._augment = v2.Compose([cut, v2.RandomHorizontalFlip()] if flips else [cut])

    def __getitem__(self, n: int) -> Sample:
        """Sample n."""
        turn, place = divmod(n, len(self.images))
        order = shuffled(self.seed, _ROUND, 0, turn, len(self.images))
        name, label = self.images[int(order[place])]
        bits = np.random.Philox(key=self.seed, counter=[0, 0, n, _AUGMENT])
        # torchvision draws from torch's own generator, which the training may need as it was.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(bits.random_raw() >> np.uint64(1)))
            image = self._augment(read_rgb(self.root / name))
        return {"image": image, "label": label, "name": name}


class WholeImages(Dataset[Sample]):
    """Pictures one by one, their shorter side scaled to 8/7·S, and the middle S×S of that.

    That is 256 and 224, as ImageNet's classifiers are measured (Krizhevsky et al. 2012, section 2).
    """

    def __init__(self, root: Path, images: Sequence[tuple[str, int]], size: int) -> None:
        self.root, self.images = root, images
        self._middle = v2.Compose([v2.Resize(round(size * 8 / 7), antialias=True), v2.CenterCrop(size)])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        """One picture."""
        name, label = self.images[index]
        return {"image": self._middle(read_rgb(self.root / name)), "label": label, "name": name}


class MaterialDataModule(pl.LightningDataModule):
    """Batches ``{"image": (B,3,S,S) in [0,1], "label": (B,) int64, "name": [str]}``.

    Args:
        materials: the images.
        image_size: S.
        batch_size: images in a batch, over all processes.
        num_workers: loader processes; 0 loads in the training process.
        seed: of the sampling; sample n depends on (seed, n) alone.
        crop_area: least and largest share of the area, see :class:`TrainingImages`.
        flips: mirror half of the training samples.

    Raises:
        InputError: a setting makes no sense.
    """

    def __init__(
        self,
        materials: Materials,
        *,
        image_size: int = 224,
        batch_size: int = 32,
        num_workers: int = 0,
        seed: int = 0,
        crop_area: Sequence[float] = (0.08, 1.0),
        flips: bool = True,
    ) -> None:
        super().__init__()
        if image_size < _SMALLEST:
            raise InputError(
                f"data.image_size={image_size} must be at least {_SMALLEST}: a VGG halves it five times"
            )
        check_loading(batch_size, num_workers)
        if len(crop_area) != 2 or not 0 < crop_area[0] <= crop_area[1] <= 1:
            raise InputError(f"data.crop_area={list(crop_area)} must be two shares, 0 < least ≤ largest ≤ 1")
        self.materials, self.classes = materials, materials.classes
        self.batch_size, self.num_workers = batch_size, num_workers
        self.train_set = TrainingImages(materials, image_size, seed=seed, crop_area=crop_area, flips=flips)
        self.val_set = WholeImages(materials.root, materials.val, image_size)
        self.test_set = WholeImages(materials.root, materials.test or materials.val, image_size)

    def index_hash(self) -> str:
        """A hash over names, classes and sizes of the training images, kept in a model's provenance."""
        return self.materials.digest()

    def train_dataloader(self) -> DataLoader[Sample]:
        """Loader of the batches that are left of the run (``Trainer(max_steps=…)`` says how many it has)."""
        return training_loader(
            self.train_set, self.trainer, batch_size=self.batch_size, num_workers=self.num_workers
        )

    def val_dataloader(self) -> DataLoader[Sample]:
        """Each image once, in one of the processes."""
        return self._once(self.val_set)

    def test_dataloader(self) -> DataLoader[Sample]:
        """Each image once, in one of the processes."""
        return self._once(self.test_set)

    def _once(self, dataset: WholeImages) -> DataLoader[Sample]:
        share = self.batch_size // (self.trainer.world_size if self.trainer else 1)
        return eval_loader(dataset, self.trainer, batch_size=max(1, share), num_workers=self.num_workers)

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """uint8 → floats in [0,1], in the precision of the weights."""
        dtype = cast(torch.dtype, self.trainer.lightning_module.dtype) if self.trainer else torch.float32
        return batch | {"image": to_float(batch["image"], dtype)}


def materials(
    root: str | Path,
    *,
    val_share: float = 0.1,
    seed: int = 0,
    cache_dir: str | Path | None = None,
    **settings: Any,
) -> MaterialDataModule:
    """``data=materials``: :func:`~esrgan_lightning.data.material_folders.class_folders`, checked.

    ``seed`` is that of what is held out, and of the sampling.
    """
    found = class_folders(root, val_share=val_share, seed=seed)
    check_images(found, cache_dir)
    return MaterialDataModule(found, seed=seed, **settings)


def minc(
    root: str | Path, *, split: int = 1, cache_dir: str | Path | None = None, **settings: Any
) -> MaterialDataModule:
    """``data=minc``: :func:`~esrgan_lightning.data.material_folders.minc_folder`, checked."""
    found = minc_folder(root, split)
    check_images(found, cache_dir)
    return MaterialDataModule(found, **settings)
