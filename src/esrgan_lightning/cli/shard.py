"""``esrgan data shard``: packs as shards for training on many machines."""

from pathlib import Path
from typing import Annotated

import typer

from esrgan_lightning.cli.errors import one_line_errors
from esrgan_lightning.errors import InputError


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
