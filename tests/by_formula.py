"""Layers written out as formulas, for networks whose forward pass is done again by hand."""

import torch
from torch import Tensor, nn


def randomized(net: nn.Module) -> nn.Module:
    """In float64 and eval mode, with no bias, slope, norm or statistic left at 0 or 1."""
    source = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if tensor.ndim <= 1 and tensor.is_floating_point() and "_u" not in name and "_v" not in name:
                tensor.copy_(torch.rand(tensor.shape, generator=source) + 0.3)
    return net.double().eval()


def leaky(x: Tensor, slope: float | Tensor) -> Tensor:
    """X where it is positive, slope · x elsewhere."""
    return torch.where(x > 0, x, slope * x)


def batch_normed(x: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    """(x − mean) / √(variance + 1e-5) · weight + bias, with the running statistics."""
    mean, var, weight, bias = (
        weights[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


class Toy(nn.Module):
    """In place of a network: two features that can be worked out by hand."""

    layers = ("triple", "square")

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(3.0))
        self.norm = nn.BatchNorm2d(3)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"triple": image * self.weight, "square": image**2}
