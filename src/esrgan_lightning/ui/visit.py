"""A visitor: what may be asked for, and what lies before them."""

import tempfile
from dataclasses import dataclass
from typing import final

from torch import Tensor

from esrgan_lightning.ui.desk import Part, Picture


@final
@dataclass(frozen=True)
class Limits:
    """What a visitor may ask for.

    Attributes:
        photo_pixels: of a photo.
        pixels: that are enlarged as a whole.
        upload_bytes: of a file.
        waiting: requests of all visitors that may wait for their turn; one more is refused.
        visitors: whose pictures are kept; of more, the oldest is forgotten.
    """

    photo_pixels: int = 24_000_000
    pixels: int = 4_000_000
    upload_bytes: int = 32 * 2**20
    waiting: int = 20
    visitors: int = 16


@final
@dataclass(frozen=True)
class Visit:
    """What lies before a visitor; ``folder`` holds the last result, and goes with the visit.

    ``small`` is made once: to shrink a large photo takes longer than to enlarge a part of it.
    """

    photo: Tensor
    name: str
    picture: Picture
    small: Tensor
    part: Part
    folder: tempfile.TemporaryDirectory[str]
