"""The networks that come with the package are what their card says."""

import re
from pathlib import Path

import pytest
import torch

from esrgan_lightning.evaluation import evaluate, find_set, load_models
from esrgan_lightning.weights import boxed
from esrgan_lightning.weights.checkpoint import read_generator_file
from esrgan_lightning.weights.description import describe_file
from esrgan_lightning.weights.interpolation import kinship, read_alike

CARD = Path(boxed("gan")).with_name("MODEL_CARD.md").read_text("utf-8")


def test_they_are_small_a_pair_and_finite():
    files = [boxed(name) for name in ("psnr", "gan")]
    assert sum(file.stat().st_size for file in files) < 5_000_000
    states, spec, records = read_alike(files)
    assert spec["arguments"]["scale"] == 4
    assert kinship(*records) is None, "the GAN network was not trained from the PSNR network"
    assert all(tensor.isfinite().all() for state in states for tensor in state.values())
    assert not all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("name", ["psnr", "gan"])
def test_the_card_speaks_of_these_files(name):
    described = describe_file(boxed(name))
    assert described["sha256"] in CARD
    assert f"{described['parameters']:,}" in CARD
    assert described["updates"] is not None
    assert f"{described['updates']:,}" in CARD


def test_no_path_of_a_machine_is_in_them():
    for name in ("psnr", "gan"):
        said = str(read_generator_file(boxed(name)).metadata)
        assert not re.search(r"/(home|root|tmp|work|Users)\b", said)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Set5", pytest.param("Set14", marks=pytest.mark.long)])
def test_the_cards_figures(shared, name):
    """Measured again, to the last printed digit."""
    pairs = find_set(shared(f"data/{name}").parent, name.lower(), 4)
    models = load_models(["bicubic", *(str(boxed(each)) for each in ("psnr", "gan"))], 4, device="cpu")
    metrics = {"psnr_y": 0.006, "ssim_y": 0.0001, "niqe": 0.02, "lpips": 0.0003}
    weights = {"lpips": shared("weights/alexnet_features_fp16.safetensors")}
    found = evaluate(models, {name: pairs}, scale=4, metrics=list(metrics), weights=weights, device="cpu")
    for model, figures in found[name].items():
        (cells,) = re.findall(rf"^\| {name} \| {model} \| (.*) \|$", CARD, re.MULTILINE)
        for (metric, slack), cell in zip(metrics.items(), cells.split("|"), strict=True):
            assert figures[metric] == pytest.approx(float(cell), abs=slack), (model, metric)
