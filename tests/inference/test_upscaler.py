"""Images through a generator: every kind in, the same kind out, and nothing of the caller's changed."""

import copy
import math
import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageCms
from scipy.ndimage import distance_transform_edt
from torch import nn

import esrgan_lightning
from esrgan_lightning import Upscaler
from esrgan_lightning.errors import InputError
from esrgan_lightning.inference.images import filled
from esrgan_lightning.networks import RRDBNet, SRResNet
from esrgan_lightning.ops import BackProjection, imresize, read_image, to_float
from esrgan_lightning.weights import save_generator


class Nearest(nn.Module):
    """Each pixel twice: what comes out is known exactly."""

    def __init__(self, channels=3, scale=2):
        super().__init__()
        self.in_channels, self.scale = channels, scale

    def forward(self, x):
        return F.interpolate(x, scale_factor=self.scale, mode="nearest")


def tiny(**settings):
    torch.manual_seed(0)
    return RRDBNet(num_features=4, num_blocks=1, growth_channels=2, init_scale=1.0, **settings)


def picture(channels=3, height=9, width=7, dtype=torch.uint8):
    generator = torch.Generator().manual_seed(channels)
    values = torch.rand(channels, height, width, generator=generator)
    if channels in (2, 4):
        values[-1].clamp_(min=0.05)  # transparent pixels take other colours: tests of their own
    peak = {torch.uint8: 255, torch.uint16: 65535}.get(dtype)
    return values.to(dtype) if peak is None else (values * peak).to(torch.int32).to(dtype)


def doubled(image):
    """What ``Nearest`` makes of an integer image; alpha is enlarged bicubically."""
    large = image.to(torch.float64).repeat_interleave(2, -2).repeat_interleave(2, -1).to(image.dtype)
    if image.shape[0] in (2, 4):
        large = torch.cat([large[:-1].to(torch.int32), imresize(image[-1:], 2).to(torch.int32)])
    return large.to(image.dtype)


def test_equals_an_independent_program(shared):
    """Another mapping of keys, an unclamped or truncated output shows at once."""
    upscaler = Upscaler(shared("weights/realesrgan_x4plus_anime_6b_fp16.safetensors"), device="cpu")
    assert upscaler.scale == 4
    found = upscaler(shared("data/Set5/LRbicx4/img_003.png"))
    expected = read_image(shared("oracles/anime6b_set5_img_003_x4.png"))
    assert found.dtype is torch.uint8
    assert (found.to(int) - expected.to(int)).abs().max() <= 1


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
@pytest.mark.parametrize("tile", [None, 4])
def test_gray_alpha_and_depth_are_kept(channels, dtype, tile):
    """16 bits through 8, alpha through the network or a gray image that comes out in colour."""
    image = picture(channels, dtype=dtype)
    large = Upscaler(Nearest(), tile=tile, overlap=1)(image)
    assert large.dtype is dtype
    assert torch.equal(large.to(torch.int32), doubled(image).to(torch.int32))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
def test_arrays_come_back_as_arrays(channels, dtype):
    image = picture(channels)
    array = image.permute(1, 2, 0).numpy()
    array = array.astype(dtype) / 255 if np.issubdtype(dtype, np.floating) else array.astype(dtype)
    array = array.astype(dtype)
    large = Upscaler(Nearest())(array)
    assert large.dtype == dtype
    assert large.shape == (18, 14, channels)
    color = slice(None) if channels % 2 else slice(-1)
    expected = array.repeat(2, 0).repeat(2, 1)
    np.testing.assert_allclose(
        large[..., color], expected[..., color], rtol=0, atol=1e-3 if dtype == np.float16 else 1e-7
    )


def test_arrays_of_any_memory_layout():
    """A view reversed in memory, read-only or of the other byte order is an image too."""
    array = picture(dtype=torch.uint16).permute(1, 2, 0).numpy()
    expected = array.repeat(2, 0).repeat(2, 1)
    upscaler = Upscaler(Nearest())
    frozen = array.copy()
    frozen.setflags(write=False)
    for same in (array[::-1][::-1], frozen, np.asfortranarray(array), array.astype(">u2")):
        np.testing.assert_array_equal(upscaler(same), expected)
    np.testing.assert_array_equal(upscaler(array[::-1]), expected[::-1])
    flat = upscaler(array[..., 0])
    np.testing.assert_array_equal(flat, expected[..., 0])
    assert flat.flags.c_contiguous


@pytest.mark.parametrize(
    ("mode", "becomes"),
    [
        ("1", "L"),
        ("L", "L"),
        ("LA", "LA"),
        ("P", "RGB"),
        ("RGB", "RGB"),
        ("RGBA", "RGBA"),
        ("CMYK", "RGB"),
        ("YCbCr", "RGB"),
        ("I;16", "I;16"),
    ],
)
def test_pil_images_come_back_in_their_mode(mode, becomes):
    if mode == "I;16":
        image = Image.fromarray(picture(1, dtype=torch.uint16)[0].numpy())
    else:
        image = Image.fromarray(picture().permute(1, 2, 0).numpy()).convert("RGBA" if "A" in mode else "RGB")
        image = image.convert(mode)
    large = Upscaler(Nearest())(image)
    assert large.mode == becomes
    assert large.size == (14, 18)
    same = np.asarray(image if becomes == mode else image.convert(becomes))
    color = slice(None) if "A" not in mode else (..., slice(-1))
    np.testing.assert_array_equal(np.asarray(large)[color], same.repeat(2, 0).repeat(2, 1)[color])


def test_transparent_palettes_keep_their_transparency():
    image = Image.new("P", (6, 5))
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.paste(1, (0, 0, 3, 5))
    image.info["transparency"] = 0
    large = Upscaler(Nearest())(image)
    assert large.mode == "RGBA"
    alpha = np.asarray(large)[..., 3]
    assert (alpha[:, 0] == 255).all()
    assert (alpha[:, -1] == 0).all()


def test_the_orientation_of_a_photo_is_applied_from_a_file_and_from_pil(tmp_path):
    """The result has no EXIF: unturned it would lie on its side for ever."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    Image.fromarray(picture(height=8, width=16).permute(1, 2, 0).numpy()).save(tmp_path / "a.png", exif=exif)
    upscaler = Upscaler(Nearest())
    from_file = upscaler(tmp_path / "a.png")
    assert from_file.shape == (3, 32, 16)
    assert upscaler(str(tmp_path / "a.png")).shape == (3, 32, 16)
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(upscaler(image)).transpose(2, 0, 1), from_file.numpy())


def test_batches_equal_their_images_one_by_one():
    images = torch.stack([picture(height=12, width=10), picture(height=12, width=10).flip(-1)])
    upscaler = Upscaler(tiny(), tile=5, overlap=2)
    both = upscaler(images)
    for one, expected in zip(images, both, strict=True):
        difference = upscaler(one).to(int) - expected.to(int)
        assert difference.abs().max() <= 1  # another batch size may round otherwise


@pytest.mark.parametrize(("scale", "overlap"), [(4, 20), (2, 40), (1, 80)])
def test_tiles_with_the_whole_receptive_field_equal_the_whole(scale, overlap):
    """15 convolutions in the block and under 5 around it; scales 2 and 1 fold 2 and 4 pixels into one.

    A folding network's tiles must also begin at a multiple of the fold, or no overlap is enough.
    """
    net = tiny(scale=scale).double()
    image = picture(height=9, width=230, dtype=torch.float64)
    whole = Upscaler(net)(image)
    tiled = Upscaler(net, tile=29, overlap=overlap)(image)
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-12)
    assert not torch.allclose(Upscaler(net, tile=29, overlap=0)(image), whole, rtol=0, atol=1e-6)


def test_only_tiles_reach_the_device(monkeypatch):
    """The whole image moved there first, and tiling saves nothing."""
    moved, move = [], torch.Tensor.to

    def watched(tensor, *args, **kwargs):
        if any(isinstance(arg, torch.device) for arg in (*args, *kwargs.values())):
            moved.append(tuple(tensor.shape))
        return move(tensor, *args, **kwargs)

    upscaler = Upscaler(Nearest(), tile=16, overlap=2)
    monkeypatch.setattr(torch.Tensor, "to", watched)
    upscaler(picture(4, height=64, width=64))
    assert len([shape for shape in moved if shape[1] == 3]) == 16
    assert max(shape[-2] * shape[-1] for shape in moved if shape[1] == 3) == 20 * 20


def test_a_given_generator_is_left_as_it_is():
    """Training goes on with it: its mode, its layout, its weights and its statistics must be the same."""
    net = SRResNet(num_features=4, num_blocks=1, batch_norm=True).train()
    net.body[0].eval()  # modes may differ within
    modes = [module.training for module in net.modules()]
    state = copy.deepcopy(net.state_dict())
    upscaler = Upscaler(net, tile=4)
    upscaler(picture())
    assert [module.training for module in net.modules()] == modes
    assert net.first[0].weight.is_contiguous()
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not any(module.training for module in upscaler.generator.modules())

    before = upscaler(picture())
    with torch.no_grad():
        net.first[0].weight.fill_(7)
    assert torch.equal(upscaler(picture()), before)


def test_results_can_take_part_in_training():
    """Tensors of inference_mode raise in the first loss."""
    large = Upscaler(tiny())(picture(dtype=torch.float32))
    weight = torch.ones(1, requires_grad=True)
    (large * weight).sum().backward()
    assert weight.grad is not None


def test_a_file_and_its_generator_agree(tmp_path):
    net = tiny()
    save_generator(tmp_path / "net.safetensors", net)
    from_file = Upscaler(tmp_path / "net.safetensors", device="cpu")(picture())
    assert torch.equal(from_file, Upscaler(net)(picture()))
    assert torch.equal(from_file, Upscaler(str(tmp_path / "net.safetensors"), device="cpu")(picture()))
    assert esrgan_lightning.load_generator(tmp_path / "net.safetensors").scale == 4


def test_half_precision_generators_get_half_precision():
    image = picture(height=16, width=16)
    exact, half = Upscaler(tiny())(image), Upscaler(tiny().bfloat16())(image)
    assert half.dtype is torch.uint8
    assert (exact.to(int) - half.to(int)).abs().float().mean() < 4


def test_a_gray_generator_enlarges_each_channel_for_itself():
    """(B,3) as three images: channels must neither mix nor change places."""
    net = tiny(in_channels=1, out_channels=1)
    images = torch.stack([picture(4), picture(4).flip(-1)])
    upscaler = Upscaler(net, tile=6, overlap=2)
    large = upscaler(images)
    assert large.shape == (2, 4, 36, 28)
    for image, result in zip(images, large, strict=True):
        for channel in range(3):
            alone = upscaler(image[channel : channel + 1])[0]
            assert (alone.to(int) - result[channel].to(int)).abs().max() <= 1
    assert upscaler(picture(1)).shape == (1, 36, 28)


def test_gray_through_a_colour_generator_is_the_mean_of_its_channels():
    net = tiny()
    gray = picture(1, dtype=torch.float32)
    with torch.no_grad():
        expected = net(gray.expand(3, -1, -1)[None])[0].clamp(0, 1).mean(0, keepdim=True)
    torch.testing.assert_close(Upscaler(net)(gray), expected, rtol=0, atol=1e-6)


def test_floats_are_clamped_and_not_rounded():
    image = picture(4, dtype=torch.float32)
    image[0, 0, 0] = 1.1  # a resampling's overshoot
    large = Upscaler(Nearest())(image)
    assert large.max() == 1
    assert torch.equal(large[1], image[1].repeat_interleave(2, 0).repeat_interleave(2, 1))
    assert large[3].min() >= 0


class Failing(Nearest):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, x):
        if isinstance(self.error, Exception):
            raise self.error
        return super().forward(x) * self.error


def test_too_little_memory_names_the_remedy():
    with pytest.raises(InputError, match=r"9×7 LR pixels .* too many for the memory of cpu.*another device"):
        Upscaler(Failing(torch.OutOfMemoryError("CUDA out of memory")))(picture())


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_a_network_that_has_no_result_is_no_picture(factor):
    """NaN as an integer is black, infinity white."""
    with pytest.raises(InputError, match="not finite"):
        Upscaler(Failing(factor))(picture() // 2 + 9)


def test_other_errors_of_a_network_keep_their_traceback():
    with pytest.raises(RuntimeError, match="defect"):
        Upscaler(Failing(RuntimeError("defect")))(picture())


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (picture()[0], "not .9, 7."),
        (picture(5), "1 to 4"),
        (picture(3, 0, 4), "1 to 4"),
        (picture()[None, None], "1 to 4"),
        (picture().to(torch.int64), "int64"),
        (picture() > 9, "bool"),
        (picture().float(), r"\[0,1\]"),
        (picture(dtype=torch.float32) * 2 - 1, r"\[0,1\]"),
        (torch.full((3, 4, 4), float("nan")), "nan"),
        (np.zeros((2, 4, 4, 3), np.uint8), "an array is"),
        (np.zeros((4, 4, 7), np.uint8), "1 to 4"),
        (np.zeros((4, 4, 3), np.int32), "int32"),
        (np.zeros((4, 4), bool), "bool"),
        (Image.new("F", (4, 4)), "mode 'F'"),
        (Image.new("I", (4, 4)), "mode 'I'"),
        (object(), "object"),
        ("no/such/file.png", "missing"),
    ],
)
def test_what_is_no_image_is_refused(image, message):
    with pytest.raises(InputError, match=message):
        Upscaler(Nearest())(image)


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        (Nearest(), {"tile": 0}, "tile=0"),
        (Nearest(), {"overlap": -1}, "overlap=-1"),
        (Nearest(), {"model_scale": 4}, "generator has scale 2"),
        (Nearest(), {"device": "toaster"}, "device=toaster"),
        (Nearest(), {"device": "cuda:99"}, "device=cuda:99"),
        (Nearest(channels=4), {}, "from 4 to 4 channels"),
        (tiny(out_channels=1), {}, "from 3 to 1 channels"),
        (nn.Identity(), {}, "attribute scale"),
        ("no/such/file.safetensors", {}, "no such file"),
    ],
)
def test_settings_and_models_that_do_not_serve_are_refused(model, settings, message):
    with pytest.raises(InputError, match=message):
        Upscaler(model, **settings)


def test_a_scale_that_the_file_does_not_tell_can_be_given(tmp_path):
    from safetensors.torch import save_file

    net = tiny(scale=3)
    save_file(net.state_dict(), tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match="scale 2 or scale 3"):
        Upscaler(tmp_path / "foreign.safetensors")
    foreign = Upscaler(tmp_path / "foreign.safetensors", model_scale=3, device="cpu")
    assert torch.equal(foreign(picture()), Upscaler(net)(picture()))


@pytest.mark.gpu
def test_the_gpu_gives_the_same_picture_and_holds_only_tiles():
    net, image = tiny(), picture(height=512, width=512)
    on_cpu = Upscaler(net, device="cpu")(image)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    tiled = Upscaler(net, device="cuda", tile=64, overlap=40)(image)
    assert tiled.device.type == "cpu"
    assert torch.cuda.max_memory_allocated() - before < 4 * on_cpu.numel()  # the float result of the whole
    assert (tiled.to(int) - on_cpu.to(int)).abs().float().mean() < 0.1
    assert Upscaler(net, device="cuda")(to_float(image).cuda()).device.type == "cuda"
    assert next(net.parameters()).device.type == "cpu"


def test_lists_may_hold_any_kinds_and_sizes():
    images = [picture(), picture(1, 4, 5), picture(4).permute(1, 2, 0).numpy()]
    found = Upscaler(Nearest())(images)
    for image, large in zip(images[:2], found[:2], strict=True):
        assert torch.equal(large, doubled(image))
    np.testing.assert_array_equal(found[2], doubled(picture(4)).permute(1, 2, 0).numpy())


def test_transparent_pixels_do_not_bleed_into_what_shows():
    """White ink whose transparent surroundings are black: over white it must stay white, fringes and all."""
    image = torch.zeros(4, 24, 24)
    image[:, 8:16, 6:18] = 1
    image[3, 7, 6:18] = 0.5  # an edge that is half there, in the colour of the ink
    image[:3, 7, 6:18] = 1
    upscaler = Upscaler(Blurring())
    for dtype, peak in ((torch.uint8, 255), (torch.uint16, 65535)):
        large = upscaler((image * peak).to(torch.int32).to(dtype)).double() / peak
        for paper in (1.0, 0.5):
            alpha = large[3:]
            composite = large[:3] * alpha + paper * (1 - alpha)
            assert composite.min() >= paper - 0.001
    bled = Upscaler(Blurring())(image[:3])
    assert (bled * alpha + (1 - alpha)).min() < 0.9, "the network does bleed where nothing is filled"


def test_hidden_colours_are_those_of_the_nearest_pixel_that_shows():
    """Against SciPy's exact distances, which the 5×5 mask misses by at most 2 % (city blocks: 41 %)."""
    random = np.random.default_rng(0)
    alpha = random.random((60, 80)) < 0.01
    places = np.arange(alpha.size, dtype=np.float64).reshape(1, 1, *alpha.shape)
    found = filled(torch.from_numpy(places), torch.from_numpy(alpha[None, None]).double())
    rows, columns = np.divmod(found[0, 0].long().numpy(), alpha.shape[1])
    assert alpha[rows, columns].all()
    ours = np.hypot(rows - np.arange(60)[:, None], columns - np.arange(80))
    assert (ours <= 1.025 * distance_transform_edt(~alpha)).all()


@pytest.mark.parametrize(("dtype", "peak"), [(torch.uint8, 255), (torch.uint16, 65535), (torch.float32, 1.0)])
def test_what_hardly_shows_does_not_bleed_either(dtype, peak):
    """Black at alpha 2 of 255, as rounding leaves it, drew red of 230 down to 177."""
    image = torch.zeros(4, 12, 12, dtype=torch.float64)
    image[0, :, 6:], image[3, :, :6], image[3, :, 6:] = 230 / 255, 2 / 255, 1
    whole = (image * peak).round().to(torch.int32).to(dtype) if peak > 1 else image.to(dtype)
    large = Upscaler(Blurring())(whole).double() / peak
    assert large[0].min() > 229 / 255
    kept = Upscaler(Blurring(), alpha_rgb="keep")(whole).double() / peak
    assert kept[0, :, 12:].min() < 180 / 255
    faint = image.clone()  # a watermark: nothing shows more than this, and its colours are its own
    faint[3] = 6 / 255
    faint = (faint * peak).round().to(torch.int32).to(dtype) if peak > 1 else faint.to(dtype)
    assert torch.equal(Upscaler(Nearest())(faint), Upscaler(Nearest(), alpha_rgb="keep")(faint))


def test_colours_under_transparency_are_kept_on_demand():
    """Textures of games hold a mask in alpha, and colours that count beneath it."""
    image = picture(4)
    image[3, 2:6] = 0
    large = Upscaler(Nearest(), alpha_rgb="keep")(image)
    assert torch.equal(large, doubled(image))
    assert not torch.equal(Upscaler(Nearest())(image)[:3], large[:3])
    with pytest.raises(InputError, match="alpha_rgb=drop must be fill or keep"):
        Upscaler(Nearest(), alpha_rgb="drop")


def test_gray_that_is_stored_as_rgb_comes_back_gray():
    """A network of colour tints it: by up to 14 levels was seen."""
    upscaler, gray = Upscaler(tiny()), picture(1)
    expected = upscaler(gray)
    assert torch.equal(upscaler(gray.expand(3, -1, -1)), expected.expand(3, -1, -1))
    alpha = picture(2)[1:]
    large = upscaler(torch.cat([gray.expand(3, -1, -1), alpha]))
    assert torch.equal(large[:3], expected.expand(3, -1, -1))
    color = picture(3)
    both = upscaler(torch.stack([color, gray.expand(3, -1, -1)]))
    assert torch.equal(both[0], upscaler(color))
    assert torch.equal(both[1], expected.expand(3, -1, -1))
    array = gray.expand(3, -1, -1).permute(1, 2, 0).numpy()
    assert (np.ptp(upscaler(array), axis=2) == 0).all()


class Blurring(Nearest):
    def forward(self, x):
        return F.avg_pool2d(F.pad(super().forward(x), (3, 3, 3, 3), mode="replicate"), 7, stride=1)


@pytest.mark.parametrize(("scale", "passes"), [(1, 1), (1.5, 1), (2, 1), (2.7, 2), (4, 2), (5, 3)])
@pytest.mark.parametrize("channels", [3, 4])
def test_any_scale_is_the_model_then_a_bicubic_reduction(scale, passes, channels):
    image = picture(channels, height=10, width=7)
    upscaler = Upscaler(Nearest(), scale=scale)
    large = upscaler(image)
    height, width = math.ceil(round(10 * scale, 6)), math.ceil(round(7 * scale, 6))
    assert large.shape == (channels, height, width)
    assert upscaler.scale == scale
    colors = to_float(image[:3]).repeat_interleave(2**passes, -1).repeat_interleave(2**passes, -2)
    expected = imresize(colors, scale / 2**passes)[..., :height, :width].clamp(0, 1) * 255
    assert (large[:3].double() - expected).abs().max() <= 0.51


def test_a_size_is_not_one_pixel_more_by_a_floating_error():
    """4 · 100 · (2.7 / 4) is a little above 270."""
    assert Upscaler(Nearest(scale=4), scale=2.7)(picture(1, 100, 10)).shape == (1, 270, 27)


@pytest.mark.parametrize("scale", [0.5, 0, -2, 65, float("nan"), float("inf")])
def test_scales_that_do_not_serve_are_refused(scale):
    with pytest.raises(InputError, match="between 1 and 64"):
        Upscaler(Nearest(), scale=scale)
    with pytest.raises(InputError, match="scale 1 cannot enlarge"):
        Upscaler(Nearest(scale=1), scale=2)


def test_tta_is_the_mean_over_the_eight_symmetries():
    """By hand, on a picture that is no square: a turn undone the wrong way has another shape or place."""
    net, image = tiny(), picture(height=9, width=6, dtype=torch.float64)
    net = net.double()
    expected = torch.zeros(3, 36, 24, dtype=torch.float64)
    with torch.no_grad():
        for transposed in (False, True):
            for axes in ((), (-1,), (-2,), (-2, -1)):
                turned = (image.mT if transposed else image).flip(axes)
                back = net(turned[None])[0].clamp(0, 1).flip(axes)
                expected += back.mT if transposed else back
    found = Upscaler(net, tta=True)(image)
    torch.testing.assert_close(found, expected / 8, rtol=0, atol=1e-12)
    integers = Upscaler(Nearest(), tta=True)(picture())
    assert torch.equal(integers.int(), doubled(picture()).int())


def test_a_pil_image_keeps_its_colour_profile():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.new("RGB", (4, 3), "red")
    image.info["icc_profile"] = profile
    assert Upscaler(Nearest())(image).info["icc_profile"] == profile
    assert "icc_profile" not in Upscaler(Nearest())(image.convert("L")).info
    image.info |= {"dpi": (300, 300), "gamma": 1.0}
    large = Upscaler(Nearest())(image).info
    assert (large["dpi"], large["gamma"]) == ((300, 300), 1.0)


def test_the_precision_reaches_the_network():
    seen = []

    class Watching(Nearest):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            seen.append(self.conv(x).dtype)
            return super().forward(x)

    Upscaler(Watching(), precision="bf16", tile=None)(picture())
    assert seen == [torch.bfloat16]
    with pytest.raises(InputError, match="precision=fp8"):
        Upscaler(Nearest(), precision="fp8")


class Blurred(nn.Module):
    """The mean of 3 × 3 pixels with zeros around, twice as large: dark at the edges."""

    scale = 2

    def __init__(self):
        super().__init__()
        self.mean = nn.AvgPool2d(3, 1, padding=1)

    def forward(self, image):
        return F.interpolate(self.mean(image), scale_factor=2, mode="nearest")


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
@pytest.mark.parametrize("tile", [None, 4])
def test_pre_pad_takes_the_black_outside_away(dtype, tile):
    """Breaks if the margin is cut off at another scale or side, or the inner part is moved."""
    image = picture(dtype=dtype)
    plain, padded = (Upscaler(Blurred(), pre_pad=p, tile=tile).upscale(image) for p in (0, 3))
    assert torch.equal(plain[:, 2:-2, 2:-2], padded[:, 2:-2, 2:-2])
    edges = F.pad(image.double()[None], [1] * 4, mode="replicate")
    expected = F.interpolate(F.avg_pool2d(edges, 3, 1), scale_factor=2, mode="nearest")[0]
    assert (padded.double() - expected).abs().max() <= (1e-6 if dtype == torch.float32 else 0.51)
    with pytest.raises(InputError, match="pre_pad=-1"):
        Upscaler(Blurred(), pre_pad=-1)


def test_back_projection_is_done_on_what_the_network_was_given():
    """Breaks if it is done after rounding, or on the LR of another pass."""
    lr, net = picture(3, 9, 7, torch.float32), tiny()
    plain = Upscaler(net).upscale(lr)
    corrected = Upscaler(net, back_projection=3).upscale(lr)
    torch.testing.assert_close(corrected, BackProjection(4, 3)(plain, lr), rtol=0, atol=1e-6)
    assert (corrected - plain).abs().max() > 1e-3
    with pytest.raises(InputError, match="iterations=-1"):
        Upscaler(net, back_projection=-1)


def test_each_image_has_its_enlargement_or_its_own_error(monkeypatch):
    """Breaks if one image's fault is its neighbours', or threads take each other's cores or keep theirs."""
    threads = []

    class Picky(nn.Module):
        scale = 2
        in_channels = out_channels = 3

        def forward(self, x):
            threads.append((threading.get_ident(), torch.get_num_threads()))
            if (x.mean((1, 2, 3)) > 0.9).any():
                raise RuntimeError("too bright")
            return x.repeat_interleave(2, -2).repeat_interleave(2, -1)

    before = torch.get_num_threads()
    images = [torch.full((3, 4, 5), level, dtype=torch.uint8) for level in (10, 250, 90)]
    images[0][0], images[2][1] = 20, 30  # gray would be gone through alone
    images.append(images[0].repeat(1, 2, 1))
    upscaler = Upscaler(Picky(), device="cpu")
    torch.set_num_threads(4)
    try:
        found = upscaler.upscale_each(images)
        assert {count for _, count in threads} == {1}
        threads.clear()
        upscaler.upscale_each(images[:2])
        assert {count for _, count in threads} == {2}
        assert torch.get_num_threads() == 4
        monkeypatch.setattr("esrgan_lightning.inference.upscaler.TOGETHER", 20)
        threads.clear()
        assert upscaler.upscale_each(images[2:])[0].equal(found[2])
        assert set(threads) == {(threading.get_ident(), 4)}
    finally:
        torch.set_num_threads(before)
    assert isinstance(found.pop(1), RuntimeError)
    for each, image in zip(found, [images[0], *images[2:]], strict=True):
        assert torch.equal(each, upscaler.upscale(image))
