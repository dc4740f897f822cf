"""``esrgan interpolate``: two models in, their blend out, or one line."""

import json

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from esrgan_lightning import Upscaler, load_generator
from esrgan_lightning.cli.app import app
from esrgan_lightning.networks import RRDBNet, SRResNet
from esrgan_lightning.ops import read_image, to_uint8, write_image
from esrgan_lightning.weights import read_generator_file, save_generator


def net(seed, **settings):
    torch.manual_seed(seed)
    return RRDBNet(num_features=4, num_blocks=1, growth_channels=2, **settings)


@pytest.fixture
def files(tmp_path):
    for seed, name in enumerate(("psnr", "gan")):
        save_generator(tmp_path / f"{name}.safetensors", net(seed), metadata={"run": name})
    return [tmp_path / "psnr.safetensors", tmp_path / "gan.safetensors"]


def run(*arguments):
    return CliRunner().invoke(app, ["interpolate", *map(str, arguments)])


@pytest.mark.parametrize("alpha", [None, 0.3])
def test_the_blend_lies_between_the_two(files, tmp_path, alpha):
    """0.8 of the GAN by default, as in the paper: the other way round it would be 0.2."""
    out = tmp_path / "new/mid.safetensors"
    result = run(*files, "-o", out, *([] if alpha is None else ["--alpha", alpha]))
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == f"written: {out}"
    share = 0.8 if alpha is None else alpha
    psnr, gan, mid = (load_generator(path).state_dict() for path in (*files, out))
    for name, tensor in mid.items():
        torch.testing.assert_close(tensor, (1 - share) * psnr[name] + share * gan[name], rtol=0, atol=1e-7)
    blend = read_generator_file(out).metadata["interpolation"]
    assert blend["alpha"] == share
    assert [parent["metadata"]["run"] for parent in blend["parents"]] == ["psnr", "gan"]
    assert Upscaler(out, device="cpu")(torch.zeros(3, 4, 4, dtype=torch.uint8)).shape == (3, 16, 16)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        *((f"psnr gan -o mid --alpha {alpha}", f"alpha={alpha}") for alpha in ("-0.1", "1.5", "nan", "inf")),
        *((f"psnr {name} -o mid", f"{name}.safetensors") for name in ("wide", "other", "broken", "missing")),
        ("psnr gan -o gan", "is one of the models"),
        ("psnr gan -o mid.pth", ".safetensors"),
        ("psnr gan wide -o mid", "3 models: --alpha blends two"),
        ("psnr gan gan -o mid --weights 0.5,0.3", "3 networks and 2 weights"),
        ("psnr gan gan -o mid --weights a,b,c", "--weights a,b,c: give numbers"),
        ("psnr gan -o mid --weights 0.5,0.5 --alpha 0.5", "give one of them"),
    ],
)
def test_what_cannot_be_blended_is_one_line_and_leaves_nothing(files, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    save_generator(tmp_path / "wide.safetensors", net(0, in_channels=1))
    save_generator(tmp_path / "other.safetensors", SRResNet(num_features=4, num_blocks=1))
    (tmp_path / "broken.safetensors").write_bytes(b"broken")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    names = {"psnr", "gan", "wide", "other", "broken", "missing", "mid"}
    result = run(*(f"{word}.safetensors" if word in names else word for word in words.split()))
    assert (result.exit_code, says in result.stderr, len(result.stderr.splitlines())) == (2, True, 1)
    assert result.stderr.startswith("esrgan interpolate: ")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_several_models_by_their_weights(files, tmp_path):
    save_generator(tmp_path / "third.safetensors", net(2))
    models = [*files, tmp_path / "third.safetensors"]
    result = run(*models, "--weights", "0.5,0.3,0.2", "-o", tmp_path / "mid.safetensors")
    assert result.exit_code == 0, result.output
    states = [load_generator(path).state_dict() for path in models]
    for name, tensor in load_generator(tmp_path / "mid.safetensors").state_dict().items():
        expected = sum(w * state[name] for w, state in zip((0.5, 0.3, 0.2), states, strict=True))
        torch.testing.assert_close(tensor, expected, rtol=0, atol=1e-6)


@pytest.fixture
def photos(tmp_path):
    generator = torch.Generator().manual_seed(0)
    for name in ("x/a", "y/a"):  # of one stem
        noise = torch.rand(1, 3, 20, 24, generator=generator)
        smooth = torch.nn.functional.interpolate(noise, scale_factor=8, mode="bicubic")[0]
        write_image(tmp_path / f"photos/{name}.png", to_uint8(smooth.clamp(0, 1)))
    return tmp_path / "photos"


def test_a_sweep_leaves_pictures_and_figures(photos, tmp_path):
    files, out = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"], tmp_path / "sweep"
    for seed, file in enumerate(files):  # of a size at which frames differ: equal ones become one
        save_generator(file, net(seed, init_scale=1.0))
    words = ["alpha-sweep", *files, photos, "-o", out, "--alphas", "0:1:0.5", "--metrics", "psnr_y,psnr_rgb"]
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == 0, result.output
    found = json.loads((out / "sweep.json").read_text())
    assert found["alphas"] == [0, 0.5, 1]
    assert set(found["network_interpolation"]) == {"psnr_y", "psnr_rgb"}
    for kind in ("gif", "webp"):
        with Image.open(out / f"sweep.{kind}") as image:
            assert (image.n_frames, image.size) == (4, (192, 160))
    assert read_image(out / "strip.png").shape[0] == 3
    assert read_image(out / "curves.png").shape[-1] > 500
    assert sorted(path.name for path in out.iterdir()) == [
        "curves.png", "strip.png", "sweep.gif", "sweep.json", "sweep.webp",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--alphas", "0:1", "give FIRST:LAST:STEP"),
        ("--alphas", "0:1:0.001", "1000 steps"),
        ("--alphas", "0:1:0", "give FIRST:LAST:STEP"),
        ("--alphas", "0.5,0.2", "ascending"),
        ("--alphas", "0,2", "alpha=2"),
        ("--metrics", "psnr", "psnr"),
        ("--features", "lpips", "give METRIC=FILE"),
        ("--features", "psnr_y=a.safetensors", "weights are for niqe, lpips"),
    ],
)
def test_a_sweep_refuses_before_any_work(files, photos, tmp_path, option, value, says):
    words = ["alpha-sweep", *files, photos, "-o", tmp_path / "sweep", option, value]
    result = CliRunner().invoke(app, list(map(str, words)))
    assert (result.exit_code, says in result.stderr) == (2, True), result.output
    assert not (tmp_path / "sweep").exists()
