"""A source of three images, as an archive and as a table."""

import io
import json
import zipfile

import numpy as np
from PIL import Image

from esrgan_lightning.data.catalog.sources import Archive, Member, Offer, Source

MEMBERS = (
    Member("HR", r".*/hr/(\w+)\.png", r"\1.png"),
    Member("LRbicx2", r".*/lr/(\w+)\.png", r"\1.png"),
)


def png(height, width, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


HR = {f"top/hr/{name}.png": png(21, 31, seed) for seed, name in enumerate("abc")}
LR = {f"top/lr/{name}.png": png(10, 15, seed) for seed, name in enumerate("abc")}


def zipped(files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def source(*offers, **options):
    values = {
        "name": "tiny",
        "title": "Tiny",
        "folder": "Tiny",
        "purpose": "test",
        "images": 3,
        "licence": "CC0",
        "citation": "nobody 2000",
        "page": "https://example.org",
        "members": MEMBERS,
        "offers": offers or (Offer((Archive("tiny.zip"),)),),
        "shorter": (20, 25),
        "longer": (30, 35),
    }
    return Source(**{**values, **options})


def at(url, file="tiny.zip", **options):
    return Offer((Archive(file, (url,), **options),))


def toml(name, source):
    """A table of strings, numbers and lists as TOML, whose notation for these is JSON's."""
    lines = [
        f"[{name}]",
        *_pairs({key: value for key, value in source.items() if key not in ("members", "offers")}),
    ]
    for member in source["members"]:
        lines += [f"[[{name}.members]]", *_pairs(member)]
    for offer in source["offers"]:
        lines += [f"[[{name}.offers]]"]
        for archive in offer["archives"]:
            lines += [f"[[{name}.offers.archives]]", *_pairs(archive)]
    return "\n".join(lines) + "\n"


def _pairs(table):
    return [
        f"{key} = {json.dumps(value, default=lambda it: it.pattern)}"
        for key, value in table.items()
        if value is not None
    ]
