"""``esrgan upscale``: files in, files out, nothing half-written and nothing overwritten by surprise."""

import hashlib
import json
import sys
import threading
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image, ImageCms
from typer.testing import CliRunner

from esrgan_lightning import Upscaler
from esrgan_lightning.cli import upscaling as command
from esrgan_lightning.cli.app import app
from esrgan_lightning.cli.targets import targets
from esrgan_lightning.errors import InputError
from esrgan_lightning.networks import RRDBNet
from esrgan_lightning.ops import read_image, write_image
from esrgan_lightning.ops.encode import encode_image
from esrgan_lightning.ops.image import read_photo
from esrgan_lightning.weights import bundled_weights, save_generator


def noise(channels=3, height=7, width=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (channels, height, width), generator=generator, dtype=torch.uint8)


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    net = RRDBNet(num_features=4, num_blocks=1, growth_channels=2, scale=2, init_scale=1.0)
    save_generator(tmp_path / "net.safetensors", net)
    return tmp_path / "net.safetensors"


@pytest.fixture
def photos(tmp_path):
    write_image(tmp_path / "photos/a.jpg", noise())
    write_image(tmp_path / "photos/trip/b.v2.png", noise(4))
    write_image(tmp_path / "photos/trip/gray.tif", noise(1).to(torch.int32).mul(257).to(torch.uint16))
    return tmp_path / "photos"


def run(*arguments):
    return CliRunner().invoke(app, ["upscale", *map(str, arguments)])


def written(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_network_of_gray_says_once_what_it_does_with_colours(photos, tmp_path):
    """Gray stays gray; of a picture in colour each channel comes out as it would alone."""
    torch.manual_seed(0)
    net = RRDBNet(1, 1, num_features=4, num_blocks=1, growth_channels=2, scale=2, init_scale=1.0)
    save_generator(tmp_path / "gray.safetensors", net)
    for index, plane in enumerate(read_image(photos / "a.jpg")):
        write_image(photos / f"planes/{index}.png", plane[None])
    result = run(photos, "-o", tmp_path / "out", "--model", tmp_path / "gray.safetensors")
    assert result.exit_code == 0
    assert result.stderr.count("a network of gray: pictures in colour go by channels") == 1
    planes = [read_image(tmp_path / f"out/planes/{index}.png") for index in range(3)]
    assert [len(plane) for plane in planes] == [1, 1, 1]
    assert (read_image(tmp_path / "out/a.png").int() - torch.cat(planes).int()).abs().max() <= 1
    assert read_image(tmp_path / "out/trip/gray.png").dtype is torch.uint16


def test_a_folder_keeps_its_tree_depth_and_alpha(model, photos, tmp_path):
    result = run(photos, "-o", tmp_path / "out", "-m", model, "--suffix", "_x2", "--tile", 4, "--overlap", 40)
    assert result.exit_code == 0, result.output
    assert written(tmp_path / "out") == ["a_x2.png", "trip/b.v2_x2.png", "trip/gray_x2.png"]
    upscaler = Upscaler(model, tile=4, overlap=40, pre_pad=8)
    for source, target in (("trip/b.v2.png", "trip/b.v2_x2.png"), ("trip/gray.tif", "trip/gray_x2.png")):
        found, expected = read_image(tmp_path / "out" / target), upscaler(photos / source)
        assert found.dtype is expected.dtype
        assert torch.equal(found.to(torch.int32), expected.to(torch.int32))


def test_a_result_that_cannot_be_written_is_named_and_leaves_nothing(model, photos, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/trip").write_text("a file where a folder should be")
    result = run(photos, "-o", tmp_path / "out", "--model", model)
    assert result.exit_code == 1
    assert "trip/gray.png cannot be written" in result.stderr
    assert written(tmp_path / "out") == ["a.png", "trip"]


def test_two_inputs_with_one_target_are_refused_and_one_named_twice_counts_once(model, photos, tmp_path):
    twice = targets([photos / "a.jpg", photos, photos / "trip/../a.jpg"], tmp_path / "out", "")
    assert [source.name for source, _ in twice] == ["a.jpg", "b.v2.png", "gray.tif"]
    write_image(photos / "a.png", noise(seed=1))
    result = run(photos, "-o", tmp_path / "out", "--model", model)
    assert (result.exit_code, "a.jpg and" in result.stderr) == (2, True)
    assert not (tmp_path / "out").exists()
    result = run(photos, "-o", tmp_path / "out", "--model", model, "--keep-extension")
    assert result.exit_code == 0, result.output
    assert {"a.jpg.png", "a.png.png"} <= set(written(tmp_path / "out"))


def test_no_input_is_written_over(photos, tmp_path):
    """Neither its own file nor that of another input."""
    with pytest.raises(InputError, match=r"would be written over .*b\.v2\.png"):
        targets([photos / "trip"], photos / "trip", "")
    earlier = tmp_path / "out/gray_x2.png"
    write_image(earlier, noise())
    with pytest.raises(InputError, match=r"gray\.tif would be written over .*gray_x2\.png"):
        targets([photos / "trip/gray.tif", earlier], tmp_path / "out", "_x2")
    assert targets([photos / "trip"], photos / "trip", "_x4")[0][1] == photos / "trip/b.v2_x4.png"


def test_earlier_results_inside_a_searched_folder_are_left_out(photos):
    """Else each run would enlarge the results of the one before."""
    out = photos / "large"
    first = targets([photos], out, "")
    write_image(out / "a.png", noise())
    assert targets([photos], out, "") == first
    write_image(photos / "trip/only/results/a.png", noise())
    with pytest.raises(InputError, match="no image outside"):
        targets([photos / "trip/only"], photos / "trip/only/results", "")


def test_links_are_followed_in_folders_and_patterns(photos, tmp_path):
    """Linked folders were skipped, and results inside one would be enlarged again."""
    (tmp_path / "disk/deep").mkdir(parents=True)
    write_image(tmp_path / "disk/deep/c.png", noise())
    (tmp_path / "disk/back").symlink_to(photos)
    (photos / "more").symlink_to(tmp_path / "disk")
    found = ["a.png", "more/deep/c.png", "trip/b.v2.png", "trip/gray.png"]
    for given in (photos, photos / "**/*", photos / "**"):
        made = [target for _, target in targets([given], tmp_path / "out", "")]
        assert sorted(target.relative_to(tmp_path / "out").as_posix() for target in made) == found
    assert len(targets([photos / "**/deep/*.png"], tmp_path / "out", "")) == 1
    assert len(targets([photos / "*/*/c.*"], tmp_path / "out", "")) == 1
    out = tmp_path / "disk/results"
    for _, target in targets([photos], out, ""):
        write_image(target, noise())
    assert len(targets([photos], out, "")) == 4


def test_the_progress_bar_stays_out_of_files(model, photos, tmp_path, monkeypatch, capfd):
    """With one stream a terminal and the other a file, rich would send both to the terminal."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    pairs = targets([photos / "a.jpg"], tmp_path / "out", "")
    assert command.upscale_files(Upscaler(model), pairs, command.Job(".png")) == 0
    assert capfd.readouterr().out == f"{tmp_path / 'out/a.png'}\n"


def lines_of(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_results_that_are_there_are_skipped_and_overwritten_on_demand(model, photos, tmp_path):
    """A run that was stopped goes on where it stopped."""
    out = tmp_path / "out"
    (out / "trip").mkdir(parents=True)
    (out / "a.png").write_bytes(b"of an earlier run")
    result = run(photos, "-o", out, "-m", model)
    assert result.exit_code == 0
    assert (out / "a.png").read_bytes() == b"of an earlier run"
    assert "1 of 3 results were there already" in result.stderr
    assert result.stdout.split() == [str(out / "trip/b.v2.png"), str(out / "trip/gray.png")]
    assert run(photos, "-o", out, "-m", model, "--overwrite").exit_code == 0
    assert read_image(out / "a.png").shape == (3, 14, 12)


def test_a_stopped_run_says_so_and_leaves_only_whole_files(model, photos, tmp_path, monkeypatch):
    upscale = Upscaler.upscale

    def stopped(self, image, conditions=None):
        if image.shape[0] == 4:
            raise KeyboardInterrupt
        return upscale(self, image)

    monkeypatch.setattr(Upscaler, "upscale", stopped)
    monkeypatch.setattr(command, "TOGETHER", 1)
    manifest = tmp_path / "m.jsonl"
    result = run(photos, "-o", tmp_path / "out", "-m", model, "--manifest", manifest)
    assert result.exit_code == 130
    assert result.stderr == (
        "esrgan upscale: stopped after 1 of 3 images; the same command goes on from here\n"
    )
    assert written(tmp_path / "out") == ["a.png"]
    assert [line["output"] for line in lines_of(manifest)] == [str(tmp_path / "out/a.png")]


@pytest.fixture
def many(tmp_path):
    """7×6 pixels, but for 1, which is twice as high; 5 is no image."""
    for index in range(8):
        write_image(tmp_path / f"many/{index}.png", noise(seed=index).repeat(1, 1 + (index == 1), 1))
    (tmp_path / "many/5.png").write_bytes(b"not an image")
    return tmp_path / "many"


@pytest.mark.parametrize(
    ("device", "groups"),
    [("cpu", ["01", "234", "5", "67"]), ("meta", ["0", "1", "234", "5", "67"])],
)
def test_small_pictures_go_together_and_come_out_in_order(device, groups, model, many, tmp_path, monkeypatch):
    """Three fit; other devices than the CPU have batches, of one size and kind."""
    monkeypatch.setattr(command, "TOGETHER", 3 * 7 * 6)
    upscaler, seen, enlarge = Upscaler(model, device="cpu", pre_pad=8), [], command._enlarge
    monkeypatch.setattr(command, "_enlarge", lambda up, group: seen.append(group) or enlarge(upscaler, group))
    pairs = [(path, tmp_path / "out" / path.name) for path in sorted(many.iterdir())]
    manifest = tmp_path / "m.jsonl"
    fake = SimpleNamespace(
        device=torch.device(device), scale=upscaler.scale, enlargement=upscaler.enlargement
    )
    assert command.upscale_files(fake, pairs, command.Job(".png", manifest=manifest)) == 1
    assert ["".join(item.source.stem for item in group) for group in seen] == groups
    assert [Path(line["input"]).stem for line in lines_of(manifest)] == [str(index) for index in range(8)]
    for source, target in pairs[:5] + pairs[6:]:
        assert (read_image(target).int() - upscaler(source).int()).abs().max() <= 1


def test_the_next_picture_is_read_and_the_last_written_while_the_network_works(
    model, photos, tmp_path, monkeypatch
):
    """The network waits at the second of three until the first is written and the third read."""
    upscale, written_first, read_third = Upscaler.upscale, threading.Event(), threading.Event()
    read, write = command.read_photo, command.write_whole

    def reading(source):
        if source.name == "gray.tif":
            read_third.set()
        return read(source)

    def writing(target, data):
        write(target, data)
        written_first.set()

    def waiting(self, image, conditions=None):
        if image.shape[0] == 4:
            assert written_first.wait(60)
            assert read_third.wait(60)
        return upscale(self, image, conditions)

    monkeypatch.setattr(command, "read_photo", reading)
    monkeypatch.setattr(command, "write_whole", writing)
    monkeypatch.setattr(Upscaler, "upscale", waiting)
    monkeypatch.setattr(command, "TOGETHER", 1)
    result = run(photos, "-o", tmp_path / "out", "-m", model)
    assert result.exit_code == 0, result.output
    assert written(tmp_path / "out") == ["a.png", "trip/b.v2.png", "trip/gray.png"]


def test_stdin_to_stdout_holds_nothing_but_the_image(model, photos):
    data = (photos / "trip/b.v2.png").read_bytes()
    for options, kind in (((), "PNG"), (("--format", "webp"), "WEBP"), (("--format", "tif"), "TIFF")):
        result = CliRunner().invoke(app, ["upscale", "-", "-m", str(model), *options], input=data)
        assert result.exit_code == 0, result.stderr
        assert result.stderr == ""
        with Image.open(BytesIO(result.stdout_bytes)) as image:
            assert (image.format, image.size, image.mode) == (kind, (12, 14), "RGBA")
    for broken in (b"", b"no image", data[:50]):
        result = CliRunner().invoke(app, ["upscale", "-", "-m", str(model)], input=broken)
        assert (result.exit_code, result.stdout_bytes) == (1, b"")
        assert result.stderr.startswith("esrgan upscale: stdin: ")
    for more in (["a.png"], ["-o", "x"], ["--manifest", "x"]):
        assert run("-", "-m", model, *more).exit_code == 2


def test_patterns_are_expanded_by_the_command_itself(model, photos, tmp_path):
    result = run(f"{photos}/**/*.[pt]*", "-o", tmp_path / "out", "-m", model)
    assert result.exit_code == 0, result.stderr
    assert written(tmp_path / "out") == ["trip/b.v2.png", "trip/gray.png"]
    for none in (f"{photos}/*.gif", f"{photos}/**x"):
        result = run(none, "-o", tmp_path / "none", "-m", model)
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1


def test_one_result_may_be_named(model, photos, tmp_path):
    assert run(photos / "a.jpg", "-o", tmp_path / "large.webp", "-m", model).exit_code == 0
    with Image.open(tmp_path / "large.webp") as image:
        assert (image.format, image.size) == ("WEBP", (12, 14))
    for inputs, more in (([photos], []), ([photos / "a.jpg"], ["--format", "png"])):
        result = run(*inputs, "-o", tmp_path / "other.webp", "-m", model, *more)
        assert result.exit_code == 2
        assert not (tmp_path / "other.webp").exists()


@pytest.mark.parametrize("kind", ["jpg", "webp", "avif", "bmp", "tif"])
def test_formats_hold_what_they_can(model, photos, tmp_path, kind):
    """16 bits become 8 where the chosen format has no more; alpha that shows something is never dropped."""
    result = run(photos, "-o", tmp_path / "out", "-m", model, "--format", kind)
    names = [f"a.{kind}", *([f"trip/b.v2.{kind}"] if kind not in ("jpg", "bmp") else []), f"trip/gray.{kind}"]
    assert written(tmp_path / "out") == names
    assert result.exit_code == (0 if len(names) == 3 else 1)
    if result.exit_code:
        assert "b.v2.png: ." in result.stderr
        assert "holds no alpha" in result.stderr
    gray = read_image(tmp_path / f"out/trip/gray.{kind}")
    assert gray.dtype is (torch.uint16 if kind == "tif" else torch.uint8)


def test_opaque_alpha_is_no_reason_to_refuse_jpeg(model, tmp_path):
    image = torch.cat([noise(), torch.full((1, 7, 6), 255, dtype=torch.uint8)])
    write_image(tmp_path / "x.png", image)
    assert run(tmp_path / "x.png", "-o", tmp_path / "x.jpg", "-m", model).exit_code == 0
    assert read_image(tmp_path / "x.jpg").shape == (3, 14, 12)


@pytest.mark.parametrize(
    "options",
    [
        "--format gif",
        "--quality 50",
        "--quality 0 --format jpg",
        "--tile many",
        "--tile -3",
        "--tile 0",
        "--overlap -1",
        "--precision fp8",
        "--engine openvino",
        "--engine onnx --tile exact",
        "--scale nan",
        "--scale 0.5",
        "--model-scale 3",
        "--device toaster",
        "--alpha-rgb no",
        "--manifest no/such/folder/x.jsonl",
        "--suffix /../x",
        "--suffix a/b",
        r"--suffix ..\x",
    ],
)
def test_options_that_do_not_serve_end_before_any_work(model, photos, tmp_path, options):
    result = run(photos, "-o", tmp_path / "out", "-m", model, *options.split())
    assert result.exit_code == 2
    assert not (tmp_path / "out").exists()
    assert "Usage" in result.stderr or len(result.stderr.splitlines()) == 1  # Typer's own is a box


def test_the_manifest_tells_what_was_made_of_what(model, photos, tmp_path):
    (photos / "broken.png").write_bytes(b"not an image")
    manifest = tmp_path / "m.jsonl"
    arguments = (photos, "-o", tmp_path / "out", "-m", model, "--manifest", manifest, "--scale", 1.5)
    assert run(*arguments).exit_code == 1
    good, bad = lines_of(manifest)[:2]
    assert good["input"] == str(photos / "a.jpg")
    assert good["output"] == str(tmp_path / "out/a.png")
    assert (good["size"], good["result_size"], good["error"]) == ([7, 6], [11, 9], None)
    assert good["result_sha256"] == hashlib.sha256((tmp_path / "out/a.png").read_bytes()).hexdigest()
    assert good["sha256"] == hashlib.sha256((photos / "a.jpg").read_bytes()).hexdigest()
    assert good["settings"]["model_sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert (good["settings"]["scale"], good["settings"]["precision"]) == (1.5, "fp32")
    assert bad["output"] is None
    assert "broken.png" in bad["error"]
    assert run(*arguments).exit_code == 1  # the next run adds what it did: the broken one again
    assert len(lines_of(manifest)) == 5


def test_profile_and_orientation_go_through(model, tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10), "red").save(tmp_path / "x.jpg", exif=exif, icc_profile=profile)
    assert run(tmp_path / "x.jpg", "-o", tmp_path / "out", "-m", model).exit_code == 0
    with Image.open(tmp_path / "out/x.png") as image:
        assert image.size == (20, 40)
        assert image.info["icc_profile"] == profile
        assert image.getexif().get(0x0112, 1) == 1


def test_gamma_and_resolution_go_through_or_are_named(model, tmp_path):
    chunks = {b"gAMA": (100000).to_bytes(4, "big")}
    photo = tmp_path / "x.png"
    photo.write_bytes(encode_image(noise(), ".png", dpi=(300, 300), color_chunks=chunks))
    result = run(photo, "-o", tmp_path / "out", "--model", model)
    assert (result.exit_code, result.stderr) == (0, "")
    large = read_photo(tmp_path / "out/x.png")
    assert large.color_chunks == chunks
    assert large.dpi == pytest.approx((300, 300), abs=0.02)
    result = run(photo, "-o", tmp_path / "out", "--model", model, "--format", "jpg")
    assert result.exit_code == 0
    assert "x.png: its gAMA has no place in .jpg" in result.stderr
    assert read_photo(tmp_path / "out/x.jpg").dpi == (300, 300)
    photo.write_bytes(encode_image(noise(), ".png", color_chunks={b"gAMA": (45455).to_bytes(4, "big")}))
    assert run(photo, "-o", tmp_path / "srgb", "--model", model, "--format", "jpg").stderr == ""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    write_image(photo, noise(), profile=srgb)
    told = run(photo, "-o", tmp_path / "bmp", "--model", model, "--format", "bmp").stderr
    assert "its colour profile has no place in .bmp" in told


def test_colours_under_transparency_are_kept_on_demand(model, tmp_path):
    image = noise(4)
    image[3] = 0
    image[3, 0, 0] = 255
    write_image(tmp_path / "x.png", image)
    for how in ("fill", "keep"):
        result = run(tmp_path / "x.png", "-o", tmp_path / how, "--model", model, "--alpha-rgb", how)
        assert result.exit_code == 0
    colors = Upscaler(model, pre_pad=8)(image[:3])
    assert torch.equal(read_image(tmp_path / "keep/x.png")[:3], colors)
    assert not torch.equal(read_image(tmp_path / "fill/x.png")[:3], colors)


def test_without_options_the_bundled_network_enlarges_into_upscaled(tmp_path, monkeypatch):
    """Right after the install: a photo, and nothing else to be had or said. A name goes before a file."""
    write_image(tmp_path / "photo.jpg", noise(3, 20, 24))
    (tmp_path / "psnr").write_bytes(b"nothing")
    monkeypatch.chdir(tmp_path)
    for words, name in (((), "gan"), (("-m", "psnr", "--overwrite"), "psnr")):
        assert run("photo.jpg", *words).exit_code == 0
        expected = Upscaler(bundled_weights(name), pre_pad=8)("photo.jpg")
        assert torch.equal(read_image("upscaled/photo.png"), expected)
    result = run("photo.jpg", "-m", "./psnr", "--overwrite")
    assert result.exit_code == 2
    assert "psnr: expected a file ending in .safetensors" in result.stderr
