"""``esrgan doctor``: is this machine ready, and what is to be mended?"""

import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from esrgan_lightning.errors import first_line, install_extra
from esrgan_lightning.ops.tables import print_table

GB = 1e9
_LEAST_DISK = 5 * GB  # a few checkpoints of the paper's networks, 0.3 GB each, and what a sweep leaves
_LEAST_SHARED = 256 * 2**20  # batches of several loader processes on their way
_LEAST_FILES = 1024
_SHOWN = (
    "torch", "torchvision", "pytorch-lightning", "torchmetrics", "kornia", "hydra-core", "omegaconf",
    "safetensors", "numpy", "wandb",
)  # fmt: skip


class Finding(NamedTuple):
    """One line of the report; ``fix`` is what to do about it, None where all is well."""

    what: str
    found: str
    fix: str | None = None


def packages(distribution: str = "esrgan-lightning") -> Iterator[Finding]:
    """Versions, and requirements that are not met."""
    from packaging.requirements import Requirement

    yield Finding("Python", platform.python_version())
    yield Finding(distribution, metadata.version(distribution))
    names = metadata.metadata(distribution).get_all("Provides-Extra") or []
    extras: dict[str, list[str]] = {name: [] for name in sorted(names) if name != "dev"}
    for text in metadata.requires(distribution) or ():
        needed = Requirement(text)
        if needed.marker and not needed.marker.evaluate({"extra": ""}):
            for name, needs in extras.items():
                needs += [needed.name] if needed.marker.evaluate({"extra": name}) else []
            continue
        version = _version(needed.name)
        if version is None or not needed.specifier.contains(version, prereleases=True):
            yield Finding(needed.name, version or "missing", f'pip install "{needed.name}{needed.specifier}"')
        elif needed.name in _SHOWN:
            yield Finding(needed.name, version)
    for name, needs in extras.items():
        missing = [each for each in needs if _version(each) is None]
        how = f"without {', '.join(missing)}: {install_extra(name)}"
        yield Finding(f"extra {name}", how if missing else "installed")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def devices() -> Iterator[Finding]:
    """What there is to compute on, and what ``trainer``'s ``auto`` makes of it."""
    import torch

    from esrgan_lightning.run.settings import channels_last_pays, resolve_precision

    found, fix = f"fit together (torch {torch.__version__})", None
    try:
        from torchvision.ops import nms  # type: ignore[import-untyped]

        nms(torch.tensor([[0.0, 0, 1, 1]]), torch.ones(1), 0.5)
    # Two builds that don't belong together fail in any way, as early as at the import.
    except Exception as error:
        found = f"do not fit together: {first_line(error)}"
        fix = "install both in one go: pip install -U torch torchvision"
    yield Finding("torch and torchvision", found, fix)
    cores = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    yield Finding("CPU", f"{platform.machine()}, {cores}, {torch.backends.cpu.get_cpu_capability()}")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index in range(count):
        card = torch.cuda.get_device_properties(index)
        size = f"{card.total_memory / GB:.0f} GB, compute capability {card.major}.{card.minor}"
        yield Finding(f"CUDA device {index}", f"{card.name}, {size}")
    if not count:
        yield _no_cuda(torch.version.cuda)
    if torch.backends.mps.is_available():
        yield Finding("MPS", "available")
    kind = "cuda" if count else "mps" if torch.backends.mps.is_available() else "cpu"
    yield Finding("trainer.precision=auto", f"{resolve_precision('auto', kind)} on {kind}")
    yield Finding("trainer.channels_last=auto", f"{str(channels_last_pays(kind)).lower()} on {kind}")
    compiler = os.environ.get("CXX") or next(filter(shutil.which, ("c++", "g++", "clang++")), None)
    if count and find_spec("triton") is None:
        yield Finding("trainer.compile=true", "needs Triton: pip install triton")
    else:
        yield Finding("trainer.compile=true", compiler or "needs a C++ compiler (g++ or clang++)")


def _no_cuda(built_for: str | None) -> Finding:
    card = Path("/proc/driver/nvidia").exists() or shutil.which("nvidia-smi")
    if not card:
        return Finding("CUDA", "no device: training runs on the CPU")
    if built_for is None:
        return Finding("CUDA", "there is a driver, but torch is built for the CPU", "install torch with CUDA")
    fix = "look at nvidia-smi, CUDA_VISIBLE_DEVICES and the driver's version"
    return Finding("CUDA", f"there is a driver, but torch (CUDA {built_for}) sees no device", fix)


def room(folder: Path, shared: Path = Path("/dev/shm")) -> Iterator[Finding]:
    """Memory, the disk of ``folder``, where runs would go, and what loader processes need."""
    import psutil

    memory = psutil.virtual_memory()
    yield Finding("memory", f"{memory.available / GB:.1f} of {memory.total / GB:.1f} GB are free")
    if shared.is_dir():
        size = shutil.disk_usage(shared).free
        small = "docker run --shm-size=2g, or data.num_workers=0" if size < _LEAST_SHARED else None
        yield Finding("shared memory", f"{size / GB:.2f} GB are free in {shared}", small)
    free = shutil.disk_usage(folder).free
    where = f"{free / GB:.1f} GB are free in {folder}"
    yield Finding("disk", where, "make room, or train in another folder" if free < _LEAST_DISK else None)
    if not os.access(folder, os.W_OK):
        yield Finding("this folder", "cannot be written to", "call esrgan-train from another folder")
    if find_spec("resource"):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        few = f"ulimit -n {_LEAST_FILES}" if 0 <= limit < _LEAST_FILES else None
        yield Finding("open files", f"{limit} at most", few)


def stores() -> Iterator[Finding]:
    """Caches, and the pretrained weights that losses and metrics would otherwise download."""
    import torch
    from torchvision import models  # type: ignore[import-untyped]

    from esrgan_lightning.ops.files import cache_folder

    packs = cache_folder()
    held = sum(path.stat().st_size for path in packs.rglob("*") if path.is_file()) if packs.is_dir() else 0
    yield Finding("decoded photos", f"{held / GB:.2f} GB in {packs}")
    hub = Path(torch.hub.get_dir()) / "checkpoints"
    yield Finding("AlexNet (LPIPS)", "comes with the package")
    for name, use, weights in (
        ("VGG19", "loss/perceptual=vgg19", models.VGG19_Weights.IMAGENET1K_V1),
        ("VGG16", "DISTS, LPIPS-VGG", models.VGG16_Weights.IMAGENET1K_V1),
        ("SqueezeNet", "LPIPS-Squeeze", models.SqueezeNet1_1_Weights.IMAGENET1K_V1),
    ):
        file = hub / Path(weights.url).name
        missing = "" if file.is_file() else "downloaded when needed; without a network put it there: "
        yield Finding(f"{name} ({use})", f"{missing}{file}")


def findings(folder: Path) -> dict[str, list[Finding]]:
    """The whole report, part by part; what cannot even be looked at is a finding of its own."""
    looks: dict[str, Callable[[], Iterator[Finding]]] = {
        "Packages": packages, "Devices": devices, "Room": lambda: room(folder), "Stores": stores,
    }  # fmt: skip
    return {title: list(_whatever_happens(title, look)) for title, look in looks.items()}


def _whatever_happens(title: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    # A package that is half installed fails in any way, and to say so is what this is for.
    except Exception as error:
        said = f"{type(error).__name__}: {first_line(error)}"
        yield Finding(title.lower(), said, "install the package anew")


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="The same for programs.")] = False,
) -> None:
    """Tell versions, devices, precision, room and weights; exit with 1 if something is to be mended."""
    from rich.text import Text

    report = findings(Path.cwd())
    problems = [finding for part in report.values() for finding in part if finding.fix]
    if as_json:
        content = {title: [each._asdict() for each in part] for title, part in report.items()}
        typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        rows: list[tuple[str | Text, str | Text]] = []
        for title, part in report.items():
            rows.append((Text(title, style="bold"), ""))
            rows += [(f"  {what}", Text(found, style="red" if fix else "")) for what, found, fix in part]
        print_table(["", ""], rows, box=None, show_header=False, padding=(0, 2, 0, 0))
        typer.echo()
        for what, _, fix in problems:
            typer.echo(f"to mend: {what}: {fix}")
        if not problems:
            typer.echo("nothing to mend")
    if problems:
        raise typer.Exit(1)
