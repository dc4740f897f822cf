"""Colour profiles: kept where they describe the pixels, applied to CMYK, left out with a word otherwise."""

import struct
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import encode, read_image, write_image
from esrgan_lightning.ops.encode import check_format, encode_image
from esrgan_lightning.ops.image import read_photo

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def profile_for(space):
    return SRGB[:16] + space + SRGB[20:]


EIGHT = [(suffix, torch.uint8, 3) for suffix in (".png", ".jpg", ".webp", ".tif", ".avif")]
DEEP = [
    (".png", torch.uint16, 1),
    (".png", torch.uint16, 2),
    (".png", torch.uint16, 3),
    (".tif", torch.uint16, 3),
]


@pytest.mark.parametrize(("suffix", "dtype", "channels"), [*EIGHT, *DEEP])
def test_profile_and_resolution_in_print_survive(tmp_path, suffix, dtype, channels):
    file, profile = tmp_path / f"x{suffix}", SRGB if channels == 3 else profile_for(b"GRAY")
    image = (torch.rand(channels, 16, 16) * 255).to(torch.int32).to(dtype)
    write_image(file, image, profile=profile, dpi=(300, 150))
    photo = read_photo(file)
    assert (photo.profile, photo.notes, photo.pixels.dtype) == (profile, (), dtype)
    assert photo.dpi == pytest.approx((300, 150), abs=0.02)
    with Image.open(file) as other:
        assert other.info["icc_profile"] == profile
        other.verify()  # of a PNG each chunk by its own checksum
    write_image(file, image)
    assert read_photo(file).dpi is None


def test_a_large_png_of_16_bits_has_several_chunks(tmp_path, monkeypatch):
    """One of more than 2 GiB is none."""
    monkeypatch.setattr(encode, "_MOST_OF_A_CHUNK", 100)
    image = torch.randint(0, 65536, (3, 20, 20)).to(torch.int32).to(torch.uint16)
    write_image(tmp_path / "x.png", image)
    assert (tmp_path / "x.png").read_bytes().count(b"IDAT") > 20
    assert torch.equal(read_image(tmp_path / "x.png"), image)


@pytest.mark.parametrize(
    ("mode", "profile", "note"),
    [
        ("L", SRGB, "for RGB, not gray"),
        ("RGB", profile_for(b"GRAY"), "for GRAY, not RGB"),
        ("RGB", profile_for(b"CMYK"), "for CMYK, not RGB"),
        ("RGB", b"no profile at all", "damaged"),
        ("RGB", SRGB[:-9], "damaged"),
        ("CMYK", None, "without a profile"),
        ("CMYK", SRGB, "without a profile"),
    ],
    # A profile holds the second in which it was made: test processes would not agree on its name.
    ids=["gray, RGB", "RGB, gray", "RGB, CMYK", "RGB, none", "RGB, cut off", "CMYK, no profile", "CMYK, RGB"],
)
def test_a_profile_that_does_not_describe_the_pixels_is_left_out(tmp_path, mode, profile, note):
    """Attached to the result it would change every colour."""
    Image.new(mode, (8, 8)).save(tmp_path / "x.tif", icc_profile=profile)
    photo = read_photo(tmp_path / "x.tif")
    assert photo.profile is None
    assert note in photo.notes[0]


def test_a_damaged_cmyk_profile_is_named(tmp_path):
    Image.new("CMYK", (8, 8)).save(tmp_path / "x.tif", icc_profile=profile_for(b"CMYK"))
    with pytest.raises(InputError, match=r"x\.tif.*CMYK profile is not readable"):
        read_image(tmp_path / "x.tif")


def test_of_many_frames_the_first_is_read_and_told():
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    for kind in ("WEBP", "TIFF", "PNG"):
        file = BytesIO()
        frames[0].save(file, kind, save_all=True, append_images=frames[1:])
        file.seek(0)
        photo = read_photo(file)
        assert photo.pixels[0, 0, 0] > 200
        assert "the first was taken" in photo.notes[0]


@pytest.mark.parametrize(
    ("suffix", "size", "message"),
    [
        (".jpg", (70000, 10), "65500 pixels a side"),
        (".webp", (10, 16384), "16383 pixels a side"),
        (".avif", (40000, 10), "32768 pixels a side"),
        (".png", (2**16, 2**15), "smaller --scale"),
    ],
)
def test_what_is_too_large_for_a_format_is_refused_before_it_is_made(suffix, size, message):
    with pytest.raises(InputError, match=message):
        check_format(suffix, *size, 3, deep=False)


def test_quality_is_for_lossy_formats(tmp_path):
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 64, 64), np.uint8))
    for suffix in (".jpg", ".webp", ".avif"):
        for quality in (10, 90):
            write_image(tmp_path / f"{quality}{suffix}", image, quality=quality)
        small, large = ((tmp_path / f"{quality}{suffix}").stat().st_size for quality in (10, 90))
        assert small < large / 2


def test_a_resolution_is_not_invented_and_is_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / "x.jpg", exif=exif)
    assert read_photo(tmp_path / "x.jpg").dpi is None  # Pillow says 72
    Image.new("RGB", (8, 4)).save(tmp_path / "x.jpg", exif=exif, dpi=(300, 150))
    assert read_photo(tmp_path / "x.jpg").dpi == (150, 300)
    write_image(tmp_path / "x.bmp", torch.zeros(3, 4, 8, dtype=torch.uint8), dpi=(300, 150))
    assert read_photo(tmp_path / "x.bmp").dpi == pytest.approx((300, 150), abs=0.02)


CHUNKS = {
    b"cICP": bytes((9, 16, 0, 1)),
    b"gAMA": struct.pack(">I", 100000),
    b"cHRM": struct.pack(">8I", *range(8)),
}


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_what_a_png_says_of_its_colours_survives(tmp_path, channels, dtype):
    """Without its gamma a linear picture is far too dark, without cICP an HDR one is pale."""
    image = (torch.rand(channels, 8, 8) * 255).to(torch.int32).to(dtype)
    data = encode_image(image, ".png", color_chunks=CHUNKS)
    (tmp_path / "x.png").write_bytes(data)
    photo = read_photo(tmp_path / "x.png")
    assert photo.color_chunks == CHUNKS
    assert torch.equal(photo.pixels, image)
    with Image.open(tmp_path / "x.png") as other:
        assert other.info["gamma"] == 1
    wrong = encode_image(image, ".png", color_chunks={b"cICP": b"1"})  # too short
    (tmp_path / "x.png").write_bytes(wrong)
    assert read_photo(tmp_path / "x.png").color_chunks == {}
