"""What a notebook imports: every name there is, on its first use, and shown by completion."""

import subprocess
import sys
from importlib import import_module

import pytest

import esrgan_lightning

PACKAGES = ("", ".data", ".evaluation", ".inference", ".losses", ".metrics", ".networks", ".ops", ".stages")


@pytest.mark.parametrize("package", [*PACKAGES, ".weights", ".training"])
def test_every_public_name_exists_and_is_shown(package):
    module = import_module(f"esrgan_lightning{package}")
    for name in module.__all__:
        assert name in dir(module)
        # A function whose module has its name would be that module, once someone imports it.
        assert type(getattr(module, name)).__name__ != "module"
    with pytest.raises(AttributeError, match="nothing"):
        _ = module.nothing


def test_a_notebook_finds_what_it_needs():
    wanted = "RRDBNet VGGDiscriminator PSNRStage GANStage SRDataModule WeightedLoss train compose Upscaler"
    for name in (*wanted.split(), "load_generator", "interpolate", "evaluate", "quiet"):
        assert callable(getattr(esrgan_lightning, name))


def test_the_doors_cost_nothing():
    code = (
        "import sys, esrgan_lightning.ops, esrgan_lightning.weights, esrgan_lightning.data, "
        "esrgan_lightning.evaluation; print([m for m in ('torch', 'numpy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
