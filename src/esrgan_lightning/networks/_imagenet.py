"""ImageNet features for comparing pictures: AlexNet, VGG16 and SqueezeNet 1.1, after their ReLUs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision import models  # type: ignore[import-untyped]

from esrgan_lightning.networks._pretrained import download, matching, read_tensors


class Backbone(NamedTuple):
    """A network of torchvision, and what of it is compared."""

    build: Callable[..., Any]
    weights: models.WeightsEnum
    ends: tuple[int, ...]  # the layers whose outputs are compared, each after a ReLU
    channels: tuple[int, ...]
    smallest: int  # pixels on the shorter side, for which no pooling runs out of them
    bundled: Path | None = None  # weights that come with this package, in place of a download


#: By the names that LPIPS gives them.
BACKBONES: Mapping[str, Backbone] = MappingProxyType(
    {
        "alex": Backbone(
            models.alexnet,
            models.AlexNet_Weights.IMAGENET1K_V1,
            (1, 4, 7, 9, 11),
            (64, 192, 384, 256, 256),
            31,
            Path(__file__).with_name("alexnet_features.safetensors"),
        ),
        "vgg": Backbone(
            models.vgg16,
            models.VGG16_Weights.IMAGENET1K_V1,
            (3, 8, 15, 22, 29),
            (64, 128, 256, 512, 512),
            16,
        ),
        "squeeze": Backbone(
            models.squeezenet1_1,
            models.SqueezeNet1_1_Weights.IMAGENET1K_V1,
            (1, 4, 7, 9, 10, 11, 12),
            (64, 128, 256, 384, 384, 512, 512),
            17,
        ),
    }
)


class ImageNetFeatures(nn.Module):
    """The convolutions of one of :data:`BACKBONES`, cut after the last output that is wanted.

    Args:
        name: Among :data:`BACKBONES`.
        weights: A .pth or .safetensors file with torchvision's keys, or None for the bundled file (AlexNet)
            or torchvision's download.

    Shape:
        (B,3,H,W), RGB in [0,1] → the wanted outputs. ImageNet's mean and deviation are applied inside.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, weights: str | Path | None) -> None:
        super().__init__()
        backbone = BACKBONES[name]
        self.ends = backbone.ends
        with torch.device("meta"):  # the shapes alone: classifiers of 100 M parameters are never made
            network: nn.Sequential = backbone.build(weights=None).features
        known = {f"features.{key}": value for key, value in network.state_dict().items()}
        self.layers = network[: backbone.ends[-1] + 1]
        needed = {f"features.{key}" for key in self.layers.state_dict()}
        network_name = backbone.build.__name__
        weights = weights or backbone.bundled
        state = download(network_name, backbone.weights) if weights is None else read_tensors(weights)
        state = {key: value for key, value in state.items() if not key.startswith("classifier.")}
        source = f"weights={weights if weights is not None else 'the download'}: not {network_name}"
        found = matching(state, known, needed, source=source)
        self.layers.load_state_dict(
            {key.removeprefix("features."): value for key, value in found.items()}, assign=True
        )
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1))

    def forward(self, image: Tensor) -> list[Tensor]:
        """The outputs that are compared, in the network's order."""
        x = (image - self.mean) / self.std
        found = []
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index in self.ends:
                found.append(x)
        return found
