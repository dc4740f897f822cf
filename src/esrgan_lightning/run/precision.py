"""Which precision the hardware is good at."""

from typing import Any, Literal

import torch

from esrgan_lightning.errors import InputError

Precision = Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]
_NAMES: dict[str, Precision] = {
    **dict.fromkeys(("32", "32-true", "fp32"), "32-true"),
    **dict.fromkeys(("bf16", "bf16-mixed"), "bf16-mixed"),
    **dict.fromkeys(("16", "fp16", "16-mixed"), "16-mixed"),
    **dict.fromkeys(("64", "64-true"), "64-true"),
}


def cpu_multiplies_bf16() -> bool:
    """Whether bf16 convolutions are faster than fp32 ones: with AMX, and with AMD's AVX512_BF16.

    Intel's AVX512_BF16 without AMX has not been measured.
    """
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    has = getattr(torch.cpu, "get_capabilities", dict[str, Any])()
    amd = "AMD" in has.get("cpu_name", "") and has.get("avx512_bf16", False)
    return amd or bool(supported and supported())


def resolve_precision(precision: str | int, accelerator: str) -> Precision:
    """``auto`` → bf16-mixed where the hardware multiplies bf16, else fp32.

    CUDA multiplies bf16 from Ampere on, a CPU with AMX or AMD's AVX512_BF16.

    Args:
        precision: auto, 32, bf16, 16 or 64, or Lightning's own spelling.
        accelerator: ``cuda``, ``cpu`` or ``mps``, already resolved.

    Raises:
        InputError: An unknown name, or fp16 on a CPU: Lightning does not train so, and the backward pass of
            PyTorch's fp16 convolutions takes hundreds of times fp32's time there.
    """
    if str(precision) != "auto":
        if str(precision) not in _NAMES:
            raise InputError(f"trainer.precision={precision}: choose one of auto, {', '.join(_NAMES)}")
        chosen = _NAMES[str(precision)]
        if chosen == "16-mixed" and accelerator == "cpu":
            # Lightning would take bf16 instead, and the run's files say fp16.
            raise InputError(f"trainer.precision={precision}: no fp16 on a CPU; choose auto, fp32 or bf16")
        return chosen
    if accelerator == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    if accelerator == "cpu":
        return "bf16-mixed" if cpu_multiplies_bf16() else "32-true"
    return "32-true"
