"""Models × sets: the literature's figures, and nothing long before everything is checked."""

import json
import math
import os
import signal

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation import Bicubic, Gallery, TestPair, evaluate, load_models
from esrgan_lightning.metrics import METRICS, NaturalModel, niqe, psnr_rgb, psnr_y, ssim_rgb, ssim_y
from esrgan_lightning.metrics.niqe import save_model
from esrgan_lightning.networks import RRDBNet
from esrgan_lightning.ops import imresize, write_image
from esrgan_lightning.weights import save_generator


def noise_pair(path, height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    write_image(path, torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8))
    return TestPair(path)


@pytest.fixture
def pairs(tmp_path):
    return [noise_pair(tmp_path / f"img{seed}.png", 40, 61, seed) for seed in range(3)]


def test_every_metric_of_every_model_on_every_image(pairs):
    """Images or models that change places, a mean of something else, another border."""

    def as_float(lr):
        return imresize(lr, 2).to(torch.float64) / 255

    models = {"bicubic": lambda lr: imresize(lr, 2), "float": as_float, "black": blackened}
    functions = {"psnr_y": psnr_y, "ssim_y": ssim_y, "psnr_rgb": psnr_rgb, "ssim_rgb": ssim_rgb}
    sets = {"a": pairs[:2], "b": pairs[2:]}
    results = evaluate(models, sets, scale=2, metrics=list(functions))
    assert list(results) == ["a", "b"]
    for name, part in sets.items():
        assert list(results[name]) == list(models)
        assert results[name]["float"] == results[name]["bicubic"]
        row = results[name]["bicubic"]
        assert list(row["images"]) == [pair.name for pair in part]
        for pair in part:
            lr, hr = (image[None] for image in pair.load(2))
            expected = {key: metric(imresize(lr, 2), hr, 2).item() for key, metric in functions.items()}
            assert row["images"][pair.name] == expected
        for metric in functions:
            values = [row["images"][pair.name][metric] for pair in part]
            assert row[metric] == pytest.approx(sum(values) / len(values), abs=1e-12)
        assert results[name]["black"]["psnr_y"] < row["psnr_y"]
    assert set(METRICS) == {
        *(*functions, "rmse_y", "rmse_rgb", "niqe"),
        *("lpips", "lpips_vgg", "lpips_squeeze", "dists", "ma", "pi"),
    }


def blackened(lr):
    return imresize(lr, 2) // 4


def test_identical_images_are_infinitely_good(pairs):
    hrs = iter([pair.load(1)[1] for pair in pairs[:1]])
    rows = evaluate({"oracle": lambda lr: next(hrs)}, {"s": pairs[:1]}, scale=1)["s"]["oracle"]
    assert rows["psnr_y"] == math.inf
    assert rows["ssim_y"] == pytest.approx(1)


def never(lr):
    raise AssertionError("a model ran before everything was checked")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": ["psnr_y", "vmaf"]}, "metrics: vmaf; known are psnr_y, ssim_y"),
        ({"metrics": []}, "none given"),
        ({"models": {}}, "0 models"),
        ({"sets": {}}, "0 sets"),
        ({"sets": {"s": []}}, "set s holds 0 images"),
        ({"metrics": ["niqe"], "scale": 5}, "niqe needs 2 of 96×96"),
        ({"scale": 20}, "leaves 0×20 pixels .* psnr_y needs 1 of 1×1"),
        ({"scale": 200}, "too small for scale 200"),
        (
            {"metrics": ["lpips"], "weights": {"lpips": "gone.pth"}},
            r"metrics: lpips: weights=gone\.pth: there is no such file",
        ),
        (
            {"weights": {"psnr_y": "a"}},
            "psnr_y takes no weights: weights are for niqe, lpips, lpips_vgg,",
        ),
    ],
)
def test_what_cannot_be_evaluated_is_refused_before_a_model_runs(pairs, changes, message):
    arguments = {"models": {"m": never}, "sets": {"s": pairs}, "scale": 2} | changes
    with pytest.raises(InputError, match=message):
        evaluate(arguments.pop("models"), arguments.pop("sets"), **arguments)


def test_a_pair_in_the_last_set_is_checked_before_the_first_is_run(pairs, tmp_path):
    """After an hour of Urban100 an error of the last image would come too late."""
    write_image(tmp_path / "lr.png", torch.zeros(3, 50, 50, dtype=torch.uint8))
    for last, message in (
        ([TestPair(pairs[0].hr, tmp_path / "lr.png")], "no pair"),
        ([pairs[0], pairs[0]], "name of its own"),
        ([noise_pair(tmp_path / "icon.png", 14, 40)], r"icon\.png leaves 10×36 .* ssim_y needs 1 of 11×11"),
    ):
        with pytest.raises(InputError, match=message):
            evaluate({"m": never}, {"good": pairs, "bad": last}, scale=2)


def test_a_model_of_another_scale_is_named(pairs):
    with pytest.raises(InputError, match=r"wrong made \(3, 80, 120\) of img0, and the HR is \(3, 40, 60\)"):
        evaluate({"wrong": lambda lr: imresize(lr, 4)}, {"s": pairs}, scale=2)


def random_weights(file):
    """SqueezeNet's features, untrained."""
    torch.manual_seed(0)
    state = torchvision.models.squeezenet1_1(weights=None).features.state_dict()
    save_file({f"features.{key}": value for key, value in state.items()}, file)
    return file


@pytest.mark.slow
def test_several_processes_give_the_same_bits_in_the_same_order(pairs, tmp_path):
    torch.manual_seed(0)
    net = RRDBNet(num_features=4, num_blocks=1, growth_channels=2, scale=2, init_scale=1.0)
    save_generator(tmp_path / "net.safetensors", net)
    weights = {"lpips_squeeze": random_weights(tmp_path / "squeeze.safetensors")}
    models = load_models(["bicubic", str(tmp_path / "net.safetensors")], 2, device="cpu")
    sets = {"b": pairs[1:], "a": pairs[:1]}
    given = {"scale": 2, "metrics": ["ssim_y", "lpips_squeeze"], "weights": weights, "device": "cpu"}
    galleries = Gallery(crop=16), Gallery(crop=16)
    one, two = (
        evaluate(models, sets, processes=number, gallery=gallery, **given)
        for number, gallery in enumerate(galleries, 1)
    )
    assert json.dumps(one) == json.dumps(two)
    assert galleries[0] == galleries[1]


def dying(lr):
    os._exit(1)


@pytest.mark.slow
def test_a_process_that_ends_is_an_error(pairs):
    """One that the system kills must not leave the others waiting for ever."""
    with pytest.raises(InputError, match="processes=2 ended before"):
        evaluate({"m": dying}, {"s": pairs[:1]}, scale=2, processes=2)


def enlarged_where_ctrl_c_is_held(lr):
    assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    return imresize(lr, 2)


def test_ctrl_c_does_not_end_the_processes_while_they_start(pairs):
    """Breaks if those that Ctrl-C reaches before they have set it aside end with the pool's own traceback."""
    evaluate({"m": enlarged_where_ctrl_c_is_held}, {"s": pairs[:2]}, scale=2, processes=2)


def test_rmse_of_a_set_is_the_root_of_the_mean_square(tmp_path):
    """PIRM's: breaks if roots are averaged."""
    pairs = [noise_pair(tmp_path / f"{n}.png", 40, 40 + 4 * n) for n in range(2)]
    models = {"black": lambda lr: 0 * imresize(lr, 2)}
    row = evaluate(models, {"s": pairs}, scale=2, metrics=["rmse_y"])["s"]["black"]
    squares = [values["rmse_y"] ** 2 for values in row["images"].values()]
    assert row["rmse_y"] == pytest.approx((sum(squares) / 2) ** 0.5, abs=1e-12)


def test_niqe_is_of_the_result_within_the_border_by_any_model(tmp_path):
    """Breaks if weights.niqe is dropped on the way: the authors' model would judge in silence."""
    noise = noise_pair(tmp_path / "noise.png", 104, 205)
    model = NaturalModel(torch.zeros(36, dtype=torch.float64), torch.eye(36, dtype=torch.float64))
    save_model(tmp_path / "mine.safetensors", model)
    sr = imresize(noise.load(2)[0], 2)[None]
    for weights, judge in (({}, None), ({"niqe": tmp_path / "mine.safetensors"}, model)):
        results = evaluate({"m": Bicubic(2)}, {"s": [noise]}, scale=2, metrics=["niqe"], weights=weights)
        assert results["s"]["m"]["niqe"] == niqe(sr, 2, judge).item()
