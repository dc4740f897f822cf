"""``esrgan-evaluate``: the published table through the command, and one line for what is wrong."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from esrgan_lightning.cli.evaluate import main, run
from esrgan_lightning.config import compose
from esrgan_lightning.errors import InputError
from esrgan_lightning.metrics import CONVENTION, METRICS
from esrgan_lightning.networks import RRDBNet
from esrgan_lightning.ops import imresize, modcrop, write_image
from esrgan_lightning.weights import save_generator

CURVE = "plane.curve=[runs/p/generator.safetensors,runs/g/generator.safetensors]"
ENDS = "models=[runs/p/generator.safetensors,runs/g/generator.safetensors]"


def evaluate(*overrides):
    return run(compose(*overrides, config="evaluate"))


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A set of one small image, with LR at scale 2 and without at 4; the command is called from beside it."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, 41, 48), generator=generator, dtype=torch.uint8)
    write_image(tmp_path / "sets/Tiny/HR/one.png", image)
    write_image(tmp_path / "sets/Tiny/LRbicx2/one.png", imresize(modcrop(image, 2), 0.5))
    for run_name in ("p", "g"):
        torch.manual_seed(ord(run_name))
        net = RRDBNet(num_features=4, num_blocks=1, growth_channels=2, init_scale=1.0)
        save_generator(tmp_path / f"runs/{run_name}/generator.safetensors", net)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_value_needs_no_brackets(root, capsys):
    evaluate("models=bicubic", "sets=TINY", "root=sets", "out=new/figures.json", "metrics=psnr_y")
    results = json.loads(Path("new/figures.json").read_text())
    assert list(results) == ["tiny"]  # the set as it was typed, in lower case
    assert list(results["tiny"]) == ["bicubic"]
    row = results["tiny"]["bicubic"]
    assert list(row) == ["psnr_y", "images"]
    assert row["images"] == {"one": {"psnr_y": row["psnr_y"]}}
    out = capsys.readouterr().out
    assert "tiny x4, 1 image" in out
    assert f"{row['psnr_y']:.2f}" in out
    assert " ".join(CONVENTION.split()) in " ".join(out.split())
    assert "written: new/figures.json" in out


def test_models_of_one_stem_are_told_apart_and_stand_beside_bicubic(root):
    given = (ENDS, "sets=[tiny]", "root=sets", "metrics=[psnr_y,psnr_rgb]", "tile=6", "device=cpu")
    assert list(evaluate(*given, "bicubic=false")["tiny"]) == ["p/generator", "g/generator"]
    results = evaluate(*given)
    assert list(results["tiny"]) == ["bicubic", "p/generator", "g/generator"]
    assert len({row["psnr_y"] for row in results["tiny"].values()}) == 3
    assert json.loads(Path("evaluation.json").read_text()) == results


def test_a_metrics_file_stands_behind_its_name_or_below_weights(root, monkeypatch):
    """Breaks if the grammar of training is not that of an evaluation."""
    import esrgan_lightning.evaluation

    asked = {}
    monkeypatch.setattr(
        esrgan_lightning.evaluation, "evaluate", lambda *_, **given: asked.update(given) or {}
    )
    metrics = "metrics=[psnr_y,{lpips:{weights:a.pth}},dists]"
    evaluate("models=bicubic", "root=sets", "sets=tiny", metrics, "weights.dists=b.pth")
    assert asked["metrics"] == ["psnr_y", "lpips", "dists"]
    assert asked["weights"] == {"lpips": Path("a.pth"), "dists": Path("b.pth")}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["models=bicubic", "sets=[tiny,set99]"], "no folder 'set99'; it holds Tiny"),
        (["models=bicubic", "sets=tiny", "metrics=[psnr_y,vmaf]"], "vmaf; known are psnr_y"),
        (["models=bicubic", "sets=tiny", "metrics=[]"], "metrics has no value"),
        (["models=bicubic", "sets=tiny", "metrics=[{lpips:{crop:1}}]"], "lpips has no setting crop"),
        (["models=bicubic", "sets=tiny", "weights=null"], "weights=None must be a section"),
        (["models=bicubic", "sets=tiny", "tolerances=5"], "tolerances=5 must be a section"),
        (["models=bicubic", "sets=tiny", "+colour=red"], "colour: there is no such key"),
        (["models=bicubic", "sets=tiny", "+plane.z=pi"], r"plane\.z: there is no such key"),
        (["models=[]"], r"models has no value: models=\[psnr,gan\]"),
        (["sets=tiny"], "models has no value"),
        (["models=bicubic", "root=null"], "root has no value"),
        (["models=runs/p/generator.safetensors", "sets=tiny", "scale=2"], "file holds scale 4"),
        (["models=bicubic", "sets=tiny", "scale=0"], "scale=0 must be"),
        (["models=bicubic", "sets=tiny", "scale=true"], "scale=True must be"),
        (["models=bicubic", "sets=tiny", "tile=0"], "tile=0 must be"),
        (["models=bicubic", "sets=tiny", "overlap=-1"], "overlap=-1 must be"),
        (["models=bicubic", "sets=tiny", "out=f.txt"], r"out=f\.txt: give a name ending in \.json"),
        (["models=bicubic", "sets=tiny", "processes=0"], "processes=0 must be"),
        (["models=bicubic", "sets=tiny", "out=new", "crop=4"], "crops of 4 pixels"),
        (["models=bicubic", "sets=tiny", "crop=wide"], "crop=wide must be a number"),  # of no effect here
        (["models=bicubic", "sets=tiny", "tolerances.psnr_y=-1"], r"tolerances\.psnr_y=-1 must be"),
        (["models=runs/p/generator.safetensors", "sets=tiny", "device=toaster"], "device=toaster"),
    ],
)
def test_what_is_wrong_is_said_before_a_model_runs(root, monkeypatch, overrides, message):
    import esrgan_lightning.evaluation

    monkeypatch.setattr(esrgan_lightning.evaluation, "evaluate", lambda *_, **__: pytest.fail("too late"))
    given = overrides if any(item.startswith("root") for item in overrides) else [*overrides, "root=sets"]
    with pytest.raises(InputError, match=message):
        evaluate(*given)
    assert not Path("evaluation.json").exists()


def script(*arguments):
    return subprocess.run(
        [Path(sys.executable).parent / "esrgan-evaluate", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": str(Path.cwd() / "sets")},
    )


@pytest.mark.slow
def test_the_console_script_prints_and_writes_nothing_else(root):
    """Hydra's own files and folders (outputs/, .hydra/, evaluate.log) would litter the user's."""
    before = sorted(Path().iterdir())
    result = script("models=[bicubic,runs/p/generator.safetensors]", "sets=tiny", "root=sets", "out=f.json")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "bicubic" in result.stdout
    assert sorted(Path().iterdir()) == sorted([*before, Path("f.json")])
    figures = json.loads(Path("f.json").read_text())["tiny"]
    assert set(figures) == {"bicubic", "generator"}
    assert set(figures["bicubic"]["images"]["one"]) == {"psnr_y", "ssim_y"}


def call(monkeypatch, *arguments):
    """The command as typed; its exit code."""
    monkeypatch.setattr(sys, "argv", ["esrgan-evaluate", *arguments])
    try:
        main()
    except SystemExit as end:
        return end.code
    return 0


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("models=[a=b.pth]", "needs quotes"),
        ("model=bicubic", "Could not override 'model'."),
        ("root=nowhere", "models has no value"),
    ],
)
def test_errors_of_the_command_line_are_one_line_and_code_2(root, monkeypatch, capsys, argument, message):
    assert call(monkeypatch, argument) == 2
    err = capsys.readouterr().err
    assert err.startswith("esrgan-evaluate: ")
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("out", ["new", "new/", "v1.0"])
def test_a_folder_takes_tables_and_the_page(root, out, capsys):
    Path("v1.0").mkdir()
    evaluate("models=bicubic", "sets=tiny", "root=sets", f"out={out}", "crop=16")
    files = {path.suffix: path for path in Path(out).iterdir()}
    assert set(files) == {".json", ".csv", ".md", ".tex", ".html"}
    assert {file.stem for file in files.values()} == {"evaluation"}
    told = "".join(capsys.readouterr().out.split())
    assert all(f"evaluation{suffix}" in told for suffix in files)
    assert "bicubic" in json.loads(files.pop(".json").read_text())["tiny"]
    assert all(CONVENTION in file.read_text() for file in files.values())


def test_against_earlier_results(root, monkeypatch, capsys):
    """Code 1 where a figure is worse, by more than its tolerance, and the table says which."""
    given = ("models=bicubic", "sets=tiny", "root=sets", "against=old.json")
    assert call(monkeypatch, *given[:3], "out=old.json") == 0
    assert call(monkeypatch, *given, "out=old.json") == 2
    assert "would replace what is compared with" in capsys.readouterr().err
    assert call(monkeypatch, *given) == 0
    assert "nothing moved" in capsys.readouterr().out
    old = json.loads(Path("old.json").read_text())
    old["tiny"]["bicubic"]["images"]["one"]["psnr_y"] += 0.02
    Path("old.json").write_text(json.dumps(old))
    assert call(monkeypatch, *given) == 1
    out = capsys.readouterr().out
    assert "-0.02000" in out
    assert "worse" in out
    assert call(monkeypatch, *given, "tolerances.psnr_y=0.05") == 0
    assert call(monkeypatch, *given, "metrics=ssim_y") == 1
    assert "missing: metric psnr_y of bicubic on tiny" in capsys.readouterr().out


def test_every_metric_has_its_tolerance_and_its_weights():
    cfg = compose("models=bicubic", config="evaluate")
    assert set(cfg.tolerances) == set(METRICS)
    assert set(cfg.weights) == {name for name, measure in METRICS.items() if measure.network}


def test_the_plane_measures_what_it_shows(root, capsys):
    """Both metrics join those asked for, and what lies between stands in the table like any model."""
    axes = ("plot=plane", "plane.x=rmse_y", "plane.y=rmse_rgb", "plane.alphas=[0.5,0,1]")
    results = evaluate(ENDS, "sets=tiny", "root=sets", "metrics=psnr_y", "device=cpu", *axes, CURVE)["tiny"]
    assert list(results) == ["bicubic", "p/generator", "g/generator", "α 0.5"]
    assert list(results["α 0.5"]) == ["psnr_y", "rmse_y", "rmse_rgb", "images"]
    ends = [results[name]["rmse_rgb"] for name in ("p/generator", "g/generator")]
    assert results["α 0.5"]["rmse_rgb"] not in ends
    assert Path("evaluation_plane.png").read_bytes().startswith(b"\x89PNG")
    assert "warning: generator.safetensors does not say" in capsys.readouterr().err


def test_bundled_networks_are_compared_by_their_names(root, capsys):
    """A path in another spelling is the same model."""
    models = "models=[psnr,gan,./runs/p/generator.safetensors]"
    asked = (models, "sets=tiny", "root=sets", "metrics=lpips", "device=cpu", "plot=plane", "plane.y=lpips")
    results = evaluate(*asked, "plane.curve=[psnr,gan]", "plane.alphas=[0.5]")["tiny"]
    assert list(results) == ["bicubic", "psnr", "gan", "generator", "α 0.5"]
    assert capsys.readouterr().err == ""
    with pytest.raises(InputError, match=r"models=pnsr: .*did you mean psnr"):
        evaluate("models=pnsr", "sets=tiny", "root=sets")
    with pytest.raises(InputError, match=r"plane\.curve=gna: .*did you mean gan"):
        evaluate(*asked, "plane.curve=[psnr,gna]")


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["plot=curve"], "plot=curve"),
        (["plane.y=ssim_y"], "plane.y=ssim_y"),
        (["plane.regions=1"], "plane.regions=1"),
        (["plane.curve=runs/p/generator.safetensors"], "give two of models="),
        (["plane.curve=[bicubic,runs/p/generator.safetensors]"], "give two of models="),
        ([CURVE, "plane.alphas=[0,1.5]"], "plane.alphas"),
        ([CURVE, "plane.alphas=[0.5,0.5]"], "each once"),
    ],
)
def test_a_plane_that_cannot_be_is_named_before_a_model_is_read(root, monkeypatch, overrides, named):
    monkeypatch.setattr("esrgan_lightning.evaluation.load_models", lambda *_, **__: pytest.fail("too late"))
    with pytest.raises(InputError, match=re.escape(named)):
        evaluate(ENDS, "sets=tiny", "root=sets", "plot=plane", *overrides)
