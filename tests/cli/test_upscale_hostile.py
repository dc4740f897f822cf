"""Files that are broken, hostile or merely odd: each is named in a line or comes out right, alone."""

import json
import os
import random
import struct
import subprocess
import sys
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import torch.nn.functional as F
from PIL import Image, ImageCms
from raw_images import ADAM7, chunk
from torch import nn

from esrgan_lightning import Upscaler
from esrgan_lightning.cli.targets import targets
from esrgan_lightning.cli.upscaling import Job, upscale_files
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import read_image
from esrgan_lightning.ops.encode import encode_image

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EXIF = b"Exif\0\0MM\0*"
TURNED_99 = b"\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0c\0\0" + bytes(4)
BLACK = zlib.compress(bytes(72))  # 8×8 pixels of gray in a PNG
FORMATS = {
    "png": ("PNG", {}),
    "jpg": ("JPEG", {"quality": 90}),
    "progressive.jpg": ("JPEG", {"progressive": True}),
    "webp": ("WEBP", {"lossless": True}),
    "lossy.webp": ("WEBP", {}),
    "bmp": ("BMP", {}),
    "tif": ("TIFF", {}),
    "lzw.tif": ("TIFF", {"compression": "tiff_lzw"}),
    "avif": ("AVIF", {}),
    "gif": ("GIF", {}),
    "ppm": ("PPM", {}),
}


class Doubling(nn.Module):
    scale = 2

    def forward(self, x):
        return F.interpolate(x, scale_factor=2, mode="nearest")


def photo(mode="RGB", size=(40, 32)):
    levels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(levels).convert(mode)


def saved(image, kind, **options):
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(width, height, *, depth=8, color=2, interlace=0, extra=b"", data=b""):
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def frames(kind):
    return saved(photo(), kind, save_all=True, append_images=[photo("L").convert("RGB")] * 2)


def interlaced():
    """Adam7 by hand, 8×8 gray: seven passes, each row behind the number of its filter."""
    image = np.arange(64, dtype=np.uint8).reshape(8, 8) * 3
    rows = [image[top::down, left::right] for top, left, down, right in ADAM7]
    data = b"".join(b"\0" + row.tobytes() for part in rows for row in part)
    return png(8, 8, color=0, interlace=1, data=zlib.compress(data))


def tiff(array, **options):
    file = BytesIO()
    tifffile.imwrite(file, array, metadata=None, **options)
    return file.getvalue()


def deep(channels, suffix):
    levels = np.random.default_rng(1).integers(0, 65536, (8, 8, channels), np.uint16)
    return encode_image(torch.from_numpy(levels).permute(2, 0, 1), suffix)


def planes():
    """The channels of 16 bits one after the other, in strips."""
    levels = np.random.default_rng(1).integers(0, 65536, (3, 32, 40), np.uint16)
    options = {"photometric": "rgb", "planarconfig": "separate", "rowsperstrip": 5}
    return tiff(levels, **options)


def samples():
    """A file of each format."""
    return {name: saved(photo(), kind, **options) for name, (kind, options) in FORMATS.items()} | {
        "planes.tif": planes()
    }


def truncated():
    """Each format, cut at twelve places."""
    for name, data in samples().items():
        for n in range(12):
            yield f"cut_{n}.{name}", data[: len(data) * n // 12]
        # Decoders forgive what they do not need: one byte short must be read or named, not half of it.
        yield f"cut_last.{name}", data[:-1]


def mutated():
    """Each format with bytes changed by chance, in the header above all."""
    chance = random.Random(0)
    for name, data in samples().items():
        for n in range(8):
            changed = bytearray(data)
            for _ in range(1 + n):
                changed[chance.randrange(min(len(data), 64 if n % 2 else len(data)))] = chance.randrange(256)
            yield f"changed_{n}.{name}", bytes(changed)


REFUSED = {
    "empty.png": b"",
    "empty.jpg": b"",
    "nul.png": bytes(1000),
    "nul.tif": bytes(1000),
    "text.png": b"hello\n",
    "page.jpg": b"<html><body>404</body></html>",
    "vector.png": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
    "script.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "zip.png": b"PK\x03\x04" + bytes(60),
    "signature.png": b"\x89PNG\r\n\x1a\n",
    "no_pixels.png": png(0, 0),
    "no_width.png": png(0, 8),
    "no_data.png": png(8, 8),
    "bomb.png": png(60000, 60000),
    "largest.png": png(2**31 - 1, 2**31 - 1),
    "beyond.png": png(2**31, 2**31),
    "deep_bomb.png": png(30000, 30000, depth=16),
    "short_data.png": png(64, 64, data=zlib.compress(bytes(100))),
    "depth.png": png(8, 8, depth=7, data=zlib.compress(bytes(300))),
    "color.png": png(8, 8, color=5, data=zlib.compress(bytes(300))),
    "no_palette_16.png": png(8, 8, depth=16, color=3, data=zlib.compress(bytes(300))),
    "not_deflate.png": png(8, 8, data=b"this is not deflated"),
    "float.tif": tiff(np.zeros((8, 8), np.float32)),
    "float_rgb.tif": tiff(np.zeros((8, 8, 3), np.float32), photometric="rgb"),
    "double.tif": tiff(np.zeros((8, 8), np.float64)),
    "int32.tif": tiff(np.zeros((8, 8), np.int32)),
    "signed16.tif": tiff(np.zeros((8, 8), np.int16)),
    "complex.tif": tiff(np.zeros((8, 8), np.complex64)),
    "gray_alpha_16.tif": tiff(
        np.zeros((8, 8, 2), np.uint16),
        photometric="minisblack",
        extrasamples=["unassalpha"],
        planarconfig="contig",
    ),
    "five.tif": tiff(np.zeros((8, 8, 5), np.uint16), photometric="rgb", extrasamples=[0, 0]),
    "header.tif": b"II*\0\x08\0\0\0",
    "loop.tif": b"II*\0\x08\0\0\0\x00\x00\x08\0\0\0",
    "far.tif": b"II*\0\xff\xff\xff\x7f",
    "header.bmp": b"BM" + bytes(52),
    "huge.bmp": b"BM"
    + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24, *[0] * 6),
    "riff.webp": b"RIFF\xff\xff\xff\xffWEBPVP8 ",
    "start.jpg": b"\xff\xd8\xff",
    "ends.jpg": b"\xff\xd8\xff\xd9",
    "no_scan.jpg": b"\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff\3\1\x11\0\2\x11\1\3\x11\1\xff\xd9",
    "box.avif": struct.pack(">I", 24) + b"ftypavif" + bytes(12),
}

READ = {  # what comes out right, with its channels
    "cmyk.jpg": (saved(photo("CMYK"), "JPEG"), 3),
    "cmyk.tif": (saved(photo("CMYK"), "TIFF"), 3),
    "bilevel.png": (saved(photo("1"), "PNG"), 1),
    "bilevel.tif": (saved(photo("1"), "TIFF", compression="group4"), 1),
    "bilevel.bmp": (saved(photo("1"), "BMP"), 1),
    "gray.jpg": (saved(photo("L"), "JPEG"), 1),
    "gray_alpha.png": (saved(photo("LA"), "PNG"), 2),
    "palette.png": (saved(photo("P"), "PNG"), 3),
    "palette_clear.png": (saved(photo("P"), "PNG", transparency=3), 4),
    "palette.bmp": (saved(photo("P"), "BMP"), 3),
    "one_colour_clear.png": (saved(photo(), "PNG", transparency=(1, 2, 3)), 4),
    # Uncompressed ones Pillow 12 writes and cannot read.
    "ycbcr.tif": (saved(photo("RGB").convert("YCbCr"), "TIFF", compression="tiff_lzw"), 3),
    "animation.gif": (frames("GIF"), 3),
    "gif.png": (frames("GIF"), 3),
    "planes.tif": (planes(), 3),
    "deep.ppm": (b"P6 2 1 65535 " + bytes(12), 3),
    "animated.webp": (frames("WEBP"), 3),
    "animated.png": (frames("PNG"), 3),
    "pages.tif": (frames("TIFF"), 3),
    "two.jpg": (frames("MPO"), 3),
    "interlaced.png": (interlaced(), 1),
    "wrong_suffix.png": (saved(photo(), "JPEG"), 3),
    "wrong_suffix.jpg": (saved(photo(), "PNG"), 3),
    "wrong_suffix.tif": (saved(photo(), "WEBP"), 3),
    "one_pixel.png": (saved(photo(size=(1, 1)), "PNG"), 3),
    "one_row.png": (saved(photo(size=(300, 1)), "PNG"), 3),
    "wide.png": (saved(Image.new("L", (65500, 1)), "PNG"), 1),
    "wide.jpg": (saved(Image.new("L", (65500, 8)), "JPEG"), 1),
    "tall.tif": (saved(Image.new("RGB", (2, 65500)), "TIFF"), 3),
    "exif_garbage.jpg": (saved(photo(), "JPEG", exif=EXIF + b"\xff\xff\xff\xff" + bytes(9)), 3),
    "orientation_99.jpg": (saved(photo(), "JPEG", exif=EXIF + TURNED_99), 3),
    "icc_garbage.png": (saved(photo(), "PNG", icc_profile=b"garbage" * 50), 3),
    "icc_short.jpg": (saved(photo(), "JPEG", icc_profile=SRGB[:200]), 3),
    "icc_gray.tif": (saved(photo(), "TIFF", icc_profile=SRGB[:16] + b"GRAY" + SRGB[20:]), 3),
    "text_chunk.png": (png(8, 8, color=0, extra=chunk(b"tEXt", b"a\0" + b"b" * 9999), data=BLACK), 1),
    "unknown_chunk.png": (png(8, 8, color=0, extra=chunk(b"abCd", bytes(99)), data=BLACK), 1),
    "more_behind.jpg": (saved(photo(), "JPEG") + b"PK\x03\x04" + bytes(999), 3),
    **{f"deep_{c}.png": (deep(c, ".png"), c) for c in (1, 2, 3, 4)},
    **{f"deep_{c}.tif": (deep(c, ".tif"), c) for c in (1, 3, 4)},
    "big.tif": (tiff(np.zeros((8, 8, 3), np.uint16), photometric="rgb", bigtiff=True), 3),
    "no name, spaces & ünïcödé.png": (saved(photo(), "PNG"), 3),
    "-dash.png": (saved(photo(), "PNG"), 3),
    "name[1].png": (saved(photo(), "PNG"), 3),
}  # fmt: skip

UNKNOWN = dict([*truncated(), *mutated()])


@pytest.fixture(scope="module")
def upscaler():
    return Upscaler(Doubling(), tile=None)


def run(upscaler, folder, out, capfd, *more):
    """The exit code, and the lines on stderr."""
    capfd.readouterr()
    code = upscale_files(upscaler, targets([*sorted(folder.iterdir()), *more], out, ""), Job(".png"))
    captured = capfd.readouterr()
    assert "Traceback" not in captured.err
    assert [path for path in out.rglob("*") if path.suffix != ".png"] == [], "a leftover"
    # libtiff writes to the terminal by itself, and calls its input so.
    return code, [line for line in captured.err.splitlines() if not line.startswith("tempfile.tif: ")]


def placed(folder, name, data):
    """The file between two good ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for good in ("0_first.png", "zz_last.png"):
        (folder / good).write_bytes(saved(photo(), "PNG"))
    (folder / name).write_bytes(data)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_image_is_named_and_costs_nothing_else(name, upscaler, tmp_path, capfd):
    placed(tmp_path / "in", name, REFUSED[name])
    code, lines = run(upscaler, tmp_path / "in", tmp_path / "out", capfd)
    assert code == 1
    assert len(lines) == 2, lines
    assert lines[0].startswith("esrgan upscale: ")
    assert name in lines[0]
    assert lines[1] == "esrgan upscale: 1 of 3 images failed"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"0_first.png", "zz_last.png"}


@pytest.mark.parametrize("name", READ)
def test_what_is_only_odd_comes_out_right(name, upscaler, tmp_path, capfd):
    data, channels = READ[name]
    placed(tmp_path / "in", name, data)
    code, lines = run(upscaler, tmp_path / "in", tmp_path / "out", capfd)
    assert code == 0, lines
    assert all(name in line for line in lines), "a note names its file"
    found = read_image((tmp_path / "out" / name).with_suffix(".png"))
    source = read_image(tmp_path / "in" / name)
    assert found.shape[0] == channels
    assert found.dtype is source.dtype
    if channels in (1, 3):
        doubled = source.int().repeat_interleave(2, -1).repeat_interleave(2, -2)
        assert torch.equal(found.int(), doubled)


@pytest.mark.parametrize("name", UNKNOWN)
def test_damage_is_named_or_does_no_harm(name, upscaler, tmp_path, capfd):
    """A decoder may forgive a byte; a result is then of the size that it tells, and never half a file."""
    placed(tmp_path / "in", name, UNKNOWN[name])
    code, lines = run(upscaler, tmp_path / "in", tmp_path / "out", capfd)
    result = (tmp_path / "out" / name).with_suffix(".png")
    assert result.exists() == (code == 0)
    assert all(name in line for line in lines[: len(lines) - code]), lines
    if name.startswith("cut_") and not name.startswith("cut_last"):
        assert code == 1, "a part of a picture was taken for the whole"
    if code == 0:
        height, width = read_image(tmp_path / "in" / name).shape[-2:]
        assert read_image(result).shape[-2:] == (2 * height, 2 * width)


def link(path, to):
    path.symlink_to(to)


ODD_FILES = {
    "loop.png": lambda path: (link(path, "other.png"), link(path.with_name("other.png"), "loop.png")),
    "self.png": lambda path: link(path, path.name),
    "broken.png": lambda path: link(path, "nowhere.png"),
    "pipe.png": os.mkfifo,
    "device.png": lambda path: link(path, "/dev/zero"),
}


@pytest.mark.parametrize("name", ODD_FILES)
def test_what_is_no_file_is_named(name, upscaler, tmp_path, capfd):
    """A pipe or a device would be waited for, or read, for ever."""
    placed(tmp_path / "in", "good.png", saved(photo(), "PNG"))
    ODD_FILES[name](tmp_path / "in" / name)
    code, lines = run(upscaler, tmp_path / "in", tmp_path / "out", capfd)
    assert code == 1
    assert any(name in line for line in lines[:-1])
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_a_folder_where_a_result_belongs_is_named(upscaler, tmp_path, capfd):
    placed(tmp_path / "in", "a.png", saved(photo(), "PNG"))
    (tmp_path / "out/a.png/inside.png").mkdir(parents=True)
    code, lines = run(upscaler, tmp_path / "in", tmp_path / "out", capfd)
    assert (code, "a.png cannot be written: " in lines[0]) == (1, True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "0_first.png", "a.png", "zz_last.png",
    ]  # fmt: skip


def test_links_in_a_ring_of_folders_come_to_an_end(upscaler, tmp_path, capfd):
    placed(tmp_path / "in", "a.png", saved(photo(), "PNG"))
    link(tmp_path / "in/again", tmp_path / "in")
    pairs = targets([tmp_path / "in"], tmp_path / "out", "")
    assert upscale_files(upscaler, pairs, Job(".png")) == 0
    assert len(list((tmp_path / "out").rglob("*.png"))) == 3


def test_no_permission_to_read_is_named_whoever_runs_this(upscaler, tmp_path, capfd, monkeypatch):
    placed(tmp_path / "in", "a.png", saved(photo(), "PNG"))
    real = Path.open

    def refusing(path, *arguments, **options):
        if path.name == "a.png":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refusing)
    code, lines = run(upscaler, tmp_path / "in", tmp_path / "out", capfd)
    assert code == 1
    assert "a.png may not be read: Permission denied" in lines[0]


def test_names_that_no_file_can_have_and_a_broken_link_as_output_are_refused(tmp_path):
    placed(tmp_path / "in", "a.png", saved(photo(), "PNG"))
    link(tmp_path / "out", tmp_path / "out")
    for given, told in (
        (tmp_path / ("x" * 300 + ".png"), "cannot be looked at: File name too long"),
        (tmp_path / ("x" * 5000), "cannot be looked at: File name too long"),
        (tmp_path / "in", "leads nowhere"),
    ):
        with pytest.raises(InputError, match=told):
            targets([given], tmp_path / "out" if given.name == "in" else tmp_path, "_")


def test_names_that_are_no_utf_8_and_a_stdout_that_is_ascii(tmp_path):
    """Breaks if such a name ends the command when it is printed, or written to the manifest."""
    name = os.fsdecode(b"lat\xe9in.png")
    Image.new("L", (8, 8)).save(tmp_path / "x.png")
    try:
        (tmp_path / "x.png").rename(tmp_path / name)
    except OSError:
        pytest.skip("this file system has no such names")
    (tmp_path / "\u2603.png").write_bytes((tmp_path / name).read_bytes())
    command = "from esrgan_lightning.cli.app import main; main()"
    words = ["upscale", tmp_path, "-o", tmp_path / "out", "--manifest", tmp_path / "m.jsonl"]
    done = subprocess.run(
        [sys.executable, "-c", command, *words],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"lat\udce9in.png" in done.stdout
    records = [json.loads(line) for line in (tmp_path / "m.jsonl").read_text("utf-8").splitlines()]
    assert {Path(each["output"]).name for each in records} == {name, "\u2603.png"}
