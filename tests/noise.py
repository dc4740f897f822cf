"""Photos of noise, no two alike."""

import zlib

import numpy as np
from PIL import Image


def fill(folder, photos, size=(64, 80)):
    """Writes ``000.png`` and on: so many of one size (H, W), or one of each size of a list."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(zlib.crc32(folder.name.encode()))
    for index, (height, width) in enumerate([size] * photos if isinstance(photos, int) else photos):
        pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:03d}.png")
    return folder
