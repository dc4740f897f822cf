"""``esrgan data``: the images of the literature, fetched, unpacked and checked; packs and shards."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esrgan_lightning.cli.errors import complain, one_line_errors
from esrgan_lightning.errors import InputError

if TYPE_CHECKING:
    from esrgan_lightning.data.catalog.sources import Source


app = typer.Typer(no_args_is_help=True, help="Training and test images: what there is, get it, verify it.")

Root = Annotated[Path, typer.Option("--root", help="Folder that holds a folder per source.")]
Table = Annotated[Path | None, typer.Option("--table", help="A TOML file with sources of your own.")]


@app.command("list")
def show(
    root: Annotated[Path | None, typer.Option("--root", help="Tell which of them lie below it.")] = None,
    table: Table = None,
) -> None:
    """List the sources: how many images, how large a download, under which terms."""
    from rich.console import Console
    from rich.table import Table as Grid

    from esrgan_lightning.data.catalog.install import installed
    from esrgan_lightning.data.catalog.sources import sources

    with one_line_errors("esrgan data list"):
        columns = ["name", "for", "images", "download", "licence", *(["there"] if root else [])]
        grid = Grid(*columns)
        for source in sources(table).values():
            there = [] if root is None else ["yes" if installed(root, source) else "no"]
            grid.add_row(
                source.name, source.purpose, str(source.images), _size(source), source.licence, *there
            )
    Console().print(grid)


@app.command()
def get(
    names: Annotated[list[str], typer.Argument(help="Sources, as `esrgan data list` names them.")],
    root: Root,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    keep_archives: Annotated[bool, typer.Option(help="Keep what was downloaded after unpacking.")] = False,
    path: Annotated[
        list[Path] | None, typer.Option("--path", help="An archive that you have, in place of a download.")
    ] = None,
    table: Table = None,
) -> None:
    """Download sources to ROOT/FOLDER/HR; what is there already is left alone."""
    from esrgan_lightning.data.catalog.install import installed
    from esrgan_lightning.data.catalog.sources import find_source, sources

    with one_line_errors("esrgan data get"):
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
        failed = bool(missing) and not _install_all(missing, root, path or [], keep_archives)
    raise typer.Exit(2 if failed else 0)


def _install_all(missing: "list[Source]", root: Path, given: list[Path], keep: bool) -> bool:
    """Whether all of them could be had."""
    from esrgan_lightning.data.catalog.install import ARCHIVES, install, locked
    from esrgan_lightning.ops.progress import bars

    failed, downloaded = False, list[Path]()
    with locked(root), _interruptible(root), bars() as report:
        try:
            for source in missing:
                try:
                    done = install(source, root, given=given, report=report)
                except InputError as error:  # the others are independent of it; the exit code tells
                    complain("esrgan data get", error)
                    failed = True
                    continue
                typer.echo(f"{source.name}: {source.images} images in {done.folder / 'HR'}")
                downloaded += done.downloaded
        finally:
            # Not before the end: several sources can lie in one archive.
            for archive in () if keep else downloaded:
                archive.unlink(missing_ok=True)
            folder = root / ARCHIVES
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    return not failed


@app.command("verify")
def check(
    what: Annotated[
        list[str] | None, typer.Argument(help="Sources, or packs; without any, all sources that are there.")
    ] = None,
    root: Annotated[Path | None, typer.Option("--root", help="Folder that holds the sources.")] = None,
    table: Table = None,
) -> None:
    """Read every image again: number, lengths, hashes, pixels. Exit code 1 where something is broken."""
    from esrgan_lightning.cli.packs import verify_pack

    faults = []
    with one_line_errors("esrgan data verify"):
        packs = [Path(each) for each in what or () if Path(each).is_file()]
        names = [each for each in what or () if not Path(each).is_file()]
        if root is None and (names or not packs):
            raise InputError("--root is not given: name the folder that holds the sources, or give packs")
        for pack in packs:
            faults += verify_pack(pack)
        if root is not None:
            faults += _verify_sources(names, root, table)
    for fault in faults:
        complain("esrgan data verify", fault)
    raise typer.Exit(1 if faults else 0)


def _verify_sources(names: list[str], root: Path, table: Path | None) -> list[str]:
    from esrgan_lightning.data.catalog.install import folder_of, verify
    from esrgan_lightning.data.catalog.sources import find_source, sources
    from esrgan_lightning.ops.progress import bars

    known, faults = sources(table), []
    wanted = [find_source(name, known) for name in names] if names else list(known.values())
    folders = [(source, folder_of(root, source)) for source in wanted]
    for source, folder in folders:
        if names and folder is None:
            raise InputError(
                f"{source.title} is not below {root}: esrgan data get {source.name} --root {root}"
            )
    present = [(source, folder) for source, folder in folders if folder is not None]
    if not present:
        raise InputError(f"{root} holds none of the sources: esrgan data get NAME --root {root}")
    with bars() as report:
        for source, folder in present:
            found = verify(source, folder, partial(report, f"reading {source.name}", unit="images"))
            faults += found
            typer.echo(f"{source.name}: {'broken' if found else 'whole'}, {folder}")
    return faults


@app.command("pack")
def make_pack(
    sources: Annotated[list[Path], typer.Argument(help="Photos, and folders of them.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The pack: NAME.safetensors.")],
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave damaged images out, list them, and end with 1.")
    ] = False,
    threads: Annotated[int | None, typer.Option(help="That decode (default: one for each core).")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Decode photos once, into one file that training reads crops from. Continues after an interruption."""
    from esrgan_lightning.cli.packs import pack_files

    with one_line_errors("esrgan data pack"), _interruptible(output.parent):
        left_out = pack_files(sources, output, skip_bad=skip_bad, threads=threads, overwrite=overwrite)
    raise typer.Exit(1 if left_out else 0)


@app.command()
def stats(path: Annotated[Path, typer.Argument(help="A pack, or a folder of photos.")]) -> None:
    """Tell how many photos there are, how large, and of a pack its mean colour."""
    from esrgan_lightning.cli.packs import print_stats

    with one_line_errors("esrgan data stats"):
        print_stats(path)


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


@app.command()
def shard(
    packs: Annotated[list[Path], typer.Argument(help="What `esrgan data pack` has made.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="An empty folder for the shards.")],
    tile: Annotated[int, typer.Option(help="Longest side of a tile, in pixels.")] = 480,
    overlap: Annotated[int, typer.Option(help="Pixels that neighbouring tiles have in common.")] = 160,
    chunk_mb: Annotated[float, typer.Option("--chunk-mb", help="About the size of a chunk, in MB.")] = 64.0,
    min_side: Annotated[
        int, typer.Option("--min-side", help="Leave out photos with a shorter side than this.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Of the order of the tiles.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace shards that are there.")] = False,
) -> None:
    """Cut the photos of packs into shuffled chunks of tiles."""
    from esrgan_lightning.data.shards import Shards, write_shards

    with one_line_errors("esrgan data shard"):
        try:
            write_shards(
                packs,
                output,
                tile=tile,
                overlap=overlap,
                chunk_mb=chunk_mb,
                min_side=min_side,
                seed=seed,
                overwrite=overwrite,
            )
        except OSError as error:
            raise InputError(f"{output} cannot be written: {error.strerror}") from error
        tiles, chunks = Shards(output).tiles, list(output.glob("chunk-*.bin"))
    size = sum(path.stat().st_size for path in chunks)
    typer.echo(f"{output}: {tiles} tiles in {len(chunks)} chunks, {size / 1e6:.1f} MB")
