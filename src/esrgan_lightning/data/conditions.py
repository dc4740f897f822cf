"""Maps that belong to photos: which file is whose, checked before training."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from esrgan_lightning.data.maps import Maps, path_of, read_crop, read_maps
from esrgan_lightning.data.sources import PackedPhoto, Photo, PhotoSet
from esrgan_lightning.errors import InputError


@final
class PhotoMaps:
    """The maps of a list of photos, by the photos' numbers. All of them are read once, and found in order.

    Raises:
        InputError: two photos share a file, or a fault of one, as
            :func:`~esrgan_lightning.data.maps.read_maps` has it.
    """

    def __init__(
        self, paths: Sequence[Path], sizes: Sequence[tuple[int, int]], classes: Sequence[str]
    ) -> None:
        self.paths, self.sizes, self.classes = list(paths), list(sizes), tuple(classes)
        _one_each(self.paths)

        def hashed(index: int) -> bytes:
            return hashlib.sha256(self[index].numpy().data).digest()

        with ThreadPoolExecutor() as pool:
            #: A hash over the contents.
            self.digest = hashlib.sha256(b"".join(pool.map(hashed, range(len(self.paths))))).hexdigest()

    def __getitem__(self, index: int) -> Tensor:
        """The whole maps of a photo, (K,h,w) uint8."""
        return torch.from_numpy(read_maps(self.paths[index], self.classes, *self.sizes[index]))

    def crop(self, index: int, top: int, left: int, side: int) -> Maps:
        """A square of them, (K,side,side), at a place in LR pixels."""
        return read_crop(self.paths[index], top, left, side)


@final
class MapFolder:
    """Precomputed maps, ``DIR/NAME.safetensors`` for each photo ``NAME.*``, in subfolders as the photos are.

    Each file holds the tensor ``maps``, U8 (K,h,w): K classes that add up to 255 at every pixel, of the size
    of the LR photo, ⌊H/s⌋×⌊W/s⌋; and in its metadata ``classes``, a JSON list of their names. ``esrgan
    segment`` and :func:`~esrgan_lightning.data.maps.write_maps` make such files. Training reads of each the
    rows of its crop alone.

    Args:
        dir: the folder; with several training sources one for each, in their order.
        classes: the names that the generator knows, in its order.
        val_dir: of the validation photos that are files; ``dir`` by default. Photos that are held out of the
            training photos have their maps beside those.

    Raises:
        InputError: a folder is missing, or the generator knows no classes.
    """

    def __init__(
        self,
        dir: str | Path | Sequence[str | Path] | None,
        classes: Sequence[str] | None,
        val_dir: str | Path | None = None,
    ) -> None:
        if not classes:
            raise InputError(
                "conditions=maps: the generator takes no maps; choose generator=sft or conditions=none"
            )
        if not dir:
            raise InputError("conditions.dir has no value: give the folder of maps, conditions.dir=DIR")
        self.classes = tuple(classes)
        self.dirs = [_folder(each) for each in ([dir] if isinstance(dir, str | Path) else dir)]
        self.val_dir = _folder(self.dirs[0] if val_dir is None else val_dir)

    def of_sets(self, sets: Sequence[PhotoSet], scale: int) -> list[PhotoMaps]:
        """The maps of the training photos, set by set.

        Raises:
            InputError: as :class:`PhotoMaps`, or another number of folders than of sets.
        """
        if len(sets) != len(self.dirs):
            raise InputError(
                f"conditions.dir names {len(self.dirs)} folders for {len(sets)} sources of photos: one each"
            )
        found = []
        for each, folder in zip(sets, self.dirs, strict=True):
            # Of all photos of the pack, also those that are held out.
            _one_each([path_of(folder, photo.name) for photo in PhotoSet(each.pack).photos()])
            found.append(self.of_photos(each.photos(), scale, folder))
        return found

    def of_photos(
        self,
        photos: Sequence[Photo | PackedPhoto],
        scale: int,
        folder: Path,
        by_pack: Mapping[Path, Path] | None = None,
    ) -> PhotoMaps:
        """The maps of these photos in ``folder``, or in ``by_pack`` by the path of a photo's pack.

        Raises:
            InputError: as :class:`PhotoMaps`.
        """
        paths = []
        for photo in photos:
            mine = (by_pack or {}).get(photo.pack.path) if isinstance(photo, PackedPhoto) else None
            paths.append(path_of(mine or folder, photo.name))
        return PhotoMaps(paths, [(p.height // scale, p.width // scale) for p in photos], self.classes)


#: Maps on disk, or a network that makes them of LR images: (B,3,h,w) in [0,1] → (B,K,h,w) in [0,1].
Conditions = MapFolder | Callable[[Tensor], Tensor]


def _one_each(paths: Sequence[Path]) -> None:
    if len(set(paths)) < len(paths):
        twice = Counter(paths).most_common(1)[0][0]
        raise InputError(f"{twice} would be the maps of two photos, alike but for their suffix: rename one")


def _folder(path: str | Path) -> Path:
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(f"conditions: {folder} is no folder of maps; `esrgan segment` makes one")
    return folder
