"""Models × sets: the literature's figures, and nothing long before everything is checked."""

import json
import math

import pytest
import torch

from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation import METRICS, TestPair, evaluate, find_set, load_models
from esrgan_lightning.metrics import niqe, psnr_rgb, psnr_y, ssim_rgb, ssim_y
from esrgan_lightning.ops import imresize, write_image


def table(shared, folder, scale):
    return json.loads(shared("oracles/bicubic_psnr_ssim.json").read_text())[f"{folder}/x{scale}"]


def assert_published(rows, expected):
    assert sorted(rows["images"]) == expected["images"]
    for metric, tolerance in (("psnr_y", 1e-3), ("ssim_y", 1e-5)):
        found = [rows["images"][name][metric] for name in expected["images"]]
        assert found == pytest.approx(expected[metric], abs=tolerance)
        assert rows[metric] == pytest.approx(expected["mean"][metric], abs=tolerance)


@pytest.mark.parametrize("given", [True, False], ids=["given", "made"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_on_set5_has_the_published_figures(shared, scale, given):
    """With the LR files, and with LR of our own making."""
    pairs = find_set(shared("data/Set5").parent, "set5", scale)
    pairs = pairs if given else [TestPair(pair.hr) for pair in pairs]
    results = evaluate(load_models(["bicubic"], scale), {"set5": pairs}, scale=scale, progress=False)
    assert_published(results["set5"]["bicubic"], table(shared, "Set5", scale))


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_on_set14_has_the_published_figures(shared, scale):
    """Its third image is gray: through RGB its Y would be another."""
    pairs = {"set14": find_set(shared("data/Set14").parent, "set14", scale)}
    results = evaluate(load_models(["bicubic"], scale), pairs, scale=scale, progress=False)
    assert_published(results["set14"]["bicubic"], table(shared, "Set14", scale))


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
    assert set(METRICS) == {*functions, "niqe"}


def test_niqe_is_of_the_result_within_the_border(tmp_path):
    noise = noise_pair(tmp_path / "noise.png", 104, 205)
    rows = evaluate({"m": lambda lr: imresize(lr, 2)}, {"s": [noise]}, scale=2, metrics=["niqe"])["s"]["m"]
    lr, _ = noise.load(2)
    assert rows["niqe"] == rows["images"]["noise"]["niqe"] == niqe(imresize(lr, 2)[None], 2).item()


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
        (
            {"metrics": ["psnr_y", "vmaf"]},
            "metrics: vmaf; known are psnr_y, ssim_y, psnr_rgb, ssim_rgb, niqe",
        ),
        ({"metrics": []}, "none given"),
        ({"models": {}}, "0 models"),
        ({"sets": {}}, "0 sets"),
        ({"sets": {"s": []}}, "set s holds 0 images"),
        ({"metrics": ["niqe"], "scale": 5}, "niqe needs 2 of 96×96"),
        ({"scale": 20}, "leaves 0×20 pixels .* psnr_y needs 1 of 1×1"),
        ({"scale": 200}, "too small for scale 200"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_before_a_model_runs(pairs, changes, message):
    arguments = {"models": {"m": never}, "sets": {"s": pairs}, "scale": 2} | changes
    with pytest.raises(InputError, match=message):
        evaluate(arguments.pop("models"), arguments.pop("sets"), **arguments)


def test_an_image_too_small_for_a_metric_is_named_first(tmp_path):
    """After an hour of Urban100 SSIM's own error would come too late."""
    icon = noise_pair(tmp_path / "icon.png", 17, 40)
    with pytest.raises(InputError, match=r"icon\.png leaves 8×32 .* ssim_y needs 1 of 11×11"):
        evaluate({"m": never}, {"s": [icon]}, scale=4)


def test_a_pair_in_the_last_set_is_checked_before_the_first_is_run(pairs, tmp_path):
    write_image(tmp_path / "lr.png", torch.zeros(3, 50, 50, dtype=torch.uint8))
    wrong = TestPair(pairs[0].hr, tmp_path / "lr.png")
    with pytest.raises(InputError, match="no pair"):
        evaluate({"m": never}, {"good": pairs, "bad": [wrong]}, scale=2)
    with pytest.raises(InputError, match="name of its own"):
        evaluate({"m": never}, {"twice": [pairs[0], pairs[0]]}, scale=2)


def test_a_model_of_another_scale_is_named(pairs):
    with pytest.raises(InputError, match=r"wrong made \(3, 80, 120\) of img0, and the HR is \(3, 40, 60\)"):
        evaluate({"wrong": lambda lr: imresize(lr, 4)}, {"s": pairs}, scale=2)
