"""Image files: every depth and kind, damage, orientation, atomic writes."""

import struct

import numpy as np
import pytest
import torch
from PIL import Image
from raw_images import TURNS, chunk

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import codecs, image_size, read_image, read_rgb, write_image


def pixels(channels, dtype, height=9, width=13):
    levels = torch.randint(0, 256 if dtype is torch.uint8 else 65536, (channels, height, width))
    return levels.to(torch.int32).to(dtype)


LOSSLESS = [
    *((suffix, c, torch.uint8) for suffix in (".png", ".tif", ".tiff") for c in (1, 2, 3, 4)),
    *((".png", c, torch.uint16) for c in (1, 2, 3, 4)),
    *((".tif", c, torch.uint16) for c in (1, 3, 4)),
    *((".bmp", c, torch.uint8) for c in (1, 3)),
    *((".webp", c, torch.uint8) for c in (3, 4)),
]


@pytest.mark.parametrize(("suffix", "channels", "dtype"), LOSSLESS)
def test_what_is_written_is_read_back_exactly(tmp_path, suffix, channels, dtype):
    """Swapped colours, a lost alpha, gray made RGB or 16 bits made 8 would each show."""
    image = pixels(channels, dtype)
    if channels in (2, 4) and suffix == ".webp":
        image[-1].clamp_(min=1)  # colours under full transparency are not kept by WebP
    write_image(tmp_path / f"x{suffix}", image)
    back = read_image(tmp_path / f"x{suffix}")
    assert back.dtype is dtype
    assert torch.equal(back, image)
    assert image_size(tmp_path / f"x{suffix}") == (9, 13)


def test_jpeg_is_close_and_keeps_the_resolution_of_colour(tmp_path):
    """Single red columns would be grey-brown with halved colour (4:2:0)."""
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    image[0, :, ::2] = 255
    write_image(tmp_path / "x.jpg", image)
    assert (read_image(tmp_path / "x.jpg").int() - image.int()).abs().float().mean() < 4
    gray = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    write_image(tmp_path / "gray.jpeg", gray)
    assert read_image(tmp_path / "gray.jpeg").shape == (1, 16, 16)


@pytest.mark.parametrize(
    ("suffix", "settings"),
    [
        (".jpg", {"quality": 95, "subsampling": "4:4:4"}),
        (".avif", {"quality": 90, "subsampling": "4:4:4"}),
        (".webp", {"lossless": True}),
    ],
)
def test_the_documented_default_of_each_lossy_format(tmp_path, suffix, settings):
    """Breaks if a file is smaller, or larger, than `esrgan upscale` has always made it."""
    image = pixels(3, torch.uint8, 64, 48)
    write_image(tmp_path / f"ours{suffix}", image)
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / f"theirs{suffix}", **settings)
    ours, theirs = (tmp_path / f"{name}{suffix}" for name in ("ours", "theirs"))
    assert ours.read_bytes() == theirs.read_bytes()


def test_palettes_become_rgb_or_rgba(tmp_path):
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.putpixel((1, 0), 1)
    picture.save(tmp_path / "opaque.png")
    picture.save(tmp_path / "clear.png", transparency=1)
    assert read_image(tmp_path / "opaque.png")[:, 0].T.tolist() == [[10, 20, 30], [40, 50, 60]]
    assert read_image(tmp_path / "clear.png")[:, 0].T.tolist() == [[10, 20, 30, 255], [40, 50, 60, 0]]


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize(
    ("suffix", "channels"), [(".png", 3), (".webp", 3), (".tif", 1), (".tif", 3), (".tif", 4), (".tif", 16)]
)
def test_orientation_is_applied_once(tmp_path, orientation, suffix, channels):
    """The decoders turn TIFF themselves, PNG and WebP not; Pillow misreads a turned TIFF by its path."""
    deep = channels == 16
    lying = (
        pixels(1 if deep else channels, torch.uint16 if deep else torch.uint8, 4, 6).permute(1, 2, 0).numpy()
    )
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(lying[..., 0] if lying.shape[2] == 1 else lying)
    picture.save(tmp_path / f"x{suffix}", exif=exif, **({"lossless": True} if suffix == ".webp" else {}))
    expected = TURNS[orientation](lying)
    assert np.array_equal(read_image(tmp_path / f"x{suffix}").permute(1, 2, 0).numpy(), expected)
    assert image_size(tmp_path / f"x{suffix}") == expected.shape[:2]


def test_read_rgb_always_gives_three_channels_of_eight_bits(tmp_path):
    for channels in (1, 2, 3, 4):
        for dtype in (torch.uint8, torch.uint16):
            image = pixels(channels, dtype)
            write_image(tmp_path / "x.png", image)
            color = image[:1].int().expand(3, -1, -1) if channels < 3 else image[:3].int()
            expected = color if dtype is torch.uint8 else (color / 257).round()
            rgb = read_rgb(tmp_path / "x.png")
            assert rgb.dtype is torch.uint8
            assert rgb.is_contiguous()
            assert torch.equal(rgb.int(), expected.int())


@pytest.mark.parametrize("side", [12000, 60000])
def test_a_decompression_bomb_is_refused_from_its_header(tmp_path, side):
    """Both below and above the size at which Pillow itself stops, without a warning."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    (tmp_path / "bomb.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    )
    for read in (read_image, image_size):
        with pytest.raises(InputError, match=r"bomb\.png.*pixels"):
            read(tmp_path / "bomb.png")


def test_a_large_photo_below_the_limit_gives_no_warning(tmp_path, monkeypatch):
    """Pillow warns at a limit of its own, and a warning is an error here."""
    write_image(tmp_path / "x.png", pixels(1, torch.uint8, 40, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert read_image(tmp_path / "x.png").shape == (1, 40, 40)
    monkeypatch.setattr(codecs, "MAX_PIXELS", 1500)
    monkeypatch.setattr(codecs, "_PER_BYTE", 1)
    assert read_image(tmp_path / "x.png").shape == (1, 40, 40)  # it has the bytes that a photo has
    write_image(tmp_path / "bomb.png", torch.zeros(1, 44, 44, dtype=torch.uint8))
    with pytest.raises(InputError, match=r"the limit is .* for a file of its bytes"):
        read_image(tmp_path / "bomb.png")


def test_write_makes_parent_folders_and_takes_any_layout(tmp_path):
    image = pixels(3, torch.uint8, 6, 8)
    write_image(tmp_path / "new" / "folder" / "x.png", image.transpose(1, 2))
    assert torch.equal(read_image(tmp_path / "new" / "folder" / "x.png"), image.transpose(1, 2))


@pytest.mark.parametrize(
    ("name", "channels", "dtype", "reason"),
    [
        ("x.gif", 3, torch.uint8, "suffix"),
        ("x", 3, torch.uint8, "suffix"),
        ("x.jpg", 4, torch.uint8, "alpha"),
        ("x.bmp", 2, torch.uint8, "alpha"),
        ("x.jpg", 3, torch.uint16, "8 bits"),
        ("x.webp", 3, torch.uint16, "8 bits"),
        ("x.tif", 2, torch.uint16, "gray with alpha"),
        ("x.png", 5, torch.uint8, "C from 1 to 4"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(tmp_path, name, channels, dtype, reason):
    with pytest.raises(InputError, match=reason):
        write_image(tmp_path / name, pixels(channels, dtype))
    assert not list(tmp_path.iterdir())


def test_floats_are_not_written(tmp_path):
    """Whether 0.7 is 0 or 178 is the caller's to say."""
    with pytest.raises(TypeError, match="to_uint8"):
        write_image(tmp_path / "x.png", torch.rand(3, 4, 4))
