"""One builder for each way of giving photos: what ``data=…`` chooses."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from esrgan_lightning.data.catalog.install import require
from esrgan_lightning.data.datamodule import SRDataModule
from esrgan_lightning.data.packfile import Pack
from esrgan_lightning.data.packing import packed
from esrgan_lightning.data.shards import Shards
from esrgan_lightning.data.sources import (
    HELD_OUT_PHOTOS,
    TRAIN_PHOTOS,
    Folders,
    PackedPhoto,
    Photo,
    PhotoSet,
    color_chart_file,
    embedded_photos,
    folder_pairs,
    folder_photos,
    folders_of,
    hold_out,
    paired_photos,
)
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.files import as_text, cache_folder

logger = logging.getLogger(__name__)


def photos(
    *, train_count: int | None = None, cache_dir: str | Path | None = None, **settings: Any
) -> SRDataModule:
    """``data=photos``: twelve embedded photos and a chart of colours to train on, two held out.

    Args:
        train_count: train on the first of the photos alone, to see what more data gives.
        cache_dir: where the pack is kept.
        **settings: of :class:`SRDataModule`.
    """
    count = len(TRAIN_PHOTOS) if train_count is None else train_count
    if not 1 <= count <= len(TRAIN_PHOTOS):
        raise InputError(f"data.train_count={train_count} must be null or from 1 to {len(TRAIN_PHOTOS)}")
    files = [photo.hr for photo in embedded_photos(TRAIN_PHOTOS[:count])]
    if train_count is None:
        files.append(color_chart_file(cache_folder(cache_dir)))
    train = PhotoSet(packed(files, cache_dir))
    return SRDataModule(train, embedded_photos(HELD_OUT_PHOTOS), **settings)


def folder(
    train_dir: Folders,
    val_dir: Folders | None = None,
    *,
    val_lr: Folders | None = None,
    val_count: int | None = None,
    cache_dir: str | Path | None = None,
    skip_bad: bool = False,
    **settings: Any,
) -> SRDataModule:
    """``data=folder``: HR photos of any folder tree, decoded once into a pack in the cache.

    Args:
        train_dir: HR photos, searched recursively; with a list, ``weights`` says how they mix.
        val_dir: HR photos for validation; without it some of the training photos are held out.
        val_lr: the LR of those in ``val_dir``, as many folders, paired as by :func:`paired`; by default made.
        val_count: how many to hold out; by default one in twenty, at least 1 and at most 10.
        cache_dir: where the packs are kept.
        skip_bad: leave damaged images out.
        **settings: of :class:`SRDataModule`.
    """
    sets = [PhotoSet(packed([each], cache_dir, skip_bad=skip_bad)) for each in folders_of(train_dir)]
    return _module(sets, val_dir, val_lr, val_count, settings)


def packs(
    files: Folders,
    val_dir: Folders | None = None,
    *,
    val_lr: Folders | None = None,
    val_count: int | None = None,
    **settings: Any,
) -> SRDataModule:
    """``data=pack``: ``files`` that ``esrgan data pack`` has made, one or several.

    With several, ``weights`` says how they mix. The rest is as for :func:`folder`.
    """
    sets = [PhotoSet(Pack(each)) for each in folders_of(files)]
    return _module(sets, val_dir, val_lr, val_count, settings)


def downloaded(
    names: Sequence[str],
    root: str | Path,
    *,
    download: bool = False,
    val_name: str = "div2k_valid",
    val_count: int = 10,
    cache_dir: str | Path | None = None,
    skip_bad: bool = False,
    **settings: Any,
) -> SRDataModule:
    """``data=div2k``, ``df2k``, ``df2k_ost``: what ``esrgan data get`` has fetched.

    Args:
        names: of the sources to train on; ``weights`` says how they mix.
        root: where they lie, a folder each.
        download: fetch what is not there.
        val_name: the source for validation.
        val_count: how many of its photos, evenly spaced.
        cache_dir: where the packs are kept; ``ROOT/packs`` by default.
        skip_bad: leave damaged images out.
        **settings: of :class:`SRDataModule`.

    Raises:
        InputError: a source is not there, and the message is the command that fetches it.
    """
    root = Path(root)
    *folders, val_folder = require(root, [*names, val_name], download=download)
    val = folder_photos(val_folder)
    if val_count < len(val):
        val = hold_out(val, val_count)[1]
    sets = [PhotoSet(packed([each], cache_dir or root / "packs", skip_bad=skip_bad)) for each in folders]
    return SRDataModule(sets, val, **settings)


def paired(
    train_hr: Folders,
    train_lr: Folders,
    val_hr: Folders | None = None,
    val_lr: Folders | None = None,
    *,
    hr_suffix: str | None = None,
    lr_suffix: str | None = None,
    scale: int = 4,
    val_count: int | None = None,
    cache_dir: str | Path | None = None,
    skip_bad: bool = False,
    **settings: Any,
) -> SRDataModule:
    """``data=paired``: LR given beside HR, checked for count, paths and sizes before training.

    Args:
        train_hr: HR photos; with several folders, ``weights`` says how they mix.
        train_lr: their LR, as many folders in the same order; the same paths below them but for the suffixes.
        val_hr: the same for validation; without it some of the training photos are held out.
        val_lr: their LR.
        hr_suffix: what HR names end in, as ``_HR``; by default what fits of the field's.
        lr_suffix: what LR names end in, as ``x4``, ``_LR`` or ``_bicLRx4``; likewise.
        scale: s.
        val_count: as for :func:`folder`.
        cache_dir: where the packs are kept.
        skip_bad: leave out the training pairs of which an image is damaged.
        **settings: of :class:`SRDataModule`.
    """
    if (val_hr is None) != (val_lr is None):
        raise InputError("data.val_hr and data.val_lr go together: give both or neither")
    find = partial(paired_photos, scale=scale, hr_suffix=hr_suffix, lr_suffix=lr_suffix)
    folders = folder_pairs(train_hr, train_lr)
    # All are checked before the first is packed. What cannot be read, the packing tells or leaves out.
    found = [find(*each, skip_bad=True) for each in folders]
    val: Sequence[Photo | PackedPhoto] = ()
    if val_hr is not None and val_lr is not None:
        val = find(val_hr, val_lr)
    train = []
    for (hr_folder, lr_folder), pairs in zip(folders, found, strict=True):
        hr, lr = (packed([each], cache_dir, skip_bad=skip_bad) for each in (hr_folder, lr_folder))
        hr_at, lr_at = ({name: i for i, name in enumerate(each.names)} for each in (hr, lr))
        names = [(pair.name, as_text(pair.lr.relative_to(lr_folder))) for pair in pairs if pair.lr]
        whole = [(hr_at[name], lr_at[other]) for name, other in names if name in hr_at and other in lr_at]
        if not whole:
            raise InputError(f"{hr_folder} and {lr_folder} have no pair of which both images can be read")
        if bad := len({*hr.left_out, *lr.left_out}):
            logger.warning("%s: %d pairs are left, %d images are damaged", hr_folder, len(whole), bad)
        train.append(PhotoSet(hr, [place for place, _ in whole], lr, [place for _, place in whole]))
    if val_hr is None:
        train, val = _held_out(train, val_count)
    return SRDataModule(train, val, scale=scale, **settings)


def streaming(
    url: str | Path,
    val_dir: Folders | None = None,
    *,
    endpoint: str | None = None,
    cache_dir: str | Path | None = None,
    max_cache: float = 50.0,
    **settings: Any,
) -> SRDataModule:
    """``data=streaming``: shards of ``esrgan data shard``, in a folder or in object storage.

    Args:
        url: a folder, ``s3://BUCKET/PREFIX`` or ``gs://BUCKET/PREFIX``.
        val_dir: HR photos for validation, in files; without it there is none.
        endpoint: address of an S3-compatible server.
        cache_dir: where downloaded chunks are kept.
        max_cache: the size that litdata keeps these to, in GB.
        **settings: of :class:`SRDataModule`.
    """
    shards = Shards(url, cache_dir, max_cache, endpoint)
    return SRDataModule(shards, folder_photos(val_dir) if val_dir else (), **settings)


def _module(
    sets: Sequence[PhotoSet],
    val_dir: Folders | None,
    val_lr: Folders | None,
    val_count: int | None,
    settings: dict[str, Any],
) -> SRDataModule:
    if val_dir is not None:
        given = None if val_lr is None else paired_photos(val_dir, val_lr, settings.get("scale", 4))
        return SRDataModule(sets, given or folder_photos(val_dir), **settings)
    if val_lr is not None:
        raise InputError(f"data.val_lr={val_lr} is the LR of data.val_dir: give that, too")
    train, val = _held_out(sets, val_count)
    logger.info(
        "data.val_dir is not given: %d of %d photos are held out for validation",
        len(val),
        sum(map(len, sets)),
    )
    return SRDataModule(train, val, **settings)


def _held_out(sets: Sequence[PhotoSet], count: int | None) -> tuple[list[PhotoSet], list[PackedPhoto]]:
    """Training sets without the photos that are held out of them, evenly spaced over all."""
    places = [(number, place) for number, each in enumerate(sets) for place in range(len(each))]
    left, out = hold_out(places, min(10, max(1, len(places) // 20)) if count is None else count)
    train = [each.part([place for number, place in left if number == n]) for n, each in enumerate(sets)]
    val = [each.part([place for number, place in out if number == n]) for n, each in enumerate(sets)]
    return train, [photo for each in val for photo in each.photos()]
