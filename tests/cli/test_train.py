"""What a user types after `esrgan-train`, and what comes back."""

import csv
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import tiny
import torch
import wandb
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from esrgan_lightning.networks import RRDBNet
from esrgan_lightning.ops import write_image
from esrgan_lightning.weights import read_generator_file, save_generator

SCRIPT = Path(sys.executable).with_name("esrgan-train")


def photo(path, height, width):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, torch.randint(256, (3, height, width), dtype=torch.uint8))
    return path


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_both_stages_leave_what_was_promised(call, tmp_path):
    """Breaks if an output is missing, misnamed, or does not say where it comes from."""
    code, out, err = call("stage=psnr", "name=p", *tiny.PSNR)
    assert code == 0, err
    assert re.search(r"runs/p: psnr_y \d+\.\d{4} · ssim_y", out)
    code, out, err = call("stage=gan", "name=g", "init=runs/p/generator.safetensors", *tiny.GAN)
    assert code == 0, err
    for name in ("p", "g"):
        run = tmp_path / "runs" / name
        assert {each.name for each in run.iterdir()} == {
            "checkpoints", "samples", "config.yaml", "generator.safetensors", "metrics.csv", "outcome.json",
            ".lock", "train.log",
        }  # fmt: skip
        assert {each.name for each in (run / "checkpoints").iterdir()} == {
            "last.ckpt", "best_update_0000002.ckpt",
        }  # fmt: skip
        assert [each.name for each in (run / "samples").iterdir()] == ["update_0000002.png"]
        assert [row["step"] for row in rows(run / "metrics.csv")] == ["1", "2"]
        assert {"val/psnr_y", "val/ssim_y", "images_per_second", "train/skipped", "train/lr"} <= set(
            rows(run / "metrics.csv")[-1]
        )
        assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["max_updates"] == 2
        assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 2

    psnr, gan = (read_generator_file(tmp_path / f"runs/{name}/generator.safetensors") for name in "pg")
    assert gan.spec["architecture"] == "RRDBNet"
    assert set(gan.metadata) == {"versions", "git_revision", "config_hash", "data_hash", "init", "updates"}
    assert {"python", "torch", "pytorch-lightning", "esrgan-lightning"} == set(gan.metadata["versions"])
    assert gan.metadata["updates"] == 2
    assert gan.metadata["data_hash"] == psnr.metadata["data_hash"]
    assert gan.metadata["config_hash"] != psnr.metadata["config_hash"]
    assert psnr.metadata["init"] is None
    assert gan.metadata["init"]["file"] == "generator.safetensors"
    assert gan.metadata["init"]["metadata"] == psnr.metadata


PARTS = "pytorch_lightning.callbacks"
# What goes wrong, what the one line says.
REFUSED = {
    "init missing": (["stage=gan"], "the GAN stage starts from a PSNR model: give init=FILE"),
    "init not there": (["stage=gan", "init=no/such.ckpt"], "no/such.ckpt: there is no such file"),
    "init unreadable": (["stage=gan", "init=broken.safetensors"], "broken.safetensors: not readable"),
    "init of another size": (["stage=gan", "init=other.safetensors"], "generator.num_features=4 generator"),
    "init of another scale": (["stage=gan", "init=other.safetensors", "scale=2"], "scale=4"),
    "init of another network": (["init=other.safetensors", "generator=srresnet"], "holds RRDBNet, and the"),
    "patch too large": (["data=folder", "data.train_dir=small"], "smaller than data.patch_size=64"),
    "patch that D cannot have": (["stage=gan", "init=null", "data.patch_size=48"], "a multiple of 32"),
    "empty folder": (["data=folder", "data.train_dir=empty"], "empty"),
    "no folder given": (["data=folder"], "data.train_dir has no value"),
    "resume from nothing": (["resume=last"], "resume=last: no checkpoint"),
    "resume from what is none": (["resume=weights.pth"], "no checkpoint of a training run"),
    "unknown key": (["traner.max_updates=3"], "traner"),
    "unknown key, added at the top": (["+sede=3"], "sede: there is no such key; did you mean seed"),
    "unknown key of the trainer": (["+trainer.max_update=3"], "trainer.max_update: there is no such key"),
    "an option that the library sets": (["+trainer.max_epochs=3"], "give trainer.max_updates"),
    "unknown profiler": (["+trainer.profiler=fast"], "trainer.profiler=fast: choose simple, advanced"),
    "logger without a class": (["+logger.mine.project=x"], "logger.mine has no _target_"),
    "logger that is none": (["+logger.mine._target_=torch.nn.ReLU"], "expected a Logger"),
    "callback without a class": (["+callbacks.es.monitor=val/psnr_y"], "callbacks.es has no _target_"),
    "callback that is none": (["+callbacks.es._target_=torch.nn.ReLU"], "expected a Callback"),
    "callback that is nowhere": (["+callbacks.es._target_=no.Such"], "callbacks.es._target_ cannot be had"),
    "callback that watches nothing": (
        [f"+callbacks.es._target_={PARTS}.EarlyStopping", "+callbacks.es.monitor=val/vmaf"],
        "callbacks.es.monitor=val/vmaf is none of the metrics: val/psnr_y, val/ssim_y",
    ),
    "key of a callback that it lacks": (
        [f"+callbacks.lr._target_={PARTS}.LearningRateMonitor", "+callbacks.lr.foo=1"], "callbacks.lr: ",
    ),
    "unknown preset": (["preset=papr"], "There are basicsr, demo, mini, paper, and what a --config-dir"),
    "weight of a term that is off": (["loss.weights.lpips=1"], "choose it with loss/lpips=…"),
    "unknown key, added": (["+generator.depth=3"], "depth"),
    "unknown key of the stage, added": (["+stage.foo=3"], "foo"),
    "negative weight": (["loss.weights.pixel=-1"], "weights.pixel=-1.0"),
    "adversarial without discriminator": (["loss.weights.adversarial=1"], "loss.weights.adversarial"),
    "updates that are no number": (["trainer.max_updates=many"], "trainer.max_updates=many"),
    "unknown monitor": (["trainer.monitor=lpips"], "lpips is none of the metrics: psnr_y, ssim_y"),
    "unknown accelerator": (["trainer.accelerator=tpu"], "trainer.accelerator=tpu"),
    "batch that processes cannot share": (["data.batch_size=0"], "data.batch_size=0"),
    "name with an equals sign": (["name='a=b'"], "name=a=b: use letters, digits"),
    "a value that needs quotes": (["name=a=b"], "name=a=b cannot be read"),
    "a name where a list has a number": (["metrics.psnr_y.crop=2"], "metrics.psnr_y.crop=2: "),
    "a number where a choice is": (["generator=null"], "generator=null: Config group override must be"),
    "a reference to nothing": (["seed=${sede}"], "seed: Interpolation key 'sede' not found"),
    "a mapping where a number is": (["++seed.a=1"], "seed={'a': 1} must be a whole number"),
    "a number where a mapping is": (["callbacks=5"], "callbacks=5 must be a section"),
    "nothing where a mapping is": (["loss.weights=null"], "loss.weights=None must be a section"),
    "devices that are none": (["trainer.devices=-2"], "trainer: `devices` selected with"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "said"), REFUSED.values(), ids=REFUSED)
def test_what_a_user_gets_wrong_is_one_line(call, tmp_path, arguments, said):
    """Breaks if an error shows a traceback, does not name the culprit, or comes after training began."""
    save_generator(tmp_path / "other.safetensors", RRDBNet(num_features=4, num_blocks=2, growth_channels=2))
    torch.save({"a": torch.zeros(1)}, tmp_path / "weights.pth")
    (tmp_path / "broken.safetensors").write_bytes(b"not weights")
    (tmp_path / "empty").mkdir()
    for number in range(2):
        photo(tmp_path / f"small/{number}.png", 48, 200)
    sizes = (*(tiny.GAN if "stage=gan" in arguments else tiny.PSNR), "data.patch_size=64")
    if "generator=srresnet" in arguments:
        sizes = [size for size in sizes if "growth_channels" not in size]
    code, out, err = call(*sizes, *arguments)
    assert code == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1, err
    assert "Traceback" not in out + err
    assert not list(tmp_path.glob("runs/*/checkpoints"))


def test_vgg_that_cannot_be_downloaded_is_one_line_with_the_ways_out(call, monkeypatch, tmp_path):
    """Breaks if a machine without network shows a traceback, or trains with random features."""

    def unreachable(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    sizes = [each for each in tiny.GAN if "perceptual" not in each]
    code, _, err = call("stage=gan", "init=null", *sizes)
    assert code == 2
    assert err.startswith("esrgan-train: loss.perceptual: the weights of vgg19 could not be downloaded")
    assert "weights=PATH" in err
    assert "efficientnet_lite0" in err
    assert len(err.strip().splitlines()) == 1


def test_a_folder_with_checkpoints_is_safe(call, tmp_path):
    """Breaks if a second run writes over the first one, or overwrite=true leaves parts of it."""

    def checkpoints():
        return sorted(each.name for each in (tmp_path / "runs/p/checkpoints").iterdir())

    assert call("name=p", *tiny.PSNR)[0] == 0
    before = (tmp_path / "runs/p/metrics.csv").read_text()
    code, _, err = call("name=p", *tiny.PSNR)
    assert code == 2
    assert "runs/p already holds checkpoints: continue with resume=last" in err
    assert (tmp_path / "runs/p/metrics.csv").read_text() == before
    assert checkpoints() == ["best_update_0000002.ckpt", "last.ckpt"]
    (tmp_path / "runs/p/notes.txt").write_text("mine")
    assert call("name=p", *tiny.PSNR, "overwrite=true", "trainer.monitor=beauty")[0] == 2
    assert checkpoints() == ["best_update_0000002.ckpt", "last.ckpt"]  # nothing goes before all is in order
    assert call("name=p", *tiny.PSNR, "trainer.max_updates=1", "overwrite=true")[0] == 0
    assert checkpoints() == ["best_update_0000001.ckpt", "last.ckpt"]
    assert [row["step"] for row in rows(tmp_path / "runs/p/metrics.csv")] == ["1"]
    assert (tmp_path / "runs/p/notes.txt").exists()


def test_default_names_and_names_with_spaces_can_be_an_init(call, tmp_path):
    """Breaks if a name holds what Hydra's command line stumbles over, or is cut in two."""
    once = (*tiny.GAN, "trainer.max_updates=1", "generator=rrdb_small")
    psnr = (each for each in once if "discr" not in each and "loss" not in each)
    assert call("preset=demo", *psnr)[0] == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"psnr_demo_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", run.name)
    code, _, err = call(
        "stage=gan", f"init=runs/{run.name}/generator.safetensors", "name=my runs/first one", *once
    )
    assert code == 0, err
    again = ("stage=gan", "init=runs/my runs/first one/generator.safetensors", "name=second")
    assert call(*again, *once)[0] == 0


def test_loggers_write_inside_the_runs_folder_get_the_samples_and_end(call, tmp_path, monkeypatch):
    """Breaks if a logger writes elsewhere, gets no picture, or is left open for the next run."""
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in "ab":
        both = ["logger=[tensorboard,wandb]", "logger.wandb.offline=true"]
        code, _, err = call(*both, f"name={name}", *tiny.PSNR)
        assert code == 0, err
        run = tmp_path / "runs" / name
        events = EventAccumulator(str(run / "tensorboard")).Reload()
        assert [each.step for each in events.Images("val/samples")] == [2]
        assert {"train/lr", "train/grad_norm"} <= set(events.Tags()["scalars"])
        assert len(list(run.glob("wandb/offline-run-*/*.wandb"))) == 1
        (picture,) = run.glob("wandb/offline-run-*/files/media/images/val/samples_*.png")
        assert picture.read_bytes() == (run / "samples/update_0000002.png").read_bytes()
        assert wandb.run is None
    assert {each.name for each in tmp_path.iterdir()} == {"runs"}


def test_a_logger_without_its_login_is_told_before_the_work(call, tmp_path, monkeypatch):
    """Breaks if Weights & Biases asks for its key after the first batch, with a traceback."""
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    wandb.teardown()  # another test's offline run
    code, _, err = call("logger=wandb", "name=a", *tiny.PSNR)
    assert (code, "run `wandb login`" in err, "Traceback" in err) == (2, True, False)
    assert not (tmp_path / "runs/a/checkpoints").exists()


@pytest.mark.slow
def test_the_console_script_answers_from_any_folder(tmp_path):
    """Breaks if the script or its exit codes differ from the function that the other tests call."""

    def run(*arguments):
        env = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "300"}
        return subprocess.run(
            [SCRIPT, *arguments], cwd=tmp_path, env=env, text=True, capture_output=True, timeout=120
        )

    refused = run("stage=gan")
    assert refused.returncode == 2
    assert refused.stderr.startswith("esrgan-train: the GAN stage starts from a PSNR model")
    assert len(refused.stderr.strip().splitlines()) == 1
