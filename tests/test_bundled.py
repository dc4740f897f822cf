"""The bundled networks: found by their names wherever a model is asked for, and what their card says."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
from typer.testing import CliRunner

from esrgan_lightning import bundled, load_generator
from esrgan_lightning.bundled import FOLDER, bundled_names, bundled_weights
from esrgan_lightning.cli.app import app
from esrgan_lightning.cli.models import complete_model
from esrgan_lightning.config import compose
from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation import evaluate, find_set, load_models
from esrgan_lightning.training import train
from esrgan_lightning.weights import describe_file, read_generator_file
from esrgan_lightning.weights.interpolation import ancestry_warning, load_compatible
from esrgan_lightning.weights.names import model_names, model_path

CARD = (FOLDER / "MODEL_CARD.md").read_text("utf-8")
FIGURES = json.loads((FOLDER / "figures.json").read_text("utf-8"))
# Metric → digits that the card prints.
DIGITS = {"psnr_y": 2, "ssim_y": 4, "niqe": 2, "lpips": 4}


def run(*words):
    return CliRunner().invoke(app, list(map(str, words)))


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_further_size_needs_nothing_but_its_file(tmp_path, monkeypatch):
    (tmp_path / "psnr_medium.safetensors").write_bytes(bundled_weights("psnr").read_bytes())
    monkeypatch.setattr(bundled, "FOLDER", tmp_path)
    assert bundled_names() == ["psnr_medium"]
    assert load_generator("psnr_medium").scale == 4
    told = json.loads(run("models", "--json").stdout)[0]
    assert (told["name"], told["use"], told["figures"]) == ("psnr_medium", "fidelity", {})


def test_a_name_means_the_network_and_only_a_path_means_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "psnr").mkdir()
    (tmp_path / "gan").write_bytes(b"mine")
    assert model_path("psnr") == bundled_weights("psnr")
    assert model_path("./psnr").samefile(tmp_path / "psnr")
    assert model_path(Path("gan")).samefile(tmp_path / "gan")
    (tmp_path / "theirs").mkdir()
    assert model_path("theirs") == Path("theirs")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert model_path("~/a.safetensors") == tmp_path / "a.safetensors"


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("pnsr", "init=pnsr: neither a file nor a model has that name; did you mean psnr?"),
        ("atuo", "init=atuo: neither a file nor a model has that name; did you mean auto?"),
        ("realesrgan_x4", "neither a file nor a model has that name; did you mean RealESRGAN_x4plus"),
        ("zzz", "init=zzz: neither a file nor a model has that name; known are gan, psnr"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(word, says):
    with pytest.raises(InputError, match=re.escape(says)):
        model_path(word, key="init=", also=["auto"])
    with pytest.raises(InputError, match="gna: no bundled network has that name; did you mean gan"):
        bundled_weights("gna")


def test_completion_offers_names_beside_files(tmp_path, monkeypatch):
    """Without torch: a shell asks for them each time that somebody presses Tab."""
    monkeypatch.chdir(tmp_path)
    for name in ("generator.safetensors", "photo.png"):
        (tmp_path / name).touch()
    assert complete_model("g") == ["gan", "generator.safetensors"]
    assert complete_model("generator") == []  # shells complete paths where there is nothing else
    assert set(complete_model("")) == {*model_names(), "generator.safetensors", "photo.png"}
    code = "import sys; from esrgan_lightning.cli.models import complete_model; complete_model('ga')"
    done = subprocess.run([sys.executable, "-c", f"{code}; print('torch' in sys.modules)"], stdout=-1)
    assert done.stdout == b"False\n"


def test_every_command_takes_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words, written in (
        (("interpolate", "psnr", "gan", "-o", "mid.safetensors"), "mid.safetensors"),
        (("convert", "gan", "-o", "copy.safetensors", "--to", "safetensors"), "copy.safetensors"),
        (("export", "psnr", "-o", "net.onnx", "--no-check"), "net.onnx"),
    ):
        done = run(*words)
        assert (done.exit_code, done.stderr) == (0, ""), done.output
        assert (tmp_path / written).is_file()
    assert same(load_generator("copy.safetensors"), load_generator("gan"))
    assert "RRDBNet" in run("inspect", "psnr").stdout
    for words in (
        ("upscale", "x.png", "-m", "gna"),
        ("interpolate", "psnr", "gna", "-o", "mid.safetensors"),
        ("alpha-sweep", "psnr", "gna", "x.png", "-o", "sweep"),
        ("convert", "gna", "-o", "a.pth", "--to", "basicsr"),
        ("export", "gna", "-o", "a.onnx"),
        ("inspect", "gna"),
        ("ui", "--gan", "gna"),
    ):
        done = run(*words)
        assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), words
        assert "did you mean gan?" in done.stderr


@pytest.mark.slow
def test_a_gan_training_starts_from_psnr(tmp_path, monkeypatch, capsys):
    """With the settings that the file states; with others, the message is these settings."""
    monkeypatch.chdir(tmp_path)
    spec = read_generator_file("psnr").spec["arguments"]
    fitting = [f"generator.{name}={value}" for name, value in spec.items() if not name.startswith("init_")]
    sizes = [size for size in tiny.GAN if not size.startswith("generator.")]
    job = ("stage=gan", "preset=demo", "init=psnr", "generator=rrdb_bundled", *sizes)
    run_dir = tmp_path / "run"
    train(compose(*job, *fitting), run_dir)
    origin = read_generator_file(run_dir / "generator.safetensors").metadata["init"]
    assert origin["file"] == "psnr.safetensors"
    assert origin["sha256"] == describe_file("psnr")["sha256"]
    asked = (
        f"init=psnr does not fit the generator: it was made with generator.num_blocks={spec['num_blocks']}"
    )
    with pytest.raises(InputError, match=re.escape(asked)):
        train(compose(*job, *fitting, "generator.num_blocks=1"), tmp_path / "other")
    with pytest.raises(InputError, match=r"init=pnsr: .*did you mean psnr"):
        train(compose(*job, "init=pnsr"), tmp_path / "other")


def test_they_are_small_a_pair_and_finite():
    files = [bundled_weights(name) for name in ("psnr", "gan")]
    assert sum(file.stat().st_size for file in files) < 5_000_000
    states, spec, records = load_compatible(files)
    assert spec["arguments"]["scale"] == 4
    assert ancestry_warning(*records) is None, "the GAN network was not trained from the PSNR network"
    assert all(tensor.isfinite().all() for state in states for tensor in state.values())
    assert not all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("name", bundled_names())
def test_the_card_speaks_of_these_files(name):
    described = describe_file(name)
    assert described["sha256"] in CARD
    assert f"{described['parameters']:,}" in CARD
    assert described["updates"] is not None
    assert f"{described['updates']:,}" in CARD


def test_the_cards_figures_are_those_of_the_file():
    """figures.json is what esrgan-evaluate wrote; the card prints its means."""
    for sets, rows in FIGURES.items():
        assert {"bicubic", *bundled_names()} == set(rows)
        for model, figures in rows.items():
            cells = " | ".join(f"{figures[metric]:.{digits}f}" for metric, digits in DIGITS.items())
            assert f"| {sets.capitalize()} | {model} | {cells} |" in CARD


def test_the_table_has_each_networks_size_and_figures():
    shown = run("models").stdout
    for told in json.loads(run("models", "--json").stdout)[: len(bundled_names())]:
        line = next(line for line in shown.splitlines() if line.split()[:1] == [told["name"]])
        set5 = FIGURES["set5"][told["name"]]
        assert f"{told['parameters']:,}" in line
        assert f"{set5['psnr_y']:.2f} / {set5['lpips']:.3f}" in line
        assert told["figures"]["set5"]["lpips"] == set5["lpips"]
        assert told["licence"] == "Apache-2.0"


def test_no_path_of_a_machine_is_in_them():
    for name in bundled_names():
        said = str(read_generator_file(name).metadata)
        assert not re.search(r"/(home|root|tmp|work|Users)\b", said)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Set5", pytest.param("Set14", marks=pytest.mark.long)])
def test_the_figures_are_measured_again(shared, name):
    pairs = find_set(shared(f"data/{name}").parent, name.lower(), 4)
    models = load_models(["bicubic", *bundled_names()], 4, device="cpu")
    slack = {"psnr_y": 0.002, "ssim_y": 0.0001, "niqe": 0.02, "lpips": 0.0003}
    found = evaluate(models, {name: pairs}, scale=4, metrics=list(slack), device="cpu")
    for model, figures in found[name].items():
        for metric, allowed in slack.items():
            expected = FIGURES[name.lower()][model][metric]
            assert figures[metric] == pytest.approx(expected, abs=allowed), (model, metric)
