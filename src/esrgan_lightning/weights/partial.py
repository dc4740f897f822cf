"""Starting a generator from one of another scale or size: what fits is loaded, what does not is told."""

from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from esrgan_lightning.errors import InputError, first_few
from esrgan_lightning.networks import network_spec
from esrgan_lightning.weights.checkpoint import different_settings, read_generator_file, resolve_spec
from esrgan_lightning.weights.layouts import likely_scale
from esrgan_lightning.weights.names import model_path
from esrgan_lightning.weights.state import require_finite, state_hash

# Of the generator's parameters. Below that it is a training from random weights by another name.
LEAST_SHARE = 0.1
# Settings that show in no shape and make another function of the same weights.
_UNSEEN = ("residual_scaling", "batch_norm", "classes")


class WarmStart(NamedTuple):
    """What :func:`warm_start` has done."""

    lineage: dict[str, Any]  # as of load_state, and "partial": {"share", "new", "unused"}
    share: float  # of the generator's parameters that were loaded, 0 to 1
    new: dict[str, str]  # the generator's tensors that stay as they were → why
    unused: list[str]  # the file's tensors that the generator has no place for

    def __str__(self) -> str:
        """One line for people."""
        new = [f"{name} ({why})" for name, why in self.new.items()]
        return (
            f"{self.share:.1%} of the generator's parameters come from {self.lineage['file']}; "
            f"{len(new)} of its tensors stay as initialised: {first_few(new) or 'none'}; "
            f"{len(self.unused)} of the file's are left: {first_few(self.unused) or 'none'}"
        )


def warm_start(generator: nn.Module, path: str | Path) -> WarmStart:
    """Loads those of a file's weights that fit a generator of another scale, depth or number of channels.

    A tensor fits where name and shape agree: x4 → x8 leaves conv_up3 as initialised; x4 → x2 by
    pixel-unshuffle leaves conv_first, x4 → x3 drops conv_up2.

    Args:
        generator: A network of the same architecture and residual scaling.
        path: A file that ``read_generator_file`` knows.

    Raises:
        InputError: Another architecture, or less than a tenth of the generator's parameters would be loaded.
    """
    path = model_path(path)
    state, spec, metadata = read_generator_file(path)
    own = network_spec(generator)
    # Scale 2 or 3 of one conv_up is of no interest here.
    scale = likely_scale(state, own["arguments"].get("scale")) if spec is None else None
    spec = resolve_spec(state, spec, scale=scale, source=path)
    unseen = {name: value for name, value in spec["arguments"].items() if name in _UNSEEN}
    if different := different_settings(own, {"architecture": spec["architecture"], "arguments": unseen}):
        raise InputError(f"{path} does not fit the generator, not even in part: {different}")
    require_finite(state, path)
    expected = generator.state_dict()
    new = {
        name: f"the file has {tuple(state[name].shape)} for {tuple(tensor.shape)}"
        if name in state
        else "not in the file"
        for name, tensor in expected.items()
        if name not in state
        or state[name].shape != tensor.shape
        or state[name].is_floating_point() != tensor.is_floating_point()
    }
    parameters = {name: parameter.numel() for name, parameter in generator.named_parameters()}
    share = sum(n for name, n in parameters.items() if name not in new) / sum(parameters.values())
    if share < LEAST_SHARE:
        raise InputError(
            f"{path}: {share:.1%} of the generator's parameters fit, of {len(expected)} tensors "
            f"{len(new)} do not: {first_few([f'{name} ({why})' for name, why in new.items()])}; build the "
            "generator with the file's number of features and growth channels, or start from random weights"
        )
    unused = [name for name in state if name not in expected]
    generator.load_state_dict({name: state[name] for name in expected if name not in new}, strict=False)
    partial = {"share": share, "new": sorted(new), "unused": unused}
    lineage = {"file": path.name, "sha256": state_hash(state), "metadata": metadata, "partial": partial}
    return WarmStart(lineage, share, new, unused)
