"""What is read of 300 and more kinds of files, against their pixels or a second decoder."""

import struct
import zlib
from io import BytesIO
from itertools import product

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from raw_images import ADAM7, TURNS, chunk

from esrgan_lightning.errors import InputError
from esrgan_lightning.inference.images import pil_colors
from esrgan_lightning.ops import read_image
from esrgan_lightning.ops.image import read_photo

H, W = 24, 32
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EXTRA = {"straight": "unassalpha", "premultiplied": "assocalpha", "unspecified": "unspecified"}


def photo(channels, dtype, alpha="straight"):
    """(H,W,C): smooth colours, and alpha over its whole range; multiplied in where the file has it so."""
    y, x = np.mgrid[:H, :W] / W
    planes = [0.5 + 0.4 * np.sin(5 * x + 3 * y + n) for n in range(3 if channels > 2 else 1)]
    if channels in (2, 4):
        opacity = np.clip(1.4 * x - 0.2, 0, 1)
        planes = [p * opacity for p in planes] if alpha == "premultiplied" else planes
        planes.append(opacity)
    return np.floor(np.stack(planes, 2) * np.iinfo(dtype).max + 0.5).astype(dtype)


def shown(pixels, alpha="straight"):
    """What is meant by samples: straight colours in [0,1], without what is not stated to be alpha."""
    x = pixels.astype(np.float64) / np.iinfo(pixels.dtype).max
    count = x.shape[2] - (x.shape[2] in (2, 4))
    if alpha == "unspecified":
        return x[..., :count]
    if alpha == "premultiplied":
        x[..., :count] = (x[..., :count] / np.maximum(x[..., count:], 1e-9)).clip(0, 1)
    return x


def by_opencv(data):
    """(H,W,C) as it lies in the file."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    pixels = pixels.reshape(H, W, -1)
    return pixels[..., [2, 1, 0, 3][: pixels.shape[2]]] if pixels.shape[2] > 1 else pixels


def exif(turn, order=">"):
    head = b"MM\0*" if order == ">" else b"II*\0"
    return head + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x112, 3, 1, turn, 0, 0)


def png(pixels, before=b"", after=b"", interlaced=False):
    """(H,W,C) with chunks before and behind the pixels; the seven passes of Adam7 if it is interlaced."""
    deep = pixels.dtype == np.uint16
    color = {1: 0, 2: 4, 3: 2, 4: 6}[pixels.shape[2]]
    data = b""
    for top, left, down, right in ADAM7 if interlaced else ((0, 0, 1, 1),):
        rows = pixels[top::down, left::right].astype(">u2" if deep else "u1")
        data += b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(
        ">IIBBBBB", pixels.shape[1], pixels.shape[0], 16 if deep else 8, color, 0, 0, interlaced
    )
    body = chunk(b"IHDR", head) + before + chunk(b"IDAT", zlib.compress(data)) + after + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiffs():
    """Depths × channels and alpha × layouts × byte orders × profile; turned ones apart."""
    kinds = [(1, "straight"), (3, "straight"), *((4, alpha) for alpha in EXTRA)]
    layouts = ({}, {"rowsperstrip": 5, "predictor": True}, {"tile": (16, 16)}, {"planarconfig": "separate"})
    for dtype, (channels, alpha), layout, order, icc in product(
        (np.uint8, np.uint16), kinds, layouts, "<>", (None, SRGB)
    ):
        if channels == 1 and (icc or "planarconfig" in layout):
            continue
        yield f"{channels} {alpha} {layout} {order}", _tiff(dtype, channels, alpha, layout, order, icc, 1)
    for dtype, turn, channels, layout in product((np.uint8, np.uint16), range(2, 9), (1, 3), layouts[::3]):
        if channels == 3 or not layout:
            yield (
                f"{channels} {layout} turn {turn}",
                _tiff(dtype, channels, "straight", layout, "<", None, turn),
            )
    for alpha in EXTRA:
        yield f"16 bits, packed, {alpha}", _tiff(np.uint16, 4, alpha, {"rowsperstrip": 7}, "<", None, 6)
    yield "8 bits, planes of gray and alpha", _tiff(np.uint8, 2, "straight", layouts[3], "<", None, 1)


def _tiff(dtype, channels, alpha, layout, order, icc, turn):
    pixels, file = photo(channels, dtype, alpha), BytesIO()
    planar = "planarconfig" in layout
    how = {"planarconfig": "contig"} | layout if channels > 1 else dict(layout)
    how |= {"extrasamples": [EXTRA[alpha]]} if channels in (2, 4) else {}
    tifffile.imwrite(
        file,
        np.ascontiguousarray(pixels.transpose(2, 0, 1)) if planar else pixels.squeeze(),
        photometric="rgb" if channels > 2 else "minisblack",
        compression="zlib",
        byteorder=order,
        iccprofile=icc,
        metadata=None,
        extratags=[(274, 3, 1, turn, True)],
        **how,
    )
    return file.getvalue(), TURNS[turn](shown(pixels, alpha)), icc


def pngs():
    """Depths × channels × interlacing × profile, gamma; colour keys; EXIF before and behind the pixels."""
    gamma = chunk(b"gAMA", struct.pack(">I", 100000))
    profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(SRGB))
    for dtype, channels, interlaced, more in product(
        (np.uint8, np.uint16), (1, 2, 3, 4), (False, True), (b"", gamma, profile)
    ):
        if more != profile or channels > 2:
            icc = SRGB if more == profile else None
            yield f"{channels} {more[4:8]}", _png(photo(channels, dtype), more, b"", interlaced, 1, icc)
    for dtype, channels in product((np.uint8, np.uint16), (1, 3)):
        pixels = photo(channels, dtype)
        key = chunk(b"tRNS", pixels[3, 4].astype(">u2").tobytes())
        alpha = np.where((pixels == pixels[3, 4]).all(2, keepdims=True), 0, np.iinfo(dtype).max).astype(dtype)
        keyed = shown(np.concatenate([pixels, alpha], 2))
        yield f"{channels} with a key", (png(pixels, key), keyed, None)
    for dtype, channels, turn in product((np.uint8, np.uint16), (1, 3, 4), range(2, 9)):
        tag = chunk(b"eXIf", exif(turn))
        for before, after in ((tag, b""), (b"", tag)):
            yield f"{channels} turn {turn}", _png(photo(channels, dtype), before, after, False, turn, None)


def _png(pixels, before, after, interlaced, turn, icc):
    return png(pixels, before, after, interlaced), TURNS[turn](shown(pixels)), icc


def others():
    """JPEG, WebP, AVIF, BMP, GIF and the PNM family, and compressions that OpenCV writes."""
    for kind, mode, turn in product(("JPEG", "WEBP", "AVIF"), ("L", "RGB", "RGBA"), (1, 3, 6)):
        if (mode == "RGBA" and kind == "JPEG") or (mode == "L" and kind != "JPEG"):
            continue
        options = {"WEBP": {"lossless": True, "exact": True}}.get(kind, {"quality": 95})
        if kind == "AVIF" and turn != 1:
            continue  # OpenCV turns these whatever it is told
        yield (
            f"{kind} {mode} turn {turn}",
            _other(kind, mode, turn, exif=exif(turn), icc_profile=SRGB, **options),
        )
    for progressive, sampling in product((False, True), (0, 1, 2)):
        yield "JPEG", _other("JPEG", "RGB", 1, progressive=progressive, subsampling=sampling, quality=90)
    for mode in ("1", "L", "P", "RGB"):
        yield f"BMP {mode}", _other("BMP", mode, 1)
        yield f"GIF {mode}", _other("GIF", mode, 1)
    for mode in ("1", "L", "RGB"):
        yield f"PNM {mode}", _other("PPM", mode, 1)
    for channels, peak in product((1, 3), (100, 255, 1000, 65535)):
        levels = np.floor(shown(photo(channels, np.uint16)) * peak + 0.5)
        for plain in (False, True):
            number = {1: 5, 3: 6}[channels] - 3 * plain
            samples = levels.astype("u1" if peak < 256 else ">u2")
            body = (
                " ".join(map(str, levels.astype(int).ravel())).encode() + b"\n"
                if plain
                else samples.tobytes()
            )
            data = b"P%d\n%d %d\n%d\n" % (number, W, H, peak) + body
            yield f"P{number} {peak}", (data, levels / peak, None)
    for dtype, compression in product(
        (np.uint8, np.uint16), (5, 32773)
    ):  # LZW, which tifffile leaves to others
        pixels = photo(3, dtype)
        data = cv2.imencode(".tif", pixels[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, compression])[
            1
        ].tobytes()
        yield f"TIFF {compression}", (data, shown(pixels), None)


def _other(kind, mode, turn, **options):
    pixels, file = photo({"L": 1, "RGBA": 4}.get(mode, 3), np.uint8), BytesIO()
    picture = Image.fromarray(pixels.squeeze())
    picture = picture.convert(mode) if mode in ("1", "P") else picture
    if kind == "JPEG" and "exif" in options:
        options["exif"] = b"Exif\0\0" + options["exif"]
    picture.save(file, kind, **options)
    icc = options.get("icc_profile") if mode != "L" else None
    return file.getvalue(), TURNS[turn](shown(by_opencv(file.getvalue()))), icc


@pytest.mark.parametrize("kinds", [tiffs, pngs, others])
def test_every_kind_is_read(kinds):
    """One level of 8 bits is allowed for rounding; for colours under alpha where alpha shows something."""
    wrong = []
    for name, (data, truth, icc) in kinds():
        photo = read_photo(BytesIO(data))
        read = shown(photo.pixels.permute(1, 2, 0).numpy())
        if _far(read, truth) or photo.profile != icc:
            wrong.append(f"{name}: {read.shape}, not {truth.shape}, {_difference(read, truth)}")
    assert not wrong


def test_a_file_and_pillows_image_of_it_are_turned_and_keyed_alike():
    """A chunk behind the pixels, or a key of 16 bits, was seen by one way in alone."""
    for name, (data, *_) in pngs():
        if name == "3 with a key":
            continue  # Pillow reduces 16 bits of colour to 8, and forgets to reduce the key
        read = shown(read_photo(BytesIO(data)).pixels.permute(1, 2, 0).numpy())
        pixels = pil_colors(Image.open(BytesIO(data))).pixels
        assert not _far(shown(pixels.reshape(*pixels.shape[:2], -1)), read), name


def _far(read, other):
    return _difference(read, other) > 1.01 / 255


def _difference(read, other):
    """The largest, over what is seen; gray may be read as three equal channels by either."""
    if read.shape[2] % 2 == other.shape[2] % 2 and 1 <= min(read.shape[2], other.shape[2]) <= 2:
        read, other = (np.concatenate([x[..., :1], x[..., -1:]], 2) for x in (read, other))
    if read.shape != other.shape:
        return np.inf
    weight = other[..., -1:] if read.shape[2] in (2, 4) else np.ones(1)
    colors = np.abs(read - other)[..., : read.shape[2] - (read.shape[2] in (2, 4))] * weight
    return max(colors.max(), np.abs(read - other)[..., -1].max() if read.shape[2] in (2, 4) else 0)


def test_12_bits_of_gray_span_the_whole_range(tmp_path):
    """As 16 bits they would be sixteen times too dark."""
    levels = np.array([[0, 1, 2048, 4095]], np.uint32)
    first, second = levels[:, ::2], levels[:, 1::2]
    packed = (
        np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], 2).astype(np.uint8).tobytes()
    )
    tags = ((256, 4), (257, 1), (258, 12), (259, 1), (262, 1), (273, 122), (277, 1), (278, 1), (279, 6))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    (tmp_path / "x.tif").write_bytes(
        b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + packed
    )
    assert read_image(tmp_path / "x.tif").int().flatten().tolist() == [0, 16, 32776, 65535]


def test_white_may_be_zero_at_16_bits(tmp_path):
    pixels = photo(1, np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", pixels[..., 0], photometric="miniswhite", metadata=None)
    assert np.array_equal(read_image(tmp_path / "x.tif").int()[0].numpy(), 65535 - pixels[..., 0].astype(int))


def test_unknown_channels_are_named():
    data = dict(tiffs())["4 unspecified {} <"][0]
    assert "not stated to be alpha" in read_photo(BytesIO(data)).notes[0]


def test_planes_that_no_decoder_here_reads_are_refused(tmp_path):
    """Tifffile leaves LZW to another package; the planes of OpenCV are noise."""
    path, pixels = tmp_path / "x.tif", photo(3, np.uint16)
    tifffile.imwrite(
        path, pixels.transpose(2, 0, 1), photometric="rgb", planarconfig="separate", metadata=None
    )
    data = bytearray(path.read_bytes())
    place = data.index(struct.pack("<HHIH", 259, 3, 1, 1))  # Compression: none
    data[place + 8] = 5
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"x\.tif"):
        read_image(path)
