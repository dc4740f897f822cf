"""What the README tells a reader to type, works: each command and each piece of Python in it is run.

A training command is run as it stands, in a folder where the files that it names exist, with a tiny size
appended. What takes two GPUs, another service or a foreign file is composed instead (``--cfg job``), which
finds each misspelt key and choice. A command of a kind that this file does not know fails.
"""

import logging
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import tiny
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from safetensors.torch import save_file
from textures import write_textures
from torchvision.models import alexnet
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

from esrgan_lightning.ops import write_image

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
ELSEWHERE = ("multi_gpu", "resume")  # test_multi_gpu.py; test_resume.py, whose command is the README's
PAGES = [
    page.read_text("utf-8") for page in sorted(ROOT.glob("docs/**/*.md")) if page.stem not in ELSEWHERE
]  # run as the README is

# Composed rather than run: words of a command, and why.
COMPOSED = {
    "trainer=gpu": "needs a GPU",
    "data.root=datasets": "photos by the gigabyte",
    "data=minc": "images by the gigabyte",
    "data.url=s3:": "object storage: tests of their own have a server",
    "generator.memory_efficient=true,false": "four trainings",
    "trainer=ddp": "several processes: tests of their own run them",
    "logger=wandb": "starts a service of its own",
    "loss.perceptual.weights=": "a file of 550 MB",
    "loss/contextual=vgg19": "the same file",
    "experiment=paper_gan": "photos by the gigabyte",
    "experiment/ladder=": "the same",
    "loss.dists.weights=": "VGG16's of as many",
    "experiment/ladder_mini=": "a dozen trainings: tests of their own run such sweeps",
    "_mini name=": "the same",
    "name=lambda": "the same",
    "hydra/": "launchers and sweepers: tests of their own run them",
}


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands(text: str = "\n".join([README, *PAGES])) -> list[str]:
    """The commands of the bash blocks, each once, continued lines joined, comments left out."""
    lines = "\n".join(blocks("bash", text)).replace("\\\n", " ").splitlines()
    lines = [line.strip() for line in lines]
    return list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))


def is_run(command: str) -> bool:
    """Whether a command trains for real, if only a little."""
    alone = not any(word in command for word in ("--cfg", "--help", *COMPOSED))
    return command.startswith("esrgan-train ") and alone


def picture(path: Path, height: int, width: int, seed: int) -> None:
    """A smooth random picture: NIQE and SSIM have something to measure."""
    noise = torch.rand(1, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(seed))
    image = torch.nn.functional.interpolate(noise, (height, width), mode="bicubic").clamp(0, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, (image[0] * 255).round().to(torch.uint8))


def conditioned(home: Path) -> None:
    """What docs/sft.md names: segmentation networks, maps, and generators that take them."""
    from esrgan_lightning.data.maps import write_maps
    from esrgan_lightning.networks import OUTDOOR_CLASSES, SFTNet
    from esrgan_lightning.weights import save_generator

    for name, outputs in (("lraspp", 21), ("outdoor", 6)):
        net = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=outputs)
        torch.save(net.state_dict(), home / f"{name}.pth")
    for number in range(4):
        write_maps(home / f"maps/{number}.safetensors", torch.rand(8, 50, 52), OUTDOOR_CLASSES)
    write_maps(home / "lr_maps/photo.safetensors", torch.rand(8, 224, 200), OUTDOOR_CLASSES)
    for name in ("sft_psnr", "sft"):
        net = SFTNet(num_features=8, num_blocks=1)
        save_generator(home / f"runs/{name}/generator.safetensors", net)


@pytest.fixture(scope="module")
def stocked(tmp_path_factory):
    """A folder with the files that the README's commands name, all of them small."""
    from esrgan_lightning.config import compose
    from esrgan_lightning.data import pack, write_shards
    from esrgan_lightning.export import export_generator
    from esrgan_lightning.training import train
    from esrgan_lightning.weights import convert_file, load_generator

    home = tmp_path_factory.mktemp("stocked")
    for number in range(4):
        picture(home / f"photos/{number}.png", 200, 208, number)
        picture(home / f"pairs/HR/{number}.png", 128, 128, number)
        picture(home / f"pairs/LR/{number}.png", 32, 32, number)
    picture(home / "more_photos/a.png", 200, 192, 9)
    picture(home / "textures/a.png", 200, 192, 12)
    for name in ("mine", "textures"):
        pack([home / ("photos" if name == "mine" else name)], home / f"{name}.safetensors")
    write_shards([home / "mine.safetensors"], home / "shards", tile=176, overlap=160)
    for name in ("benchmarks_of_mine/Set5", "benchmarks_of_mine/Set14", "datasets/Set5"):
        picture(home / f"{name}/HR/a.png", 208, 208, 10)
    picture(home / "photo.jpg", 224, 200, 11)
    for name in ("Set5", "Set14"):
        picture(home / f"theirs/{name}/a_x4.png", 208, 208, 10)
    write_textures(home / "materials", 2)
    (home / "vgg19.pth").touch()
    save_file(alexnet(weights=None).features.state_dict(prefix="features."), home / "alexnet.safetensors")
    everything = "\n".join([README, *PAGES])
    for text in [*blocks("yaml", everything), *blocks("python", everything)]:
        # A comment names the file; Hydra looks for its own comment in the first line alone.
        if named := re.match(r"(?:# @package .*\n)?# (\S+\.(?:yaml|py))\n", text):
            file = home / named[1]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    conditioned(home)
    train(compose("stage=psnr", *tiny.PSNR), home / "runs/psnr")
    train(compose("stage=psnr", "preset=demo", *tiny.PSNR), home / "runs/small_psnr")
    convert_file(home / "runs/psnr/generator.safetensors", home / "esrgan_x4.pth", "basicsr")
    for name in ("a", "b", "c"):
        shutil.copy(home / "runs/psnr/generator.safetensors", home / f"{name}.safetensors")
    for source, target in (("psnr", "runs/gan"), ("small_psnr", "runs/small_gan")):
        (home / target).mkdir()
        shutil.copy(home / f"runs/{source}/generator.safetensors", home / target)
    shutil.copy(home / "runs/small_gan/generator.safetensors", home / "between.safetensors")
    generator = load_generator(home / "runs/psnr/generator.safetensors")
    export_generator(generator, home / "net.onnx", check=False)
    return home


@pytest.fixture
def home(stocked, tmp_path, monkeypatch):
    """A copy of that folder for each command, and the root logger left as it was."""
    shutil.copytree(stocked, tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    root, lightning = logging.getLogger(), logging.getLogger("pytorch_lightning")
    handlers, level, level_of_lightning = root.handlers[:], root.level, lightning.level
    yield tmp_path / "home"
    for handler in set(root.handlers) - set(handlers):
        handler.close()  # Hydra's file train.log
    root.handlers[:] = handlers
    root.setLevel(level)
    lightning.setLevel(level_of_lightning)


def call(main, words: list[str], monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", words)
    code = None
    try:
        main()
    except SystemExit as end:
        code = end.code
    assert not code, f"{shlex.join(words)} ended with {code}"


def sizes_for(command: str) -> list[str]:
    """The overrides that make a training command tiny."""
    if "stage=material" in command:
        return [*tiny.MATERIAL, *(["trainer.max_updates=3"] if "resume=" in command else [])]
    gan = "stage=gan" in command
    sizes = tiny.fitting(tiny.GAN if gan else tiny.PSNR, shlex.split(command))
    # EfficientNet is small enough to be computed for real; a term that is off has no weight.
    if "loss/perceptual=efficientnet_lite0" in command or "loss/perceptual=none" in command:
        sizes = [size for size in sizes if size != "loss.weights.perceptual=0"]
    if "init=auto" in command:
        sizes.append("+init_settings.trainer.max_updates=2")
    if "resume=" in command:
        sizes.append("trainer.max_updates=3")
    return sizes


def jobs(words: list[str]) -> list[list[str]]:
    """The jobs of a sweep over all files of a group, or the one job."""
    group = next((word.removesuffix("=glob(*)") for word in words if word.endswith("=glob(*)")), None)
    if group is None:  # a job of another sweep: all but what it sweeps over
        given = [word for word in words[1:] if "=" in word and word[0] != "-"]
        overrides = OverridesParser.create().parse_overrides(given)
        swept = {"-m", *(each.input_line for each in overrides if each.is_sweep_override())}
        return [[word for word in words if word not in swept]]
    plain = [word for word in words if word not in ("-m", f"{group}=glob(*)")]
    return [[*plain, f"{group}={path.stem}"] for path in sorted((ROOT / "conf" / group).glob("*.yaml"))]


def run_train(words: list[str], home: Path, monkeypatch) -> None:
    from esrgan_lightning.cli.train import main

    command = shlex.join(words)
    name = next((word.removeprefix("name=") for word in words if word.startswith("name=")), None)
    if not is_run(command):
        shown = {"--cfg", "--help"} & set(words)
        for job in [words] if shown else jobs(words):
            call(main, job if shown else [*job, "--cfg", "job"], monkeypatch)
        return
    if name and "overwrite=true" not in words:
        shutil.rmtree(home / "runs" / name, ignore_errors=True)
    if "resume=last" in words:  # a copied run would be one that was moved, of which Lightning warns
        first = [word for word in words if word != "resume=last"]
        call(main, [*first, *sizes_for(shlex.join(first))], monkeypatch)
    before = set(home.glob("runs/**/metrics.csv"))
    call(main, [*words, *sizes_for(command)], monkeypatch)
    if name:
        written = sorted(home.glob(f"runs/{name}/**/[gf]e*.safetensors"))  # generator or features
    else:
        written = [file.parent for file in set(home.glob("runs/**/metrics.csv")) - before]
    expected = 3 if "-m" in words else 1
    assert len(written) == expected, f"{written} in place of {expected} runs"


def run_evaluate(words: list[str], home: Path, monkeypatch) -> None:
    from esrgan_lightning.cli.evaluate import main

    if any(word.startswith("against=") for word in words):  # an earlier command of the page writes it
        call(main, [words[0], *words[1:3], "out=before.json"], monkeypatch)
    call(main, words, monkeypatch)
    out = next((word.removeprefix("out=") for word in words if word.startswith("out=")), "evaluation.json")
    assert (home / out).is_file() or (home / out / "evaluation.html").is_file()


def run_esrgan(words: list[str], home: Path, monkeypatch) -> None:
    from esrgan_lightning.cli.app import main

    if words[1:3] == ["data", "get"]:  # the downloads have tests of their own
        installed = []
        monkeypatch.setattr(
            "esrgan_lightning.cli.data._install_all", lambda *given: installed.append(given) or True
        )
        call(main, words, monkeypatch)
        assert [source.name for source in installed[0][0]] == words[3 : words.index("--root")]
        return
    if words[1:3] == ["data", "verify"] and "--root" in words:
        monkeypatch.setattr("esrgan_lightning.cli.data._verify_sources", lambda *given: [])
    for output in (word for word in words if word.endswith(".safetensors") and "pack" in words):
        (home / output).unlink()
    if words[1] == "interpolate":
        (home / words[words.index("-o") + 1]).unlink(missing_ok=True)
    if words[1] == "convert":
        words.append("--overwrite")
    if words[1] == "export":
        (home / words[4]).unlink(missing_ok=True)
        (home / words[4]).with_suffix(".bin").unlink(missing_ok=True)
    if words[1:3] == ["data", "shard"] or words[1] == "segment":
        shutil.rmtree(home / words[words.index("-o") + 1], ignore_errors=words[1] == "segment")
    if words[1] == "report":  # of a sweep that another command of the page makes
        shutil.copytree(home / "runs/psnr", home / words[2] / "0")
    if words[1] == "doctor":  # this machine's room is no matter of the page
        monkeypatch.setattr("esrgan_lightning.cli.doctor.room", lambda folder: iter(()))
    if words[1] == "ui":  # tests/ui opens it in a browser
        served = []
        monkeypatch.setattr(
            "esrgan_lightning.ui.server.serve", lambda pair, **more: served.append(pair.scale)
        )
        call(main, words, monkeypatch)
        assert served == [4]
        return
    if words[1] == "push":  # test_hub.py has a server
        shutil.copy(home / "runs/psnr/config.yaml", home / words[2])
        pushed = []
        monkeypatch.setattr(
            "esrgan_lightning.weights.hub.push_hub", lambda repo, files, **more: pushed.extend(files) or repo
        )
        call(main, words, monkeypatch)
        assert {"generator.safetensors", "config.yaml", "README.md"} <= set(pushed)
        return
    for fetch in ("fetch_public", "fetch_hub"):  # tests of their own have servers
        monkeypatch.setattr(
            f"esrgan_lightning.weights.names.{fetch}",
            lambda name: home / f"runs/{'psnr' if 'PSNR' in name else 'gan'}/generator.safetensors",
        )
    before = set(home.rglob("*"))
    call(main, words, monkeypatch)
    tells = words[1] in ("inspect", "doctor", "models", "runs") or words[2] in ("list", "verify", "stats")
    assert tells or "--overwrite" in words or set(home.rglob("*")) > before, "nothing was written"


def run_make(words: list[str], home: Path, monkeypatch) -> None:
    """The target exists and its recipe can be read; CI and tests of their own run them."""
    subprocess.run([*words, "--dry-run"], cwd=ROOT, check=True, capture_output=True)


def run_pip(words: list[str], home: Path, monkeypatch) -> None:
    """That the package installs is what test_wheel.py is about: here, that the extras exist."""
    assert words[1] == "install"
    assert words[2].startswith(".")
    extras = re.findall(r"\[(.*)\]", words[2])
    known = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert set(",".join(extras).split(",")) - {""} <= set(known)


def run_source(words: list[str], home: Path, monkeypatch) -> None:
    assert words[1] == ".venv/bin/activate"


PROGRAMS = {
    "esrgan": run_esrgan,
    "esrgan-evaluate": run_evaluate,
    "esrgan-train": run_train,
    "make": run_make,
    "pip": run_pip,
    "source": run_source,
}


def slow_if_run(command: str):
    return pytest.param(command, id=command, marks=[pytest.mark.slow] if is_run(command) else [])


@pytest.mark.parametrize("command", [slow_if_run(command) for command in commands()])
def test_a_command_of_the_readme_works(command, home, monkeypatch):
    words = shlex.split(command)
    assert words[0] in PROGRAMS, f"{words[0]}: say in this file how a command of this kind is tested"
    PROGRAMS[words[0]](words, home, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        pytest.param(code, id=f"block {n}")
        for n, code in enumerate(blocks("python", "\n".join([README, *PAGES])))
    ],
)
def test_the_python_of_the_readme_works(code, home, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    if "compose(" in code:
        sizes = tiny.fitting(tiny.PSNR, re.findall('"(.+?)"', code))
        code = code.replace('"trainer.max_updates=20"', ", ".join(repr(size) for size in sizes))
        assert "data.patch_size=32" in code, "the training here must become tiny"
    exec(compile(code, "README.md", "exec"), {"__name__": "page"})
    sys.modules.pop("my_parts", None)


def test_pictures_of_the_docs_are_small():
    pictures = list((ROOT / "docs").rglob("*.png"))
    assert [path for path in pictures if path.stat().st_size > 1_000_000] == []


def test_every_choice_that_the_readme_names_exists():
    """The table of groups is neither behind conf/ nor ahead of it."""
    page = (ROOT / "docs/training.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z/]+)=` \| (.*) \|$", page, flags=re.MULTILINE)
    assert len(rows) >= 7
    for group, cell in rows:
        named = set(re.findall(r"`([a-z0-9_]+)`", cell))
        held = {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")}
        if group == "schedule":  # those that presets use carry their names
            held = {name for name in held if not re.match("(paper|basicsr|demo|mini)_", name)}
        assert named == held, group


def test_a_new_kind_of_command_fails():
    """The test's own test: a command without a way to run it is seen."""
    text = "```bash\n# a comment\nesrgan-train a=1 \\\n  b=2\nrocket --launch\n```\n```text\nnot this\n```\n"
    found = commands(text)
    assert [shlex.split(command) for command in found] == [
        ["esrgan-train", "a=1", "b=2"],
        ["rocket", "--launch"],
    ]
    assert shlex.split(found[1])[0] not in PROGRAMS
    assert len(commands()) > 25
