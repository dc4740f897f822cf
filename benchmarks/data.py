"""How many images a second the loader gives, beside the ways of the older toolboxes, in one run.

    python benchmarks/data.py [--photos 12] [--rounds 3] [--seconds 2] [--workers 0 1 2] [--quick]

The same photos (2040×1356, made from the embedded ones) in four shapes: as 480×480 PNG sub-images in folders
and in LMDB, HR and LR (what the toolboxes' scripts make); as 2K PNGs; as a pack. Each way gives random crops
of HR 128 for x4 in batches of 16:

- ``png``, ``lmdb``, ``png 2K``: a sample is two files read, decoded by OpenCV, cropped, flipped, turned, and
  made float32 RGB (C,H,W), as in BasicSR. Written here by the book; ``basicsr`` is the package itself, where
  it is installed (``pip install basicsr lmdb``).
- ``pack``: this library's loader as it is by default: crops as they lie in the photo, with the margin that
  the LR needs; LR, flips, turns and floats are the device's work. ``pack + LR``: the LR is packed as well.
- ``pack, finished``: the same up to float32 in [0,1], LR included, on the CPU that is measured.

CPU seconds are user and system time of the process and of its loader's workers, their start included. Rounds
are interleaved; figures are medians, ratios are medians of the ratio to ``png`` within a round. ``cold``
drops the files from the page cache before each measurement (what the disk itself keeps is out of reach).
"""

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from containers import photos as large_photos
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from esrgan_lightning.data import PatchDataset, PhotoSet, UpdateSampler, pack
from esrgan_lightning.data.crops import degrade_and_augment, normalised
from esrgan_lightning.data.degradations import Bicubic
from esrgan_lightning.ops import imresize

BATCH, PATCH, SCALE, SUB, STEP = 16, 128, 4, 480, 240
Read = Callable[[int], tuple[bytes, bytes]]  # HR and LR file of an index


def decoded(data: bytes) -> np.ndarray[Any, Any]:
    """BGR in [0,1], (H,W,3)."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image.astype(np.float32) / 255


class ToolboxDataset(Dataset[dict[str, Tensor]]):
    """The toolboxes' way: two encoded images for each sample."""

    def __init__(self, count: int, read: Read) -> None:
        self.count, self.read = count, read

    def __len__(self) -> int:
        return 10**9

    def __getitem__(self, n: int) -> dict[str, Tensor]:
        random = np.random.default_rng(n)
        hr, lr = (decoded(data) for data in self.read(n % self.count))
        size = PATCH // SCALE
        top, left = (int(random.integers(length - size + 1)) for length in lr.shape[:2])
        flip, turn = random.integers(2), int(random.integers(4))
        sample = {}
        for key, image, s in (("lr", lr, 1), ("hr", hr, SCALE)):
            crop = image[top * s : (top + size) * s, left * s : (left + size) * s]
            crop = np.rot90(np.asarray(cv2.flip(crop, 1)) if flip else crop, turn)
            sample[key] = torch.from_numpy(
                cv2.cvtColor(crop.copy(), cv2.COLOR_BGR2RGB).transpose(2, 0, 1).copy()
            )
        return sample


def files(folder: Path) -> Read:
    """Pairs of PNG files."""
    hr, lr = (sorted((folder / kind).iterdir()) for kind in ("hr", "lr"))
    return lambda index: (hr[index].read_bytes(), lr[index].read_bytes())


class Lmdb:
    """Pairs of PNGs in two LMDB databases, opened in each process."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._open = folder, {}  # type: ignore[var-annotated]

    def __call__(self, index: int) -> tuple[bytes, bytes]:
        import lmdb

        if os.getpid() not in self._open:
            self._open[os.getpid()] = [
                lmdb.open(str(self.folder / kind), readonly=True, lock=False, readahead=False).begin()
                for kind in ("hr.lmdb", "lr.lmdb")
            ]
        hr, lr = (each.get(f"{index:05d}".encode()) for each in self._open[os.getpid()])
        return hr, lr


def write_pngs(images: Sequence[np.ndarray[Any, Any]], folder: Path) -> int:
    """HR and LR as PNG, at OpenCV's compression 3, as the toolboxes' scripts write them."""
    for kind in ("hr", "lr"):
        (folder / kind).mkdir(parents=True)
    for index, image in enumerate(images):
        small = imresize(torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))), 1 / SCALE)
        for kind, pixels in (("hr", image), ("lr", small.numpy().transpose(1, 2, 0))):
            bgr = np.ascontiguousarray(pixels[..., ::-1])
            cv2.imwrite(str(folder / kind / f"{index:05d}.png"), bgr, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    return len(images)


def write_lmdb(pngs: Path, folder: Path) -> None:
    import lmdb

    for kind in ("hr", "lr"):
        database = lmdb.open(str(folder / f"{kind}.lmdb"), map_size=1 << 34)
        with database.begin(write=True) as transaction:
            for path in (pngs / kind).iterdir():
                transaction.put(path.stem.encode(), path.read_bytes())
        database.close()


def as_it_is(batch: Any) -> Any:
    return batch


def finished(batch: Any) -> Any:
    return normalised(dict(degrade_and_augment(batch, Bicubic(), SCALE)))


class Endless:
    """Sample numbers, batch by batch; the reader stops when it has enough."""

    def __iter__(self) -> Iterator[list[int]]:
        yield from UpdateSampler(batch_size=BATCH, batches=10**9)


def one_thread(_: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def rate(dataset: Dataset[Any], collate: Any, then: Any, workers: int, seconds: float) -> tuple[float, float]:
    """Images per CPU second and per wall second."""
    loader = DataLoader(
        dataset, batch_sampler=Endless(), num_workers=workers, collate_fn=collate, worker_init_fn=one_thread
    )
    usage = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    before = [resource.getrusage(who) for who in usage]
    batches, start = iter(loader), time.perf_counter()
    images, end = 0, 0.0
    while end - start < seconds:
        batch = next(batches)
        then(batch)
        images, end = images + BATCH, time.perf_counter()
    made = images
    if workers:
        made += BATCH * 2 * workers  # prefetched: the workers have (nearly) made them too
        batches._shutdown_workers()  # type: ignore[attr-defined]
    after = [resource.getrusage(who) for who in usage]
    cpu = sum(b.ru_utime + b.ru_stime - a.ru_utime - a.ru_stime for a, b in zip(before, after, strict=True))
    return made / cpu, images / (end - start)


def evict(folder: Path) -> None:
    """Drops the files from the page cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def basicsr_dataset(pngs: Path) -> Dataset[Any]:
    """The toolbox itself; it looks for a module that torchvision no longer has."""
    from torchvision.transforms.functional import rgb_to_grayscale  # type: ignore[import-untyped]

    stand_in = types.ModuleType("torchvision.transforms.functional_tensor")
    stand_in.rgb_to_grayscale = rgb_to_grayscale  # type: ignore[attr-defined]
    sys.modules.setdefault(stand_in.__name__, stand_in)
    from basicsr.data.paired_image_dataset import PairedImageDataset

    options: dict[str, Any] = {
        "dataroot_gt": str(pngs / "hr"),
        "dataroot_lq": str(pngs / "lr"),
        "io_backend": {"type": "disk"},
    }
    options |= {"gt_size": PATCH, "scale": SCALE, "use_hflip": True, "use_rot": True, "phase": "train"}
    dataset = PairedImageDataset(options)

    class Repeated(Dataset[Any]):
        def __getitem__(self, n: int) -> dict[str, Tensor]:
            sample = dataset[n % len(dataset)]
            return {key: sample[key] for key in ("lq", "gt")}

    return Repeated()


def ways(folder: Path, count: int) -> dict[str, tuple[Callable[[], Dataset[Any]], Any, Any]]:
    """Name → how its dataset is made (anew each time), collated, and what is done with a batch."""
    images = large_photos(count)
    parts = [
        image[top : top + SUB, left : left + SUB]
        for image in images
        for top in range(0, image.shape[0] - SUB + 1, STEP)
        for left in range(0, image.shape[1] - SUB + 1, STEP)
    ]
    number = write_pngs(parts, folder / "png")
    write_pngs(images, folder / "png2k")
    hr, lr = (
        pack([folder / "png2k" / kind], folder / f"packs/{kind}.safetensors").path for kind in ("hr", "lr")
    )

    def packed(*, given: bool) -> Dataset[Any]:
        from esrgan_lightning.data import Pack

        photos = PhotoSet(Pack(hr), lr_pack=Pack(lr) if given else None)
        return PatchDataset([photos], patch_size=PATCH, scale=SCALE, degradation=Bicubic())

    collate = torch.utils.data.default_collate
    made: dict[str, tuple[Callable[[], Dataset[Any]], Any, Any]] = {
        "png": (lambda: ToolboxDataset(number, files(folder / "png")), collate, as_it_is),
        "png 2K": (lambda: ToolboxDataset(count, files(folder / "png2k")), collate, as_it_is),
        "pack": (lambda: packed(given=False), as_it_is, as_it_is),
        "pack + LR": (lambda: packed(given=True), as_it_is, as_it_is),
        "pack, finished": (lambda: packed(given=False), as_it_is, finished),
    }
    try:
        write_lmdb(folder / "png", folder / "lmdb_")
        made["lmdb"] = (lambda: ToolboxDataset(number, Lmdb(folder / "lmdb_")), collate, as_it_is)
    except ModuleNotFoundError:
        print("left out: lmdb is not installed")
    try:
        made["basicsr"] = (lambda: basicsr_dataset(folder / "png"), collate, as_it_is)
        basicsr_dataset(folder / "png")
    except ModuleNotFoundError:
        del made["basicsr"]
        print("left out: basicsr is not installed")
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="a few seconds in all: does it still run?")
    options = parser.parse_args()
    if options.quick:
        options.photos, options.rounds, options.seconds, options.workers = 1, 1, 0.2, [0, 1]
    one_thread(0)
    results: dict[tuple[str, int, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "lmdb_").mkdir()
        made = ways(folder, options.photos)
        for _ in range(options.rounds):
            for workers in options.workers:
                for cache in ("warm", "cold"):
                    for way, (dataset, collate, then) in made.items():
                        if cache == "cold":
                            evict(folder)
                        else:
                            rate(dataset(), collate, then, 0, options.seconds / 4)
                        found = rate(dataset(), collate, then, workers, options.seconds)
                        results.setdefault((cache, workers, way), []).append(found)
    print(
        f"{options.photos} photos of 2040×1356, HR {PATCH}, x{SCALE}, batch {BATCH}, {options.rounds} rounds"
    )
    print("| cache | workers | way | images / CPU s | × png | images / wall s | × png |")
    print("|---|---:|---|---:|---:|---:|---:|")
    for (cache, workers, way), rates in sorted(
        results.items(), key=lambda item: (item[0][0] == "cold", item[0][1])
    ):
        base = results[cache, workers, "png"]
        row = [cache, str(workers), way]
        for kind in (0, 1):
            ratio = statistics.median(
                mine[kind] / other[kind] for mine, other in zip(rates, base, strict=True)
            )
            row += [f"{statistics.median(each[kind] for each in rates):,.0f}", f"{ratio:.1f}"]
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
