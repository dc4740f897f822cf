"""Networks of torchvision that tell which class each pixel of a photo belongs to."""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import (  # type: ignore[import-untyped]
    get_model,
    get_model_weights,
    list_models,
    segmentation,
)
from torchvision.transforms.v2.functional import normalize  # type: ignore[import-untyped]

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks._pretrained import IMAGENET_MEAN, IMAGENET_STD, matching, read_network
from esrgan_lightning.networks.sft import OUTDOOR_CLASSES
from esrgan_lightning.ops import imresize

logger = logging.getLogger(__name__)

BACKGROUND = "background"
#: What Pascal VOC has of the eight outdoor classes; it knows no sky, water, grass, mountain or building.
VOC_GROUPS: Mapping[str, Sequence[str]] = MappingProxyType(
    {"animal": ("bird", "cat", "cow", "dog", "horse", "sheep"), "plant": ("pottedplant",)}
)
#: The networks by torchvision's names.
NETWORKS = tuple(list_models(module=segmentation))
_LAST = re.compile(r"classifier\.(4|low_classifier)\.bias")  # as long as there are outputs


@final
class Segmentation(nn.Module):
    """Probability maps of LR photos: p_class = Σ softmax over the network's outputs that make the class.

    As in the paper the LR photo is enlarged bicubically before the network sees it; the probabilities are
    then averaged over the pixels of each LR pixel. The network is frozen, and follows the photos' device.

    An output belongs to the class that ``groups`` gives it to, or else to the class of its own name, or else
    to ``background``. torchvision's own weights know the 20 things of Pascal VOC and none of the outdoor
    *stuff* (sky, water, grass …): for the paper's classes give weights that were trained for them.

    Args:
        classes: Names of the maps, in order.
        network: Among :data:`NETWORKS`.
        weights: A .pth or .safetensors file with torchvision's keys, read without running code; None for
            torchvision's download.
        categories: Names of the network's outputs in order; None for those of torchvision's weights.
        groups: Class → the outputs that make it; None for what :data:`VOC_GROUPS` has of the classes, or for
            none where categories are given.
        enlarge: How much the LR is enlarged first.

    Shape:
        (B,3,h,w), RGB in [0,1] → (B,K,h,w) in [0,1], which adds up to 1 over the K classes.

    Raises:
        InputError: An unknown network, weights that do not serve, or groups that name what is not there.

    Source:
        Wang et al. 2018 (SFTGAN), §3.2, and the authors' released tests.
    """

    member: Tensor

    def __init__(
        self,
        classes: Sequence[str] | None = OUTDOOR_CLASSES,
        network: str = "lraspp_mobilenet_v3_large",
        weights: str | Path | None = None,
        categories: Sequence[str] | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
        enlarge: int = 4,
    ) -> None:
        super().__init__()
        if not classes:
            raise InputError(
                "conditions=torchvision: the generator takes no maps; choose generator=sft or conditions=none"
            )
        if network not in NETWORKS:
            raise InputError(f"conditions.network={network}: known are {', '.join(NETWORKS)}")
        if not isinstance(enlarge, int) or enlarge < 1:
            raise InputError(f"conditions.enlarge={enlarge} must be a whole number of at least 1")
        self.classes, self.enlarge = tuple(classes), enlarge
        own = get_model_weights(network).DEFAULT.meta["categories"]
        outputs = list(own if categories is None else categories)
        if groups is None:
            of_voc = VOC_GROUPS.items() if categories is None else ()
            groups = {name: members for name, members in of_voc if name in self.classes}
        member = _members(self.classes, outputs, groups)
        if never := [name for name, row in zip(self.classes, member, strict=True) if not row.any()]:
            logger.warning("no output of %s is %s: these maps are 0 throughout", network, ", ".join(never))
        self.network = _loaded(network, weights, outputs)
        self.register_buffer("member", member)
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, lr: Tensor) -> Tensor:
        """(B,3,h,w), RGB in [0,1] → (B,K,h,w) in [0,1], of the same dtype and on the same device."""
        self.to(lr.device)
        with torch.autocast(lr.device.type, enabled=False):
            large = imresize(lr.float(), self.enlarge) if self.enlarge > 1 else lr.float()
            logits = self.network(normalize(large, IMAGENET_MEAN, IMAGENET_STD))["out"]
            maps = torch.einsum("kc,bchw->bkhw", self.member, logits.softmax(1))
            return F.avg_pool2d(maps, self.enlarge).to(lr.dtype)


def _members(classes: Sequence[str], outputs: Sequence[str], groups: Mapping[str, Sequence[str]]) -> Tensor:
    """(K,C): 1 where an output belongs to a class."""
    home: dict[str, str] = {}
    for name, members in groups.items():
        if name not in classes:
            raise InputError(f"conditions.groups names {name}: the classes are {', '.join(classes)}")
        for output in members:
            if output not in outputs:
                raise InputError(f"conditions.groups.{name}: {output} is none of {', '.join(outputs)}")
            if output in home:
                raise InputError(f"conditions.groups: {output} belongs to {home[output]} and to {name}")
            home[output] = name
    member = torch.zeros(len(classes), len(outputs))
    for column, output in enumerate(outputs):
        name = home.get(output, output if output in classes else BACKGROUND)
        if name not in classes:
            raise InputError(
                f"conditions: the network's output {output} belongs to no class, and there is no class "
                f"{BACKGROUND} for what is left: add it, or put {output} into conditions.groups"
            )
        member[list(classes).index(name), column] = 1
    return member


def _loaded(name: str, weights: str | Path | None, outputs: Sequence[str]) -> nn.Module:
    with torch.device("meta"):
        network: nn.Module = get_model(name, weights=None, weights_backbone=None, num_classes=len(outputs))
    state = read_network(name, weights)
    source = f"weights={weights or 'the download'}"
    count = next((len(bias) for key, bias in state.items() if _LAST.fullmatch(key)), len(outputs))
    if count != len(outputs):
        raise InputError(
            f"{source}: the network has {count} outputs, and conditions.categories names {len(outputs)}: "
            "name each of them, in order"
        )
    known = network.state_dict()
    network.load_state_dict(matching(state, known, known, source=f"{source}: not {name}"), assign=True)
    return network
