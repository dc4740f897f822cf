"""Which LR file belongs to which HR file: by their paths below two folders, never by their order."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from esrgan_lightning.errors import InputError

#: What datasets of the field add to the name of an image for its HR file, and for its LR file at scale {s}.
HR_SUFFIXES = ("", "_HR", "_HR_x{s}", "_SRF_{s}_HR")
LR_SUFFIXES = (
    "", "x{s}", "_x{s}", "_LR", "_LRx{s}", "_LR_x{s}", "_bicLRx{s}", "_LRBI_x{s}", "_SRF_{s}_LR"
)  # fmt: skip


def pair_files(
    hr_files: Sequence[Path],
    lr_files: Sequence[Path],
    hr_folder: Path,
    lr_folder: Path,
    scale: int,
    *,
    hr_suffix: str | None = None,
    lr_suffix: str | None = None,
) -> list[Path]:
    """The LR file of each HR file: the same path below its folder, but for what is added to the name.

    One addition to all HR names and one to all LR names are tried first, then any for each file. Where files
    differ in their format alone (``0.jpg``, ``0.png``), the format tells them apart. LR files that no HR file
    asks for are left over. ``hr_suffix`` and ``lr_suffix`` are what each name ends in, as ``_HR`` and
    ``_bicLRx4``; by default one of ``HR_SUFFIXES`` and of ``LR_SUFFIXES``.

    Raises:
        InputError: an HR file has no LR file, or two have the same.
    """
    ends = [
        (hr, lr)
        for hr, lr in product(
            [end.format(s=scale) for end in HR_SUFFIXES] if hr_suffix is None else [str(hr_suffix)],
            [end.format(s=scale) for end in LR_SUFFIXES] if lr_suffix is None else [str(lr_suffix)],
        )
    ]
    hr_places, lr_places = _places(hr_files, hr_folder), _places(lr_files, lr_folder)
    found: list[Path | None] = []
    for tried in (*([each] for each in ends), ends):
        found = [_partner(path, hr_folder, hr_places, lr_places, tried) for path in hr_files]
        if None not in found and len(set(found)) == len(found):
            return [path for path in found if path]
    uses = Counter(found)
    for path, partner in zip(hr_files, found, strict=True):
        if partner is None:
            names = [f"{name}.*" for name in dict.fromkeys(_names(_place(path, hr_folder), ends))]
            called = f"as {', '.join(names[:2])}{' …' * (len(names) > 2)}" if names else f"for {ends[0][0]}"
            raise InputError(f"{path} has no partner in {lr_folder}, or several, {called}")
        if uses[partner] > 1:
            first, second, *_ = (hr for hr, lr in zip(hr_files, found, strict=True) if lr == partner)
            raise InputError(f"{first} and {second} would both have the LR {partner}: rename one")
    raise AssertionError("unreachable")


def unique_places(files: Sequence[Path], folder: Path) -> list[str]:
    """Their paths below the folder without suffix, or with it where files differ in nothing else."""
    places = _places(files, folder)
    return [
        place if len(places[place := _place(path, folder)]) == 1 else path.relative_to(folder).as_posix()
        for path in files
    ]


def _place(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _places(files: Sequence[Path], folder: Path) -> dict[str, list[Path]]:
    places = defaultdict(list)
    for path in files:
        places[_place(path, folder)].append(path)
    return places


def _names(place: str, ends: Sequence[tuple[str, str]]) -> list[str]:
    """What the LR file of this HR file may be called."""
    return [place.removesuffix(hr) + lr for hr, lr in ends if place.endswith(hr) and Path(place).name != hr]


def _partner(
    path: Path,
    folder: Path,
    hr_places: dict[str, list[Path]],
    lr_places: dict[str, list[Path]],
    ends: Sequence[tuple[str, str]],
) -> Path | None:
    place = _place(path, folder)
    for name in _names(place, ends):
        candidates = lr_places.get(name, [])
        if len(candidates) + len(hr_places[place]) > 2:
            candidates = [each for each in candidates if each.suffix.lower() == path.suffix.lower()]
        if len(candidates) == 1:
            return candidates[0]
    return None
