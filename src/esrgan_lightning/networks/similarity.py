"""Learned similarity of two pictures, differentiable: LPIPS and DISTS, frozen, from ImageNet features."""

import re
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal, final

import torch
from torch import Tensor, nn
from torchmetrics.functional.image.dists import L2pooling
from torchmetrics.functional.image.lpips import _LPIPS

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks._pretrained import Frozen, check_image, matching, read_network, read_tensors
from esrgan_lightning.networks.backbones import VGGFeatures

# LPIPS' name of a backbone → torchvision's, and the pixels for which no pooling runs out of them.
_BACKBONES = {"alex": ("alexnet", 31), "vgg": ("vgg16", 16), "squeeze": ("squeezenet1_1", 17)}
_BUNDLED_ALEXNET = Path(__file__).with_name("alexnet_features.safetensors")
# Where torchmetrics' network has torchvision's features.
_SLICE = re.compile(r"net\.(slice|slices\.)\d")
# What DISTS compares beside the picture itself, and the channels.
_DISTS_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
_DISTS_CHANNELS = [3, 64, 128, 256, 512, 512]
_C1 = _C2 = 1e-6


@final
class LPIPSNetwork(Frozen):
    """LPIPS: d = Σ_l mean_{h,w} Σ_c w_lc (φ̂_l(sr) − φ̂_l(hr))², φ̂ the features of unit length over channels.

    The network and its heads w (version 0.1) are torchmetrics'. Everything is frozen, and gradients flow to
    both pictures.

    Args:
        backbone: ``alex`` (AlexNet, what papers print), ``vgg`` (VGG16) or ``squeeze`` (SqueezeNet 1.1).
        weights: A .pth or .safetensors file with torchvision's keys ``features.N.…``. None takes the bundled
            AlexNet, in float16, and for the others downloads torchvision's into the torch hub cache.

    Shape:
        sr, hr: (B,3,H,W), RGB in [0,1] → (B,), 0 for equal pictures.

    Raises:
        InputError: An unknown backbone, weights that cannot be had or do not fit, pictures that are not
            (B,3,H,W) of one shape, or too small.

    Source:
        Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", CVPR 2018,
        equation 1.
    """

    def __init__(
        self, backbone: Literal["alex", "vgg", "squeeze"] = "alex", *, weights: str | Path | None = None
    ) -> None:
        super().__init__()
        if backbone not in _BACKBONES:
            raise InputError(f"backbone={backbone}: expected one of {', '.join(_BACKBONES)}")
        arch, self.smallest = _BACKBONES[backbone]
        if backbone == "alex":
            weights = weights or _BUNDLED_ALEXNET
        with torch.device("meta"):  # the shapes alone: classifiers of 100 M parameters are never made
            self.network = _LPIPS(net=backbone, pretrained=False, pnet_rand=True)
        names = {key: _SLICE.sub("features", key) for key in self.network.state_dict() if _SLICE.match(key)}
        known = {name: self.network.get_parameter(key) for key, name in names.items()}
        source = f"weights={weights or 'the download'}: not {arch}"
        found = matching(read_network(arch, weights), known, known, source=source)
        state = _bundled(f"lpips_models/{backbone}.pth") | {key: found[name] for key, name in names.items()}
        self.network.load_state_dict(state, strict=False, assign=True)  # each head has two names there
        self.requires_grad_(False).eval()

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """The distance of each pair, (B,)."""
        _check_pair(sr, hr, self.smallest)
        distance: Tensor = self.network(sr, hr, normalize=True)
        return distance.flatten()


@final
class DISTSNetwork(Frozen):
    """DISTS: d = 1 − Σ_l Σ_c (α_lc l(φ_lc(sr), φ_lc(hr)) + β_lc s(φ_lc(sr), φ_lc(hr))).

    l = (2 μ_x μ_y + c₁)/(μ_x² + μ_y² + c₁) compares the means of a feature map (texture), s =
    (2 σ_xy + c₂)/(σ_x² + σ_y² + c₂) its structure; φ_0 is the picture itself, φ_1 to φ_5 are VGG16's, with
    smooth L2 pooling in place of max-pooling; Σα + Σβ = 1. α and β are those that torchmetrics carries.
    Everything is frozen, and gradients flow to both pictures. Pictures are compared as they are: the
    authors' own program first shrinks large ones to 256 pixels on the shorter side.

    Args:
        weights: VGG16's, as in :class:`LPIPSNetwork`.

    Shape:
        sr, hr: (B,3,H,W), RGB in [0,1] → (B,), 0 for equal pictures.

    Raises:
        InputError: As :class:`LPIPSNetwork`.

    Source:
        Ding et al., "Image quality assessment: unifying structure and texture similarity", TPAMI 2020,
        equations 4 to 7.
    """

    alpha: Tensor
    beta: Tensor

    def __init__(self, *, weights: str | Path | None = None) -> None:
        super().__init__()
        self.features = VGGFeatures("vgg16", _DISTS_LAYERS, weights=weights)
        layers = self.features.features
        pools = [index for index, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
        for index, channels in zip(pools, _DISTS_CHANNELS[1:5], strict=True):
            layers[index] = L2pooling(channels=channels)
        shares = _bundled("dists_models/weights.pt")
        total = shares["alpha"].sum() + shares["beta"].sum()
        self.register_buffer("alpha", shares["alpha"].flatten() / total)
        self.register_buffer("beta", shares["beta"].flatten() / total)
        self.requires_grad_(False).eval()

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """The distance of each pair, (B,)."""
        _check_pair(sr, hr, 1)
        similarity = sr.new_zeros(len(sr))
        for x, y, alpha, beta in zip(
            (sr, *self.features(sr).values()),
            (hr, *self.features(hr).values()),
            torch.split(self.alpha, _DISTS_CHANNELS),
            torch.split(self.beta, _DISTS_CHANNELS),
            strict=True,
        ):
            mean_x, mean_y = x.mean((2, 3)), y.mean((2, 3))  # (B,C)
            away_x, away_y = x - mean_x[..., None, None], y - mean_y[..., None, None]
            both = (away_x * away_y).mean((2, 3))
            spread = (away_x.square() + away_y.square()).mean((2, 3))
            texture = (2 * mean_x * mean_y + _C1) / (mean_x.square() + mean_y.square() + _C1)
            structure = (2 * both + _C2) / (spread + _C2)
            similarity = similarity + (alpha * texture + beta * structure).sum(1)
        return 1 - similarity


def _bundled(name: str) -> dict[str, Tensor]:
    """The weights of the heads, a file of a few kB in the package torchmetrics."""
    with as_file(files("torchmetrics.functional.image") / name) as path:
        return read_tensors(path)


def _check_pair(sr: Tensor, hr: Tensor, smallest: int) -> None:
    if sr.shape != hr.shape:
        raise InputError(f"two images of one shape: got {tuple(sr.shape)} and {tuple(hr.shape)}")
    check_image(sr, smallest=smallest)
