"""``esrgan data``: the images of the literature, fetched, unpacked and checked; packs and shards."""

import shlex
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esrgan_lightning.cli.errors import Command, complain
from esrgan_lightning.cli.models import Overwrite
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.files import writing
from esrgan_lightning.ops.progress import tracked
from esrgan_lightning.ops.tables import print_table

if TYPE_CHECKING:
    from esrgan_lightning.data.catalog.sources import Source


app = typer.Typer(no_args_is_help=True, help="Training and test images: what there is, get it, verify it.")
command = partial(app.command, cls=Command)

Root = Annotated[Path, typer.Option("--root", help="Folder that holds a folder per source.")]
Table = Annotated[Path | None, typer.Option("--table", help="A TOML file with sources of your own.")]


@command("list")
def show(
    root: Annotated[Path | None, typer.Option("--root", help="Tell which of them lie below it.")] = None,
    table: Table = None,
) -> None:
    """List the sources: how many images, how large a download, under which terms."""
    from esrgan_lightning.data.catalog.install import installed
    from esrgan_lightning.data.catalog.sources import sources

    heads = ["name", "for", "images", "download", "licence", *(["there"] if root else [])]
    rows = []
    for source in sources(table).values():
        there = [] if root is None else ["yes" if installed(root, source) else "no"]
        rows.append([source.name, source.purpose, str(source.images), _size(source), source.licence, *there])
    print_table(heads, rows)


@command()
def get(
    names: Annotated[list[str], typer.Argument(help="Sources, as `esrgan data list` names them.")],
    root: Root,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    keep_archives: Annotated[bool, typer.Option(help="Keep what was downloaded after unpacking.")] = False,
    path: Annotated[
        list[Path] | None,
        typer.Option(
            "--path", help="An archive that you have, in place of a download.", exists=True, dir_okay=False
        ),
    ] = None,
    table: Table = None,
) -> None:
    """Download sources to ROOT/FOLDER/HR; what is there already is left alone."""
    from esrgan_lightning.data.catalog.install import installed
    from esrgan_lightning.data.catalog.sources import find_source, sources

    known = sources(table)
    wanted = list(dict.fromkeys(find_source(name, known) for name in names))
    if path and len(wanted) != 1:
        raise InputError("--path is the archive of one source: name that alone")
    missing = []
    for source in wanted:
        folder = installed(root, source)
        typer.echo(f"{source.name}: there already, {folder}" if folder else _terms(source, root))
        missing += [] if folder else [source]
    if missing and not yes and interactive() and not typer.confirm("Go on?"):
        raise typer.Exit(1)
    if missing and not _install_all(missing, root, path or [], keep_archives):
        raise typer.Exit(2)


def _install_all(missing: "list[Source]", root: Path, given: list[Path], keep: bool) -> bool:
    """Whether all of them could be had."""
    from esrgan_lightning.data.catalog.install import ARCHIVES, install

    failed, downloaded = False, list[Path]()
    with _interruptible(root):
        try:
            for source in missing:
                try:
                    downloaded += install(source, root, given=given)
                except InputError as error:  # the others are independent of it; the exit code tells
                    complain("esrgan data get", error)
                    failed = True
                    continue
                typer.echo(f"{source.name}: {source.images} images in {root / source.folder / 'HR'}")
        finally:
            # Not before the end: several sources can lie in one archive.
            for archive in () if keep else downloaded:
                archive.unlink(missing_ok=True)
            folder = root / ARCHIVES
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    return not failed


@command("verify")
def check(
    what: Annotated[
        list[str] | None, typer.Argument(help="Sources, or packs; without any, all sources that are there.")
    ] = None,
    root: Annotated[Path | None, typer.Option("--root", help="Folder that holds the sources.")] = None,
    table: Table = None,
) -> None:
    """Read every image again: number, lengths, hashes, pixels. Exit code 1 where something is broken."""
    packs = [Path(each) for each in what or () if Path(each).is_file()]
    names = [each for each in what or () if not Path(each).is_file()]
    if root is None and (names or not packs):
        raise InputError("--root is not given: name the folder that holds the sources, or give packs")
    faults = [fault for pack in packs for fault in _verify_pack(pack)]
    if root is not None:
        faults += _verify_sources(names, root, table)
    for fault in faults:
        complain("esrgan data verify", fault)
    if faults:
        raise typer.Exit(1)


def _verify_sources(names: list[str], root: Path, table: Path | None) -> list[str]:
    from esrgan_lightning.data.catalog.install import folder_of, verify
    from esrgan_lightning.data.catalog.sources import find_source, sources

    known, faults, present = sources(table), list[str](), []
    for source in [find_source(name, known) for name in names] or known.values():
        if folder := folder_of(root, source):
            present.append((source, folder))
        elif names:
            raise InputError(
                f"{source.title} is not below {root}: esrgan data get {source.name} --root {root}"
            )
    if not present:
        raise InputError(f"{root} holds none of the sources: esrgan data get NAME --root {root}")
    for source, folder in present:
        found = verify(source, folder)
        faults += found
        typer.echo(f"{source.name}: {'broken' if found else 'whole'}, {folder}")
    return faults


def _verify_pack(path: Path) -> list[str]:
    """A line for each photo whose bytes differ from its hash."""
    from esrgan_lightning.data import Pack

    found = Pack(path)
    checked = tracked(found.damaged(), path.name, len(found))
    faults = [f"{path}: {name} is damaged; make the pack again" for name, damaged in checked if damaged]
    typer.echo(f"{path}: {'broken' if faults else 'whole'}, {len(found)} photos")
    return faults


@command("pack")
def make_pack(
    sources: Annotated[list[Path], typer.Argument(help="Photos, and folders of them.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The pack: NAME.safetensors.")],
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave damaged images out, list them, and end with 1.")
    ] = False,
    threads: Annotated[int | None, typer.Option(help="That decode (default: one for each core).")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Decode photos once, into one file that training reads crops from. Continues after an interruption."""
    from esrgan_lightning.data import pack

    with _interruptible(output.parent), writing(output, "; what is done is kept"):
        made = pack(sources, output, skip_bad=skip_bad, threads=threads, overwrite=overwrite)
    typer.echo(f"{output}: {len(made)} photos, {output.stat().st_size / 1e6:.1f} MB")
    if made.left_out:
        raise typer.Exit(1)


@command()
def shard(
    packs: Annotated[list[Path], typer.Argument(help="What `esrgan data pack` has made.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="An empty folder for the shards.")],
    tile: Annotated[int, typer.Option(help="Longest side of a tile, in pixels.")] = 480,
    overlap: Annotated[int, typer.Option(help="Pixels that neighbouring tiles have in common.")] = 160,
    chunk_mb: Annotated[float, typer.Option("--chunk-mb", help="About the size of a chunk, in MB.")] = 64.0,
    min_side: Annotated[int, typer.Option(help="Leave out photos with a shorter side than this.")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Cut the photos of packs into shuffled chunks of tiles."""
    from esrgan_lightning.data.shards import Shards, write_shards

    cut = {"tile": tile, "overlap": overlap, "min_side": min_side}
    with writing(output):
        write_shards(packs, output, **cut, chunk_mb=chunk_mb, overwrite=overwrite)
    tiles, sizes = Shards(output).tiles, [path.stat().st_size for path in output.glob("chunk-*.bin")]
    typer.echo(f"{output}: {tiles} tiles in {len(sizes)} chunks, {sum(sizes) / 1e6:.1f} MB")


@command()
def stats(path: Annotated[Path, typer.Argument(help="A pack, or a folder of photos.")]) -> None:
    """Tell how many photos there are, and how large."""
    from esrgan_lightning.data import Pack
    from esrgan_lightning.ops import image_size, list_images

    found = Pack(path).sizes.tolist() if path.is_file() else map(image_size, list_images(path))
    sizes = [(height, width) for height, width in found]
    pixels = [height * width for height, width in sizes]
    rows = [
        ("photos", str(len(sizes))),
        ("megapixels", f"{sum(pixels) / 1e6:.1f}"),
        ("as a pack", f"{3 * sum(pixels) / 1e6:.1f} MB"),
    ]
    for label, choose in (("smallest", min), ("median", statistics.median_low), ("largest", max)):
        height, width = sizes[pixels.index(choose(pixels))]
        rows.append((label, f"{height}×{width} (H×W)"))
    for patch in (128, 192, 256):
        rows.append((f"smaller than patch {patch}", str(sum(min(size) < patch for size in sizes))))
    print_table(["", str(path)], rows)


def interactive() -> bool:
    """Whether somebody is there to answer a question."""
    return sys.stdin.isatty()


def _size(source: "Source") -> str:
    offer = source.offers[0]
    if not offer.automatic:
        return "by hand"
    return "unknown" if offer.size is None else f"{offer.size / 1e6:,.0f} MB"


def _terms(source: "Source", root: Path) -> str:
    offer = source.offers[0]
    files = ", ".join(url for archive in offer.archives for url in archive.urls[:1] or [archive.file])
    return "\n".join(
        (
            f"{source.name}: {source.title}, {source.images} images, to {root / source.folder}",
            f"  from      {files} ({offer.origin or 'see the page'}; {_size(source)})",
            f"  licence   {source.licence}",
            f"  citation  {source.citation}",
            f"  page      {source.page}",
        )
    )


@contextmanager
def _interruptible(root: Path) -> Iterator[None]:
    """Within the block Ctrl-C ends with the command that goes on from there."""
    try:
        yield
    except KeyboardInterrupt:
        again = shlex.join(["esrgan", *sys.argv[1:]])
        complain("esrgan data", f"interrupted; what is done stays in {root}. To go on: {again}")
        sys.exit(130)
