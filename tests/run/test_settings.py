"""The keys of `trainer` are checked before anything is built; `auto` is what the hardware is good at."""

import pytest
import torch
from by_hand import trainer_settings

from esrgan_lightning.errors import InputError
from esrgan_lightning.run.settings import channels_last_pays, resolve_precision

AMD = {"cpu_name": "AMD EPYC", "avx512_bf16": True}


@pytest.mark.parametrize(
    ("amx", "has", "expected"),
    [
        (True, {}, "bf16-mixed"),
        (False, AMD, "bf16-mixed"),
        (False, AMD | {"avx512_bf16": False}, "32-true"),
        (False, AMD | {"cpu_name": "Intel Xeon"}, "32-true"),
        (False, {}, "32-true"),
    ],
)
def test_auto_on_the_cpu_asks_what_multiplies_bf16(monkeypatch, amx, has, expected):
    """Breaks if a CPU that is no faster in bf16 is slowed down by it."""
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    assert resolve_precision("auto", "cpu") == expected


def test_auto_on_a_torch_that_cannot_tell_is_fp32(monkeypatch):
    """Breaks if a name that another torch lacks takes the training down."""
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert resolve_precision("auto", "cpu") == "32-true"


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_auto_on_cuda_asks_for_native_bf16(monkeypatch, native, expected):
    """Breaks if emulated bf16 of an old GPU counts: it is slower than fp32."""
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation
    )
    assert resolve_precision("auto", "cuda") == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [(32, "32-true"), ("fp32", "32-true"), ("bf16", "bf16-mixed"), (16, "16-mixed"), ("64-true", "64-true")],
)
def test_spellings(given, expected):
    """Breaks if YAML's number 16 or Lightning's own spelling is refused."""
    assert resolve_precision(given, "cuda") == expected


def test_fp16_on_a_cpu_is_refused():
    """Breaks if Lightning's stand-in, bf16, trains under the name of fp16."""
    for name in ("fp16", 16, "16-mixed"):
        with pytest.raises(InputError, match=rf"trainer.precision={name}: no fp16 on a CPU; choose auto"):
            resolve_precision(name, "cpu")


def test_an_unknown_precision_is_named():
    """Breaks if a typo trains at fp32 in silence."""
    with pytest.raises(InputError, match=r"trainer.precision=bf8.*auto, 32"):
        resolve_precision("bf8", "cpu")


def test_auto_on_other_devices_is_fp32():
    """Breaks if a device nobody measured gets half precision."""
    assert resolve_precision("auto", "mps") == "32-true"


@pytest.mark.parametrize(
    ("device", "capability", "pays"),
    [("cpu", "AVX512", True), ("cpu", "AVX2", False), ("cpu", "DEFAULT", True), ("cuda", "AVX2", True)],
)
def test_the_layout_follows_the_processor(monkeypatch, device, capability, pays):
    """Breaks if a processor with AVX2 alone trains in its slower layout, or a GPU follows its host."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert channels_last_pays(device) is pays


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"max_updates": 1.5}, "trainer.max_updates=1.5: Input should be a valid integer"),
        ({"val_interval": 0}, "trainer.val_interval=0: Input should be greater than or equal to 1"),
        ({"log_interval": True}, "trainer.log_interval=True"),
        ({"max_time": -1}, "trainer.max_time=-1"),
        ({"strategy": "fsdp"}, "trainer.strategy=fsdp: Input should be 'auto' or 'ddp'"),
        ({"sync_batchnorm": "yes"}, "trainer.sync_batchnorm=yes"),
        ({"channels_last": "yes"}, "trainer.channels_last=yes: Input .* boolean or Input should be 'auto'"),
        ({"patience": 3}, "trainer.patience: there is no such key"),
    ],
)
def test_trainer_settings_are_checked_before_anything_is_built(change, said):
    """Breaks if a float of updates or a foreign strategy is found after the data was read."""
    with pytest.raises(InputError, match=said):
        trainer_settings(**change)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said():
    """Breaks if trainer=gpu trains on the CPU in silence, or dies inside Lightning."""
    with pytest.raises(InputError, match="no CUDA device is visible: choose trainer=cpu"):
        trainer_settings(accelerator="gpu")


def test_what_a_gpu_would_get(monkeypatch):
    """Breaks if trainer=gpu or auto resolves to another device or precision where there is one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    for accelerator in ("auto", "gpu", "cuda"):
        settings = trainer_settings(accelerator=accelerator)
        assert settings.device_type == "cuda"
        assert settings.resolved_precision() == "bf16-mixed"
