"""Colour profiles: kept where they describe the pixels, applied to CMYK, left out with a word otherwise."""

import struct
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import read_image, write_image
from esrgan_lightning.ops.encode import check_format, encode_image
from esrgan_lightning.ops.image import read_photo

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def profile_for(space):
    return SRGB[:16] + space + SRGB[20:]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_a_profile_survives_writing_and_reading(tmp_path, suffix, dtype):
    """16 bits go through a codec that knows no profiles."""
    if dtype is torch.uint16 and suffix not in (".png", ".tif"):
        pytest.skip("8 bits")
    image = (torch.rand(3, 16, 16) * 255).to(torch.int32).to(dtype)
    write_image(tmp_path / f"x{suffix}", image, profile=SRGB)
    photo = read_photo(tmp_path / f"x{suffix}")
    assert photo.profile == SRGB
    assert photo.notes == ()
    assert photo.pixels.dtype is dtype
    with Image.open(tmp_path / f"x{suffix}") as other:
        assert other.info["icc_profile"] == SRGB


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


def test_gray_with_alpha_in_16_bits_is_a_png_with_its_profile(tmp_path):
    gray = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    gray = gray[:16] + b"GRAY" + gray[20:]
    image = torch.randint(0, 65536, (2, 9, 5)).to(torch.int32).to(torch.uint16)
    write_image(tmp_path / "x.png", image, profile=gray)
    photo = read_photo(tmp_path / "x.png")
    assert torch.equal(photo.pixels.int(), image.int())
    assert photo.profile == gray
    Image.open(tmp_path / "x.png").verify()  # each chunk by its own checksum


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


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif", ".bmp"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_the_resolution_in_print_survives(tmp_path, suffix, dtype):
    if dtype is torch.uint16 and suffix not in (".png", ".tif"):
        pytest.skip("8 bits")
    image = (torch.rand(3, 8, 8) * 255).to(torch.int32).to(dtype)
    write_image(tmp_path / f"x{suffix}", image, dpi=(300, 150))
    assert read_photo(tmp_path / f"x{suffix}").dpi == pytest.approx((300, 150), abs=0.02)
    write_image(tmp_path / f"x{suffix}", image)
    dpi = read_photo(tmp_path / f"x{suffix}").dpi
    assert dpi is None or suffix == ".bmp"  # which states one always


def test_a_resolution_is_not_invented_and_is_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / "x.jpg", exif=exif)
    assert read_photo(tmp_path / "x.jpg").dpi is None  # Pillow says 72
    Image.new("RGB", (8, 4)).save(tmp_path / "x.jpg", exif=exif, dpi=(300, 150))
    assert read_photo(tmp_path / "x.jpg").dpi == (150, 300)


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
