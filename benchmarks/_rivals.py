"""What an update is compared with: a training step by the book, and BasicSR's own where it is installed."""

import copy
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esrgan_lightning.losses import PerceptualLoss
from esrgan_lightning.networks import network_spec
from esrgan_lightning.networks.blocks import RRDB, DenseBlock
from esrgan_lightning.stages import GANStage, PSNRStage

Batch = dict[str, Tensor]
Losses = dict[str, float]
# The weights of preset=basicsr; its adversarial losses are halved.
PIXEL, PERCEPTUAL, ADVERSARIAL = 1e-2, 1.0, 5e-3


@dataclass(frozen=True)
class Rival:
    """A training step that is not this library's: ``update(batch)`` takes it and returns its losses."""

    name: str
    update: Callable[[Batch], Losses]
    parameters: Callable[[], list[Tensor]]


def plain(stage: PSNRStage | GANStage, *, ema: float = 0.999) -> Rival:
    """The textbook's loop over copies of the stage's networks: NCHW, fp32, torch.optim.Adam, no Lightning.

    The dense blocks are the plain ones, D runs once per turn and image set, as the paper's formulas stand.
    """
    generator: Any = _plain_blocks(copy.deepcopy(stage.generator)).to(memory_format=torch.contiguous_format)
    average = copy.deepcopy(generator).requires_grad_(False)
    adam = {"lr": 1e-4, "betas": (0.9, 0.99)}
    optimizer = torch.optim.Adam(generator.parameters(), **adam)  # type: ignore[arg-type]
    rest: Any = nn.Module()
    backbone = copy.deepcopy(features_of(stage)).to(memory_format=torch.contiguous_format)
    if isinstance(stage, GANStage):
        rest = copy.deepcopy(stage.discriminator).to(memory_format=torch.contiguous_format)
        perceptual = stage.losses.needs("perceptual")
        optimizer_d = torch.optim.Adam(rest.parameters(), **adam)  # type: ignore[arg-type]

    def update(batch: Batch) -> Losses:
        lr, hr = batch["lr"], batch["hr"]
        optimizer.zero_grad()
        sr = generator(lr)
        losses = {"pixel": F.l1_loss(sr, hr)}
        if isinstance(stage, PSNRStage):
            torch.autograd.backward(losses["pixel"])
        else:
            for parameter in rest.parameters():
                parameter.requires_grad_(False)
            total = PIXEL * losses["pixel"]
            if perceptual:
                (truth,), (features,) = backbone(hr).values(), backbone(sr).values()
                losses["perceptual"] = F.l1_loss(features, truth)
                total = total + PERCEPTUAL * losses["perceptual"]
            real, fake = rest(hr), rest(sr)
            losses["adversarial"] = (_bce(real - fake.mean(), 0) + _bce(fake - real.mean(), 1)) / 2
            torch.autograd.backward(total + ADVERSARIAL * losses["adversarial"])
            for parameter in rest.parameters():
                parameter.requires_grad_(True)
        optimizer.step()
        if isinstance(stage, GANStage):
            optimizer_d.zero_grad()
            real, fake = rest(hr), rest(sr.detach())
            losses["d"] = _bce(real - fake.mean().detach(), 1) + _bce(fake - real.mean().detach(), 0)
            losses["d"] = losses["d"] / 2
            torch.autograd.backward(losses["d"])
            optimizer_d.step()
        with torch.no_grad():
            for mean, now in zip(average.parameters(), generator.parameters(), strict=True):
                mean.mul_(ema).add_(now, alpha=1 - ema)
        return {name: value.item() for name, value in losses.items()}

    networks = (generator, rest, backbone)
    return Rival("plain loop", update, lambda: [p for network in networks for p in network.parameters()])


def basicsr(stage: PSNRStage | GANStage) -> Rival | None:
    """BasicSR's model class with the stage's weights, None where the package is not installed."""
    try:
        _let_basicsr_import()
        from basicsr.archs import vgg_arch
        from basicsr.models.esrgan_model import ESRGANModel
        from basicsr.models.sr_model import SRModel
    except ImportError:
        return None
    gan = isinstance(stage, GANStage)
    features: Any = None
    if isinstance(stage, GANStage):  # its VGG is ours; it would download its own
        features = copy.deepcopy(features_of(stage).features)
        vgg_arch.vgg.vgg19 = lambda **_: types.SimpleNamespace(features=features)
    model = (ESRGANModel if gan else SRModel)(_basicsr_options(stage, features))
    model.net_g.load_state_dict(stage.generator.state_dict())
    model.model_ema(0)
    if isinstance(stage, GANStage):
        own = model.net_d.state_dict()
        # The same layers in the same order, under other names.
        model.net_d.load_state_dict(dict(zip(own, stage.discriminator.state_dict().values(), strict=True)))

    def update(batch: Batch) -> Losses:
        model.feed_data({"lq": batch["lr"], "gt": batch["hr"]})
        model.optimize_parameters(1)
        return _basicsr_losses(model.log_dict) if gan else {"pixel": model.log_dict["l_pix"]}

    def parameters() -> list[Tensor]:
        networks = (model.net_g, model.net_d, model.cri_perceptual) if gan else (model.net_g,)
        return [p for network in networks for p in network.parameters()]

    return Rival("BasicSR", update, parameters)


def basicsr_network(generator: nn.Module) -> tuple[str, nn.Module]:
    """BasicSR's x4 network with an RRDBNet's weights, or where it is not installed the layers by the book."""
    known = network_spec(generator)["arguments"]
    try:
        _let_basicsr_import()
        from basicsr.archs.rrdbnet_arch import RRDBNet
    except ImportError:
        plain_network: Any = _plain_blocks(generator)
        return "by the book", plain_network.to(memory_format=torch.contiguous_format).eval()
    net = RRDBNet(
        *(known[size] for size in ("in_channels", "out_channels", "scale", "num_features")),
        known["num_blocks"],
        known["growth_channels"],
    )
    net.load_state_dict(generator.state_dict())
    return "BasicSR", net.eval()


def _let_basicsr_import() -> None:
    """It imports a name that torchvision has given up."""
    import torchvision.transforms.functional as functional  # type: ignore[import-untyped]

    stand_in: Any = types.ModuleType("torchvision.transforms.functional_tensor")
    stand_in.rgb_to_grayscale = functional.rgb_to_grayscale
    sys.modules.setdefault(stand_in.__name__, stand_in)


def _basicsr_losses(log: dict[str, float]) -> Losses:
    return {
        "pixel": log["l_g_pix"] / PIXEL,
        "perceptual": log["l_g_percep"] / PERCEPTUAL,
        "adversarial": log["l_g_gan"] / ADVERSARIAL,
        "d": log["l_d_real"] + log["l_d_fake"],
    }


def _basicsr_options(stage: PSNRStage | GANStage, features: nn.Sequential | None) -> dict[str, Any]:
    known = network_spec(stage.generator)["arguments"]
    adam = {"type": "Adam", "lr": 1e-4, "weight_decay": 0, "betas": [0.9, 0.99]}
    train: dict[str, Any] = {
        "ema_decay": 0.999,
        "optim_g": dict(adam),
        "scheduler": {"type": "MultiStepLR", "milestones": [10**6], "gamma": 0.5},
        "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
    }
    options: dict[str, Any] = {
        "num_gpu": int(torch.cuda.is_available()), "is_train": True, "dist": False, "rank": 0, "path": {},
        "network_g": {
            "type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": known["num_features"],
            "num_block": known["num_blocks"], "num_grow_ch": known["growth_channels"],
        },
        "train": train,
    }  # fmt: skip
    if features is not None and isinstance(stage, GANStage):
        deepest = sum(isinstance(layer, nn.MaxPool2d) for layer in features)
        layer = {0: "conv1_2", 4: "conv5_4"}[deepest]
        train["pixel_opt"]["loss_weight"] = PIXEL
        train["optim_d"] = dict(adam)
        train["perceptual_opt"] = {
            "type": "PerceptualLoss", "layer_weights": {layer: 1}, "vgg_type": "vgg19", "style_weight": 0,
            "perceptual_weight": PERCEPTUAL, "range_norm": False, "criterion": "l1",
        }  # fmt: skip
        train["gan_opt"] = {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": ADVERSARIAL}
        width = next(stage.discriminator.parameters()).shape[0]
        options["network_d"] = {"type": "VGGStyleDiscriminator", "num_in_ch": 3, "num_feat": width}
    return options


def _plain_blocks(generator: nn.Module) -> nn.Module:
    for part in generator.modules():
        if isinstance(part, DenseBlock):
            part.memory_efficient = False
        if isinstance(part, RRDB):
            part.checkpointing = False
    return generator


def features_of(stage: PSNRStage | GANStage) -> nn.Module:
    """The perceptual loss's network, which is no registered part of its stage; an empty one without it."""
    terms = [term for term in stage.losses.terms.values() if isinstance(term, PerceptualLoss)]
    return terms[0].backbone if terms else nn.Module()


def _bce(logits: Tensor, label: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))
