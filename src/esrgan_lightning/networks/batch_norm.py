"""Batch norm over the batch of all processes, on any device."""

from typing import final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from esrgan_lightning.ops.distributed import mean_over_processes, process_count


@final
class SynchronizedBatchNorm(_BatchNorm):
    """Batch norm over the whole batch of all processes (Ioffe & Szegedy 2015, algorithm 1).

    In training, with W processes of b samples each, over the n = W·b·H·W' values of a channel::

        μ = mean(x),  σ² = mean((x − μ)²),  y = γ (x − μ)/√(σ² + ε) + β

    and the running statistics follow μ and the unbiased n/(n−1)·σ². The means carry gradient across the
    processes. In evaluation, and on one process, it is torch's own layer; the state-dict keys are the same,
    too. torch.nn.SyncBatchNorm does this for GPUs alone.
    """

    @classmethod
    def like(cls, norm: _BatchNorm) -> "SynchronizedBatchNorm":
        """A layer in place of ``norm``, with the same parameters and buffers, not copies."""
        new = cls(norm.num_features)
        new.__dict__.update(norm.__dict__)
        return new

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,…) → the same shape; equal B and sizes on all processes."""
        if not self.training or process_count() == 1:
            return super().forward(x)
        self._check_input_dim(x)
        dims, shape = [0, *range(2, x.dim())], [1, -1] + [1] * (x.dim() - 2)
        wide = x if x.dtype == torch.float64 else x.float()  # autocast hands in half precision
        mean = mean_over_processes(wide.mean(dims))
        centred = wide - mean.view(shape)
        var = mean_over_processes(centred.square().mean(dims))
        self._track(mean.detach(), var.detach(), values=process_count() * x.numel() // x.shape[1])
        scale = torch.rsqrt(var + self.eps)
        if self.affine:
            return (centred * (scale * self.weight).view(shape) + self.bias.view(shape)).to(x.dtype)
        return (centred * scale.view(shape)).to(x.dtype)

    def _track(self, mean: Tensor, var: Tensor, *, values: int) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_((var * (values / (values - 1))).to(self.running_var), share)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"batch norm takes (B,C,…), and was given {tuple(input.shape)}")


def synchronize_batch_norm(module: nn.Module) -> nn.Module:
    """Puts :class:`SynchronizedBatchNorm` in the place of every batch norm, the module itself included."""
    if isinstance(module, _BatchNorm):
        return SynchronizedBatchNorm.like(module)
    for name, child in module.named_children():
        setattr(module, name, synchronize_batch_norm(child))
    return module
