"""The keys of ``trainer``, and what ``auto`` means on this machine; torch is loaded when that is asked."""

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError
from pydantic.dataclasses import dataclass

from esrgan_lightning.errors import InputError

Precision = Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]
_NAMES: dict[str, Precision] = {
    **dict.fromkeys(("32", "32-true", "fp32"), "32-true"),
    **dict.fromkeys(("bf16", "bf16-mixed"), "bf16-mixed"),
    **dict.fromkeys(("16", "fp16", "16-mixed"), "16-mixed"),
    **dict.fromkeys(("64", "64-true"), "64-true"),
}
Count = Annotated[int, Field(ge=1, strict=True)]
Switch = Annotated[bool, Field(strict=True)]

# Other options of Lightning's Trainer that change nothing of what is trained.
SAFE = ("profiler", "limit_val_batches", "detect_anomaly", "inference_mode", "enable_model_summary")
_COUNTED = "a run is counted in updates: give trainer.max_updates"
_SHARED_OUT = "samples are shared out by their numbers, so that a run resumes exactly"
# What a user of Lightning may look for, and what there is instead.
_INSTEAD = {
    **dict.fromkeys(("max_steps", "min_steps", "max_epochs", "min_epochs", "limit_train_batches"), _COUNTED),
    "fast_dev_run": "give debug=fast",
    "overfit_batches": "give debug=overfit",
    **dict.fromkeys(("val_check_interval", "check_val_every_n_epoch"), "give trainer.val_interval"),
    "log_every_n_steps": "give trainer.log_interval",
    "accumulate_grad_batches": "give stage.accumulate",
    **dict.fromkeys(("gradient_clip_val", "gradient_clip_algorithm"), "give stage.clip_norm"),
    "logger": "give logger=[tensorboard,wandb]",
    "callbacks": "give +callbacks.NAME._target_=…",
    "enable_checkpointing": "give trainer.checkpoint_interval and trainer.keep_last",
    "default_root_dir": "give name=, the run's folder below runs",
    "plugins": "checkpoints are written by the library's own",
    "benchmark": "it follows trainer.deterministic",
    "num_sanity_val_steps": "give a small trainer.val_interval to try validation out",
    **dict.fromkeys(("use_distributed_sampler", "reload_dataloaders_every_n_epochs"), _SHARED_OUT),
    "enable_progress_bar": "there is a bar on a terminal, and lines elsewhere",
}


@dataclass(frozen=True)
class TrainerSettings:
    """The keys of ``trainer``; what they mean stands in ``conf/trainer/auto.yaml``.

    ``others`` are options of Lightning's Trainer by their own names, those of :data:`SAFE`.
    """

    max_updates: Count
    max_time: Annotated[float, Field(gt=0)] | None
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"]
    devices: int | str | list[int]
    num_nodes: Count
    strategy: Literal["auto", "ddp"]  # sharding is for networks far larger than these
    sync_batchnorm: Switch
    precision: str | int
    channels_last: Switch | Literal["auto"]
    compile: Switch
    cuda_graphs: Switch
    gpu_kernels: Switch
    cast_features: Switch
    val_interval: Count
    checkpoint_interval: Count
    keep_last: Count
    log_interval: Count
    deterministic: Switch | Literal["warn"]
    monitor: str
    others: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parsed(cls, **given: Any) -> "TrainerSettings":
        """The settings, without a look at the machine; InputError for a wrong key or value."""
        others = {key: given.pop(key) for key in SAFE if key in given}
        names = [name for name in cls.__dataclass_fields__ if name != "others"]
        for key in sorted(set(given) - set(names)):
            if key in _INSTEAD:
                raise InputError(f"trainer.{key} is not for you to set: {_INSTEAD[key]}")
            raise InputError(f"trainer.{key}: there is no such key; there are {', '.join([*names, *SAFE])}")
        try:
            return cls(**given, others=others)
        except ValidationError as error:
            wrong = error.errors()
            first = wrong[0]["loc"][0]
            said = " or ".join(each["msg"] for each in wrong if each["loc"][0] == first)
            raise InputError(f"trainer.{first}={wrong[0]['input']}: {said}") from error

    @classmethod
    def of(cls, **given: Any) -> "TrainerSettings":
        """The settings; InputError for a wrong key or value, or a device or precision that is not there."""
        import torch

        settings = cls.parsed(**given)
        if settings.accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
            raise InputError(
                f"trainer.accelerator={settings.accelerator}, but no CUDA device is visible: choose "
                "trainer=cpu"
            )
        settings.resolved_precision()
        return settings

    @property
    def device_type(self) -> str:
        """``cuda``, ``cpu`` or ``mps``."""
        import torch

        if self.accelerator == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        return "cuda" if self.accelerator == "gpu" else self.accelerator

    def resolved_channels_last(self) -> bool:
        """Whether networks lie in memory as NHWC; ``auto`` is what the device computes faster."""
        if self.channels_last == "auto":
            return channels_last_pays(self.device_type)
        return self.channels_last

    def resolved_precision(self) -> Precision:
        """Lightning's name of the precision."""
        return resolve_precision(self.precision, self.device_type)


def channels_last_pays(device: str) -> bool:
    """Whether an update is faster in NHWC on ``cpu``, ``cuda`` or ``mps``: but for CPUs with AVX2 alone."""
    import torch

    return device != "cpu" or torch.backends.cpu.get_cpu_capability() != "AVX2"


def resolve_precision(precision: str | int, accelerator: str) -> Precision:
    """``auto`` → bf16-mixed where the hardware multiplies bf16, else fp32.

    CUDA multiplies bf16 from Ampere on, a CPU with AMX or AMD's AVX512_BF16.

    Raises:
        InputError: An unknown name, or fp16 on a CPU: Lightning does not train so, and the backward pass of
            PyTorch's fp16 convolutions takes hundreds of times fp32's time there.
    """
    import torch

    if str(precision) == "auto":
        fast = {
            "cuda": lambda: torch.cuda.is_bf16_supported(including_emulation=False),
            "cpu": _cpu_multiplies_bf16,
        }
        return "bf16-mixed" if accelerator in fast and fast[accelerator]() else "32-true"
    if str(precision) not in _NAMES:
        raise InputError(f"trainer.precision={precision}: choose one of auto, {', '.join(_NAMES)}")
    chosen = _NAMES[str(precision)]
    if chosen == "16-mixed" and accelerator == "cpu":
        # Lightning would take bf16 instead, and the run's files say fp16.
        raise InputError(f"trainer.precision={precision}: no fp16 on a CPU; choose auto, fp32 or bf16")
    return chosen


def _cpu_multiplies_bf16() -> bool:
    """With AMX, and with AMD's AVX512_BF16; Intel's without AMX has not been measured."""
    import torch

    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    has = getattr(torch.cpu, "get_capabilities", dict[str, Any])()
    amd = "AMD" in has.get("cpu_name", "") and has.get("avx512_bf16", False)
    return amd or bool(supported and supported())
