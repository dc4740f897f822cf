"""The script that trains the bundled networks: each of its commands composes, pieces are resumed."""

import importlib.util
from pathlib import Path

import pytest

from esrgan_lightning.config import compose
from esrgan_lightning.ops import read_image

SCRIPT = Path(__file__).parents[1] / "scripts/train_bundled.py"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("train_bundled", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("size", ["small", "medium", "paper"])
def test_every_command_composes_and_pieces_are_resumed(script, size, tmp_path, monkeypatch):
    """A training in pieces: three calls to each stage, of which the first starts and the others resume."""
    monkeypatch.chdir(tmp_path)
    commands, updates = [], {}

    def run(words, check):
        commands.append(words)
        if Path(words[0]).name == "esrgan-train":
            run_dir = Path("runs", next(word[5:] for word in words if word.startswith("name=")))
            (run_dir / "checkpoints").mkdir(parents=True, exist_ok=True)
            for file in ("generator.safetensors", "checkpoints/last.ckpt"):
                (run_dir / file).touch()
            updates[run_dir] = updates.get(run_dir, 0) + 10

    monkeypatch.setattr(script.subprocess, "run", run)
    monkeypatch.setattr(script, "describe_file", lambda model: {"updates": updates.get(Path(model).parent)})
    monkeypatch.setattr(
        "sys.argv", ["train_bundled.py", size, "--photos", "a,b", "--held", "c", "--updates", "30", "seed=3"]
    )
    script.main()

    trainings = [words[1:] for words in commands if Path(words[0]).name == "esrgan-train"]
    assert ["resume=last" in words for words in trainings] == [False, True, True] * 3
    chosen = [compose(*words) for words in trainings[::3]]
    assert [(cfg.stage.name, cfg.seed) for cfg in chosen] == [("psnr", 3), ("psnr", 3), ("gan", 3)]
    assert [cfg.loss.weights.get("consistency") for cfg in chosen] == [None, 1, 10]
    assert len({tuple(cfg.generator.items()) for cfg in chosen}) == 1
    assert sum(chosen[0].data.weights) == pytest.approx(1)
    assert [Path(words[0]).name for words in commands].count("esrgan") == 2


def test_flat_pictures_are_flat(script, tmp_path):
    files = sorted(script.flat_pictures(tmp_path / "flat").iterdir())
    assert len(files) == 37
    for file in files:
        image = read_image(file)
        assert (image == image[:, :1, :1]).all()
