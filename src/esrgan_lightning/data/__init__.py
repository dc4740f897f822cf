"""Photos in, LR/HR pairs out."""

from esrgan_lightning.data.builders import downloaded, folder, packs, paired, photos
from esrgan_lightning.data.cache import packed
from esrgan_lightning.data.crops import Pair, PatchDataset, WholeDataset
from esrgan_lightning.data.datamodule import SRDataModule
from esrgan_lightning.data.packfile import Pack
from esrgan_lightning.data.packing import pack
from esrgan_lightning.data.photos import PackedPhoto, Photo, PhotoSet
from esrgan_lightning.data.sampler import UpdateSampler
from esrgan_lightning.data.sources import embedded_photos, folder_photos, paired_photos

__all__ = [
    "Pack",
    "PackedPhoto",
    "Pair",
    "PatchDataset",
    "Photo",
    "PhotoSet",
    "SRDataModule",
    "UpdateSampler",
    "WholeDataset",
    "downloaded",
    "embedded_photos",
    "folder",
    "folder_photos",
    "pack",
    "packed",
    "packs",
    "paired",
    "paired_photos",
    "photos",
]
