"""Pictures that another program made, in place of a model."""

from collections.abc import Sequence
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation.sets import TestPair, by_name, eight_bit, inner_folder
from esrgan_lightning.ops import image_size, modcrop, read_image


@final
class Pictures:
    """A folder of SR pictures, named as the HR images, with one ending that all of a set share or none.

    A set's pictures lie in ``FOLDER/SET/``, in any case, or in the folder itself: ``img_001.png``, or
    ``img_001_x4.png`` and so on for all.

    Args:
        folder: That folder.

    Raises:
        InputError: It is none.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise InputError(f"models: {folder} is not a folder of pictures")
        self.folder = folder
        self._scale = 1
        self._found: dict[str, dict[str, Path]] = {}

    def find(self, set_name: str, pairs: Sequence[TestPair], scale: int) -> None:
        """Finds the pictures of a set, and checks their sizes from the headers.

        Raises:
            InputError: One is missing or of another size than its HR, or two endings would do.
        """
        held = by_name(inner_folder(self.folder, set_name) or self.folder)
        names = [pair.name for pair in pairs]
        endings = sorted({name[len(names[0]) :] for name in held if name.startswith(names[0])})
        whole = [ending for ending in endings if all(name + ending in held for name in names)]
        if "" in whole:
            whole = [""]
        if not whole:
            missing = [name for name in names if name not in held]
            raise InputError(
                f"models: {self.folder} lacks {len(missing)} pictures of {set_name}, named as the HR images "
                f"with one ending for all or none: {', '.join(missing[:5])}{' …' * (len(missing) > 5)}"
            )
        if len(whole) > 1:
            raise InputError(
                f"models: {self.folder} holds several pictures of each image of {set_name}, ending in "
                f"{', '.join(whole)}: give each kind a folder of its own"
            )
        self._scale = scale
        self._found[set_name] = {name: held[name + whole[0]] for name in names}
        for pair in pairs:
            path = self._found[set_name][pair.name]
            # Of a network that ran on the whole image, what the HR is cut by is cut off here as well.
            expected = pair.size(scale)
            if (size := image_size(path)) not in (expected, image_size(pair.hr)):
                raise InputError(
                    f"models: {path} is {size[0]}×{size[1]} (H×W), and the HR at scale {scale} is "
                    f"{expected[0]}×{expected[1]}"
                )

    def read(self, set_name: str, image: str, channels: int) -> Tensor:
        """(C,H,W) uint8 of the HR's channels, 1 or 3; of colour where the HR is gray, the mean is taken."""
        picture = modcrop(eight_bit(read_image(self._found[set_name][image])), self._scale)
        if len(picture) > channels:
            return picture.float().mean(0, keepdim=True).round().to(torch.uint8)
        return picture.expand(channels, -1, -1)
