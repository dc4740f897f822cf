"""Where a run's network starts from: ``init=``, whole or in part."""

from pathlib import Path
from typing import Any

from pytorch_lightning.utilities import rank_zero_only
from torch import nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks import network_spec
from esrgan_lightning.networks.classifier import VGGClassifier, load_pretrained
from esrgan_lightning.run.progress import announce
from esrgan_lightning.weights import load_state, read_generator_file, warm_start
from esrgan_lightning.weights.checkpoint import resolve_spec
from esrgan_lightning.weights.layouts import likely_scale
from esrgan_lightning.weights.state import state_hash

IMAGENET = "imagenet"


def start_from(generator: nn.Module, init: str | Path, *, partial: bool) -> dict[str, Any]:
    """Loads a file's weights into the generator.

    Args:
        generator: what is to be trained.
        init: any file that ``read_generator_file`` knows, or the name of a bundled network.
        partial: load what fits of a generator of another scale or size, and say what was
            left; without it, sizes that differ are an error that names the settings which the file asks for.

    Returns:
        The lineage, as of ``load_state`` or ``warm_start``.

    Raises:
        InputError: not readable, or it does not fit.
    """
    if partial:
        started = warm_start(generator, init)
        rank_zero_only(announce)(f"init={init} init_partial=true: {started}")
        return started.lineage
    state, spec, _ = read_generator_file(init)
    own = network_spec(generator)
    scale = likely_scale(state, own["arguments"].get("scale")) if spec is None else None
    found = resolve_spec(state, spec, scale=scale, source=init)
    theirs = found["arguments"]
    if found["architecture"] != own["architecture"]:
        raise InputError(
            f"init={init} holds {found['architecture']}, and the generator is {own['architecture']}: give "
            "generator=rrdb, srresnet, srcnn or sft, whichever the file holds"
        )
    different = {
        name: theirs[name]
        for name, value in own["arguments"].items()
        if name in theirs and theirs[name] != value and not name.startswith("init_")
    }
    if different:
        keys = (f"{'scale' if name == 'scale' else f'generator.{name}'}={v}" for name, v in different.items())
        raise InputError(
            f"init={init} does not fit the generator: it was made with {' '.join(keys)}; give these, "
            "or init_partial=true to load what fits"
        )
    return load_state(generator, init)


def start_classifier(network: VGGClassifier, init: Path) -> dict[str, Any]:
    """Loads a VGG's weights into the classifier; the layer of its classes stays fresh.

    Args:
        network: what is to be trained.
        init: ``imagenet`` for torchvision's download, or a file that ``load_pretrained`` knows.

    Returns:
        The lineage: ``{"file", "sha256", "metadata"}``.

    Raises:
        InputError: not readable, or of another network.
    """
    loaded = load_pretrained(network, None if init == Path(IMAGENET) else init)
    return {"file": init.name, "sha256": state_hash(loaded), "metadata": {}}
