"""Which container serves random crops of large photos best? The measurement behind the choice of packs.

The same photos (uint8, 2040×1356, made from the embedded ones) are written in each container that is
installed (``pip install zarr tensorstore litdata`` for all of them); then each is asked for the same random
crops of 144×144, one process, warm page cache, in interleaved rounds. The figure is crops per CPU second, all
threads counted; the median over rounds.

    python benchmarks/containers.py [--photos 12] [--crops 400] [--rounds 3]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from esrgan_lightning.data import embedded_photos
from esrgan_lightning.data.packfile import Pack
from esrgan_lightning.ops import read_rgb

HEIGHT, WIDTH, SIDE = 1356, 2040, 144
Crop = Callable[[int, int, int], NDArray[np.uint8]]  # photo, top, left → (SIDE, SIDE, 3)


def photos(count: int) -> list[NDArray[np.uint8]]:
    """Real texture at the size of DIV2K: embedded photos, mirrored until they are large enough."""
    files = embedded_photos()
    made = []
    for index in range(count):
        image = read_rgb(files[index % len(files)].hr).permute(1, 2, 0).numpy()
        height, width = image.shape[:2]
        made.append(
            np.pad(image, ((0, max(0, HEIGHT - height)), (0, max(0, WIDTH - width)), (0, 0)), "symmetric")
        )
        made[-1] = np.ascontiguousarray(made[-1][:HEIGHT, :WIDTH])
    return made


def safetensors_mapped(images: list[NDArray[np.uint8]], folder: Path) -> Crop:
    """A safetensors file, mapped into memory: what this library's packs are."""
    path = folder / "mapped.safetensors"
    save_file({f"{i:04d}": image for i, image in enumerate(images)}, path)
    pack = Pack(path)
    return lambda i, top, left: np.array(pack.photo(i)[top : top + SIDE, left : left + SIDE])


def safetensors_slices(images: list[NDArray[np.uint8]], folder: Path) -> Crop:
    """The same file through the slices of the safetensors package."""
    path = folder / "sliced.safetensors"
    save_file({f"{i:04d}": image for i, image in enumerate(images)}, path)
    file: Any = safe_open(path, framework="numpy")
    slices = [file.get_slice(f"{i:04d}") for i in range(len(images))]
    return lambda i, top, left: slices[i][top : top + SIDE, left : left + SIDE]


def npy(images: list[NDArray[np.uint8]], folder: Path) -> Crop:
    """One .npy file for each photo, np.load with mmap_mode."""
    for i, image in enumerate(images):
        np.save(folder / f"{i:04d}.npy", image)
    arrays = [np.load(folder / f"{i:04d}.npy", mmap_mode="r") for i in range(len(images))]
    return lambda i, top, left: np.array(arrays[i][top : top + SIDE, left : left + SIDE])


def zarr(images: list[NDArray[np.uint8]], folder: Path) -> Crop:
    """Zarr 3, one array for each photo, chunks of 256×256, without compression."""
    import zarr as library

    group = library.open_group(folder / "zarr", mode="w")
    arrays = []
    for i, image in enumerate(images):
        array = group.create_array(
            f"{i:04d}", shape=image.shape, chunks=(256, 256, 3), dtype="uint8", compressors=None
        )
        array[:] = image
        arrays.append(array)
    return lambda i, top, left: np.asarray(arrays[i][top : top + SIDE, left : left + SIDE])


def tensorstore(images: list[NDArray[np.uint8]], folder: Path) -> Crop:
    """Tensorstore over the same Zarr layout."""
    import tensorstore as library

    arrays = []
    for i, image in enumerate(images):
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(folder / f"ts/{i:04d}")}}
        grid = {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [256, 256, 3]}}}
        array = library.open(
            spec | {"metadata": grid}, create=True, dtype=library.uint8, shape=image.shape
        ).result()
        array[:] = image
        arrays.append(array)
    return lambda i, top, left: arrays[i][top : top + SIDE, left : left + SIDE].read().result()


def litdata(images: list[NDArray[np.uint8]], folder: Path) -> Crop:
    """Litdata's chunks, an item for each photo: an item is read whole for one crop."""
    from litdata import StreamingDataset
    from litdata.streaming.writer import BinaryWriter

    chunks = folder / "litdata"
    writer = BinaryWriter(str(chunks), chunk_bytes="64MB")
    for i, image in enumerate(images):
        writer.add_item(i, {"image": image})
    writer.done()
    writer.merge()
    dataset = StreamingDataset(str(chunks))
    return lambda i, top, left: np.array(dataset[i]["image"][top : top + SIDE, left : left + SIDE])


CONTAINERS = (safetensors_mapped, safetensors_slices, npy, zarr, tensorstore, litdata)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=12)
    parser.add_argument("--crops", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    images = photos(options.photos)
    random = np.random.default_rng(0)
    places = [
        (
            int(random.integers(len(images))),
            int(random.integers(HEIGHT - SIDE)),
            int(random.integers(WIDTH - SIDE)),
        )
        for _ in range(options.crops)
    ]
    with tempfile.TemporaryDirectory() as folder:
        crops: dict[str, Crop] = {}
        for make in CONTAINERS:
            place = Path(folder, make.__name__)
            place.mkdir()
            try:
                crops[make.__name__] = make(images, place)
            except ModuleNotFoundError as error:
                print(f"left out: {make.__name__} ({error})")
        rates: dict[str, list[float]] = {name: [] for name in crops}
        for _ in range(options.rounds):
            for name, crop in crops.items():
                start = time.process_time()
                for i, top, left in places:
                    got = crop(i, top, left)
                rates[name].append(len(places) / (time.process_time() - start))
                if not np.array_equal(got, images[i][top : top + SIDE, left : left + SIDE]):
                    raise SystemExit(f"{name} returned other pixels")
    best = statistics.median(rates["safetensors_mapped"])
    print(f"{len(images)} photos of {WIDTH}×{HEIGHT}, {len(places)} crops of {SIDE}×{SIDE}")
    for name, values in rates.items():
        rate = statistics.median(values)
        print(f"{name:20s} {rate:10.0f} crops per CPU second   {rate / best:6.3f}")


if __name__ == "__main__":
    main()
