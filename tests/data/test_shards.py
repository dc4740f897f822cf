"""An index or a chunk that no writer would make is refused by name: both come from outside."""

import copy
import json

import numpy as np
import pytest

from esrgan_lightning.data.shards import FORMAT, Chunk, ChunkInfo, ShardIndex
from esrgan_lightning.errors import InputError

GOOD = {
    "chunks": [
        {"filename": f"chunk-0-{n}.bin", "chunk_bytes": 1000, "chunk_size": 2, "sha256": "0" * 63 + str(n)}
        for n in range(2)
    ],
    "config": {
        "compression": None,
        "esrgan_lightning": {"format": FORMAT, "tile": 768, "overlap": 160, "smallest": 200},
    },
}


def parse(found):
    return ShardIndex.parse("s3://b/index.json", json.dumps(found).encode())


def changed(*path, value):
    found = copy.deepcopy(GOOD)
    inside = found
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    return found


def test_a_good_index_is_read():
    index = parse(GOOD)
    assert [(each.name, each.bytes, each.tiles) for each in index.chunks] == [
        ("chunk-0-0.bin", 1000, 2),
        ("chunk-0-1.bin", 1000, 2),
    ]
    assert (index.tile, index.overlap, index.smallest) == (768, 160, 200)
    assert index.digest() != parse(changed("chunks", 0, "sha256", value="f" * 64)).digest()


@pytest.mark.parametrize(
    "found",
    [
        *(
            changed("chunks", 0, "filename", value=name)
            for name in (
                "../chunk-0-0.bin",
                "/etc/passwd",
                "chunk-0-0.bin/x",
                "index.json",
                "chunk-0-1.bin",
                3,
            )
        ),
        *(changed("chunks", 0, "chunk_bytes", value=size) for size in (0, -1, 2**33, 1.5, "9", True, None)),
        *(changed("chunks", 0, "chunk_size", value=size) for size in (0, -2, 10**6, None)),
        *(changed("chunks", 0, "sha256", value=text) for text in ("", "g" * 64, None)),
        *(changed("chunks", value=value) for value in ([], {}, 7, [1], None)),
        *(changed("config", "esrgan_lightning", "tile", value=value) for value in ("x", -1, 2**40, None)),
        changed("config", "esrgan_lightning", "format", value="esrgan-lightning shards 9"),
        changed("config", "esrgan_lightning", value=None),
        changed("config", "compression", value="zstd"),
        changed("config", value={}),
        [],
        "text",
    ],
)
def test_a_strange_index_is_refused(found):
    """Breaks if a name is used as a path, or a size for memory, before it has been looked at."""
    with pytest.raises(InputError, match=r"s3://b/index\.json"):
        parse(found)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_an_index_that_is_no_json_is_refused(text):
    with pytest.raises(InputError, match=r"s3://b/index\.json"):
        ShardIndex.parse("s3://b/index.json", text)


def item(pixels=None, kind=4, axes=3, shape=(2, 3, 3), place=(0, 0, 8, 8), lengths=None, name=b"a"):
    pixels = bytes(range(18)) if pixels is None else pixels
    lengths = lengths or (20 + len(pixels), len(name), 32)
    head = np.array([*lengths, kind, axes, *shape], "<u4").tobytes()
    return head + pixels + name + np.array(place, "<i8").tobytes()


def chunk(*items, tiles=None, offsets=None):
    ends = 4 * (len(items) + 2) + np.cumsum([0, *map(len, items)])
    data = np.array([len(items), *(ends if offsets is None else offsets)], "<u4").tobytes() + b"".join(items)
    info = ChunkInfo("chunk-0-0.bin", len(data), tiles or len(items), "0" * 64)
    return Chunk(np.frombuffer(data, np.uint8), info, "here/chunk-0-0.bin")


def test_a_tile_is_read_as_it_was_written():
    tile = chunk(item(), item(name="ü".encode(), place=(1, 2, 3, 5))).tile(1)
    assert np.array_equal(tile.pixels, np.arange(18).reshape(2, 3, 3))
    assert tile[1:] == ("ü", 1, 2, 3, 5)


@pytest.mark.parametrize(
    "bad",
    [
        item(kind=14),  # an array of objects, which would be unpickled
        item(axes=2),
        item(shape=(2, 3, 4)),
        item(shape=(2**31, 3, 3)),
        item(shape=(3, 3, 3)),
        item(lengths=(38, 1, 31)),
        item(lengths=(2**32 - 1, 1, 32)),
        item(place=(7, 0, 8, 8)),
        item(place=(-1, 0, 8, 8)),
        item(place=(0, 2**62, 8, 8)),
    ],
)
def test_an_item_that_is_no_tile_is_refused(bad):
    """Breaks if lengths out of the file are believed."""
    with pytest.raises(InputError, match=r"here/chunk-0-0.bin is damaged: its item 1"):
        chunk(item(), bad).tile(1)


@pytest.mark.parametrize(
    ("tiles", "offsets"), [(3, None), (None, [16, 8, 175]), (None, [17, 95, 174]), (None, [16, 20, 174])]
)
def test_a_table_that_does_not_fit_is_refused(tiles, offsets):
    with pytest.raises(InputError, match=r"here/chunk-0-0.bin is damaged: its table"):
        chunk(item(), item(), tiles=tiles, offsets=offsets)
