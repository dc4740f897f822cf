"""Photos in, LR/HR pairs out."""

from typing import TYPE_CHECKING

from esrgan_lightning.lazy import lazy_names

if TYPE_CHECKING:
    from esrgan_lightning.data.builders import downloaded as downloaded
    from esrgan_lightning.data.builders import folder as folder
    from esrgan_lightning.data.builders import packs as packs
    from esrgan_lightning.data.builders import paired as paired
    from esrgan_lightning.data.builders import photos as photos
    from esrgan_lightning.data.builders import streaming as streaming
    from esrgan_lightning.data.crops import Pair as Pair
    from esrgan_lightning.data.crops import PatchDataset as PatchDataset
    from esrgan_lightning.data.crops import WholeDataset as WholeDataset
    from esrgan_lightning.data.datamodule import SRDataModule as SRDataModule
    from esrgan_lightning.data.loaders import UpdateSampler as UpdateSampler
    from esrgan_lightning.data.loaders import eval_loader as eval_loader
    from esrgan_lightning.data.loaders import training_loader as training_loader
    from esrgan_lightning.data.material_module import MaterialDataModule as MaterialDataModule
    from esrgan_lightning.data.material_module import materials as materials
    from esrgan_lightning.data.material_module import minc as minc
    from esrgan_lightning.data.packfile import Pack as Pack
    from esrgan_lightning.data.packing import pack as pack
    from esrgan_lightning.data.packing import packed as packed
    from esrgan_lightning.data.shards import Shards as Shards
    from esrgan_lightning.data.shards import write_shards as write_shards
    from esrgan_lightning.data.sources import PackedPhoto as PackedPhoto
    from esrgan_lightning.data.sources import Photo as Photo
    from esrgan_lightning.data.sources import PhotoSet as PhotoSet
    from esrgan_lightning.data.sources import embedded_photos as embedded_photos
    from esrgan_lightning.data.sources import folder_photos as folder_photos
    from esrgan_lightning.data.sources import paired_photos as paired_photos

__getattr__, __dir__, __all__ = lazy_names(
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
