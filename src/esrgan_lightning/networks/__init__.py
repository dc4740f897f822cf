"""Networks: generators and discriminators, and the spec from which a file's generator is built.

The frozen feature extractors of the perceptual loss are imported from ``networks.backbones``: they bring
torchvision along, whose import takes longer than building a generator.
"""

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks.discriminators import PatchDiscriminator, UNetDiscriminator, VGGDiscriminator
from esrgan_lightning.networks.rrdb import RRDBNet
from esrgan_lightning.networks.sft import OUTDOOR_CLASSES, SFTNet, conditions_of
from esrgan_lightning.networks.srcnn import SRCNN
from esrgan_lightning.networks.srresnet import SRResNet

__all__ = [
    "GENERATORS",
    "OUTDOOR_CLASSES",
    "SRCNN",
    "PatchDiscriminator",
    "RRDBNet",
    "SFTNet",
    "SRResNet",
    "UNetDiscriminator",
    "VGGDiscriminator",
    "build_network",
    "conditions_of",
    "network_spec",
]

# The only classes that a file can ask for: names in files are never imported.
GENERATORS: Mapping[str, type[nn.Module]] = MappingProxyType(
    {"RRDBNet": RRDBNet, "SRResNet": SRResNet, "SRCNN": SRCNN, "SFTNet": SFTNet}
)


def network_spec(network: nn.Module) -> dict[str, Any]:
    """Says what the network is: ``{"architecture": name, "arguments": {…}}``, plain values only.

    A generator of your own may carry such a dict as its attribute ``spec``. One without has its class named
    and no arguments. :func:`build_network` rebuilds neither; loading their weights into an instance works.

    >>> network_spec(SRResNet(num_blocks=2))["arguments"]["num_blocks"]
    2
    """
    own = getattr(network, "spec", None)
    if isinstance(own, Mapping):
        return {"architecture": str(own["architecture"]), "arguments": dict(own["arguments"])}
    kind = type(network)
    return {"architecture": f"{kind.__module__}.{kind.__qualname__}", "arguments": {}}


def build_network(spec: Mapping[str, Any]) -> nn.Module:
    """Builds the generator, freshly initialised, that :func:`network_spec` described.

    Args:
        spec: ``{"architecture": one of GENERATORS, "arguments": {…}}``, also from a stranger's file.

    Raises:
        InputError: Another architecture, or arguments that its constructor does not take.

    >>> build_network(network_spec(SRResNet(num_blocks=2, scale=2))).scale
    2
    """
    architecture, arguments = spec.get("architecture"), spec.get("arguments")
    if not isinstance(architecture, str) or architecture not in GENERATORS:
        raise InputError(
            f"architecture {architecture!r} is none of {', '.join(GENERATORS)}: "
            "build the network yourself and load the weights into it"
        )
    known = inspect.signature(GENERATORS[architecture]).parameters
    if not isinstance(arguments, Mapping) or not set(arguments) <= set(known):
        raise InputError(f"{architecture}: arguments {arguments!r}: expected some of {', '.join(known)}")
    return GENERATORS[architecture](**arguments)
