"""``esrgan segment``: the maps that ``generator=sft`` is told by, made of photos."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from esrgan_lightning.cli.errors import complain
from esrgan_lightning.cli.models import Device
from esrgan_lightning.cli.targets import targets
from esrgan_lightning.errors import InputError

COMMAND = "esrgan segment"


def segment(
    photos: Annotated[list[Path], typer.Argument(help="Photos, folders of them, or quoted patterns.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the maps.")],
    network: Annotated[
        str, typer.Option(help="Of torchvision: lraspp_mobilenet_v3_large, deeplabv3_resnet50 …")
    ] = "lraspp_mobilenet_v3_large",
    weights: Annotated[
        Path | None, typer.Option(help="A .pth or .safetensors file (default: torchvision's download).")
    ] = None,
    categories: Annotated[
        str | None,
        typer.Option(help="Its outputs in order: tree,sea,… (default: Pascal VOC's 21)."),
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option(help="Outputs that make a class: plant=tree,bush. May be repeated.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Of the maps, in order (default: the paper's eight, outdoors).")
    ] = None,
    scale: Annotated[int, typer.Option(min=1, help="That the generator has.")] = 4,
    lr: Annotated[
        bool, typer.Option("--lr", help="The photos are LR already: for esrgan upscale --maps.")
    ] = False,
    device: Device = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make maps anew that are there.")] = False,
) -> None:
    """Tell for each pixel of the LR photo how likely it is sky, water, grass …: a file for each photo."""
    pairs = targets(photos, output, "", ".safetensors")
    from esrgan_lightning.data.maps import write_maps
    from esrgan_lightning.inference.upscaler import find_device
    from esrgan_lightning.networks import OUTDOOR_CLASSES
    from esrgan_lightning.networks.segmentation import Segmentation
    from esrgan_lightning.ops import imresize, modcrop, read_rgb, to_float
    from esrgan_lightning.ops.progress import tracked

    todo = [pair for pair in pairs if overwrite or not pair[1].exists()]
    where = find_device(device)
    net = Segmentation(
        classes=_words("--classes", classes) or OUTDOOR_CLASSES,
        network=network,
        weights=weights,
        categories=_words("--categories", categories),
        groups=_groups(group),
        enlarge=scale,
    )
    for source, target in tracked(todo, "photos"):
        photo = read_rgb(source)
        small = photo if lr else imresize(modcrop(photo, scale), 1 / scale)
        write_maps(target, net(to_float(small)[None].to(where))[0].cpu(), net.classes)
        print(target)
    if len(todo) < len(pairs):
        there = len(pairs) - len(todo)
        complain(COMMAND, f"{there} of {len(pairs)} were there already: --overwrite makes them anew")


def _words(option: str, text: str | None) -> list[str] | None:
    words = [word.strip() for word in text.split(",")] if text is not None else None
    if words is not None and (not all(words) or len(set(words)) < len(words)):
        raise InputError(f"{option} {text} must be different names with commas between")
    return words


def _groups(given: Sequence[str] | None) -> dict[str, list[str]] | None:
    groups = {}
    for each in given or ():
        name, equals, members = each.partition("=")
        if not (name and equals):
            raise InputError(f"--group {each} must be CLASS=OUTPUT,OUTPUT")
        groups[name] = _words("--group", members) or []
    return groups or None
