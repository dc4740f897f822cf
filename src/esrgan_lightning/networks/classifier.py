"""VGG as a classifier that learns: it tells materials apart, and its features serve the perceptual loss."""

from pathlib import Path
from typing import Literal, final

import torch
from torch import Tensor, nn
from torchvision.models import get_model  # type: ignore[import-untyped]
from torchvision.transforms.v2.functional import normalize  # type: ignore[import-untyped]

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks._pretrained import IMAGENET_MEAN, IMAGENET_STD, matching, read_network
from esrgan_lightning.networks.blocks import checked_spec

# The fully connected layers before the last one, by torchvision's names.
_HIDDEN_LAYERS = tuple(f"classifier.{index}.{kind}" for index in (0, 3) for kind in ("weight", "bias"))


@final
class VGGClassifier(nn.Module):
    """VGG16 or VGG19 (Simonyan & Zisserman 2015, configurations D and E) with one output for each class.

    Layers, names and fresh weights' spread are torchvision's: convolutions N(0, 2/fan_out), linear layers
    N(0, 0.01²), biases 0.

    Args:
        num_classes: how many there are.
        arch: ``vgg19`` or ``vgg16``.
        head: ``vgg``: pooling to 7×7 and two layers of 4096 (120 M parameters) before the classes; ``light``:
            the mean over the picture.
        dropout: share of the head's inputs that are left out in training.

    Shape:
        (B,3,H,W), RGB in [0,1], H and W at least 32 → logits (B,K). The ImageNet mean and standard deviation
        are applied inside.

    Raises:
        InputError: an unknown architecture or head, a dropout outside [0,1), or fewer than two classes.
    """

    def __init__(
        self,
        num_classes: int,
        arch: Literal["vgg16", "vgg19"] = "vgg19",
        head: Literal["vgg", "light"] = "vgg",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        checked_spec(VGGClassifier, locals())
        if dropout >= 1:
            raise InputError(f"VGGClassifier: dropout={dropout} must be below 1")
        if num_classes < 2:
            raise InputError(f"{num_classes} class: there is nothing to tell apart; give two or more")
        self.arch = arch
        with torch.device("meta"):  # its 120 M parameters would be drawn twice
            vgg = get_model(arch, weights=None, num_classes=num_classes, dropout=dropout)
            if head == "light":
                vgg.avgpool = nn.AdaptiveAvgPool2d(1)
                vgg.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(512, num_classes))
        vgg.to_empty(device="cpu")
        self.features, self.avgpool, self.classifier = vgg.features, vgg.avgpool, vgg.classifier
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.01)
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Tensor:
        """RGB in [0,1], (B,3,H,W) → logits, (B,K)."""
        features = self.features(normalize(image, IMAGENET_MEAN, IMAGENET_STD))  # (B,512,⌊H/32⌋,⌊W/32⌋)
        logits: Tensor = self.classifier(self.avgpool(features).flatten(1))
        return logits


def load_pretrained(network: VGGClassifier, weights: str | Path | None) -> dict[str, Tensor]:
    """Loads the features, and with a head ``vgg`` its two hidden layers where the file has them.

    The last layer, whose outputs are other classes, stays fresh.

    Args:
        network: whose weights are replaced.
        weights: as in :class:`~esrgan_lightning.networks.backbones.VGGFeatures`, or a material .ckpt.

    Returns:
        What was loaded, by name.

    Raises:
        InputError: the weights cannot be had, or are of another network.
    """
    source = "the download" if weights is None else f"init={weights}"
    state = read_network(network.arch, weights)
    own = network.state_dict()
    needed = [key for key in own if key.startswith("features.")]
    loaded = matching(state, own, needed, source=f"{source}: not {network.arch}")
    hidden = {key: state[key] for key in _HIDDEN_LAYERS if key in state and key in own}
    if len(hidden) == len(_HIDDEN_LAYERS):
        loaded |= matching(hidden, own, _HIDDEN_LAYERS, source=source)
    network.load_state_dict(loaded, strict=False)
    return loaded
