"""Photos in, LR/HR pairs out."""

from typing import TYPE_CHECKING

from esrgan_lightning.lazy import lazy_names

if TYPE_CHECKING:
    from esrgan_lightning.data.builders import downloaded, folder, packs, paired, photos, streaming
    from esrgan_lightning.data.crops import Pair, PatchDataset, WholeDataset
    from esrgan_lightning.data.datamodule import SRDataModule
    from esrgan_lightning.data.loaders import UpdateSampler, eval_loader, training_loader
    from esrgan_lightning.data.material_module import MaterialDataModule, materials, minc
    from esrgan_lightning.data.packfile import Pack
    from esrgan_lightning.data.packing import pack, packed
    from esrgan_lightning.data.shards import Shards, write_shards
    from esrgan_lightning.data.sources import (
        PackedPhoto,
        Photo,
        PhotoSet,
        embedded_photos,
        folder_photos,
        paired_photos,
    )

__all__ = [
    "MaterialDataModule",
    "Pack",
    "PackedPhoto",
    "Pair",
    "PatchDataset",
    "Photo",
    "PhotoSet",
    "SRDataModule",
    "Shards",
    "UpdateSampler",
    "WholeDataset",
    "downloaded",
    "embedded_photos",
    "eval_loader",
    "folder",
    "folder_photos",
    "materials",
    "minc",
    "pack",
    "packed",
    "packs",
    "paired",
    "paired_photos",
    "photos",
    "streaming",
    "training_loader",
    "write_shards",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "builders": "downloaded folder packs paired photos streaming",
        "crops": "Pair PatchDataset WholeDataset",
        "datamodule": "SRDataModule",
        "loaders": "UpdateSampler eval_loader training_loader",
        "material_module": "MaterialDataModule materials minc",
        "packfile": "Pack",
        "packing": "pack packed",
        "sources": "PackedPhoto Photo PhotoSet embedded_photos folder_photos paired_photos",
        "shards": "Shards write_shards",
    },
)
