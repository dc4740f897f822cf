"""Photos in, LR/HR pairs out."""

from esrgan_lightning.data.crops import Pair, PatchDataset, Photo, WholeDataset, place
from esrgan_lightning.data.datamodule import SRDataModule, folder, paired, photos
from esrgan_lightning.data.sampler import UpdateSampler
from esrgan_lightning.data.sources import embedded_photos, folder_photos, paired_photos

__all__ = [
    "Pair",
    "PatchDataset",
    "Photo",
    "SRDataModule",
    "UpdateSampler",
    "WholeDataset",
    "embedded_photos",
    "folder",
    "folder_photos",
    "paired",
    "paired_photos",
    "photos",
    "place",
]
