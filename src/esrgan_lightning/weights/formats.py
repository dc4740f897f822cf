"""Layouts of foreign RRDB weights: which keys they use, and the network that the shapes describe."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.weights.files import EXPECTED
from esrgan_lightning.weights.state import first_few

# Left by DistributedDataParallel, torch.compile, Lightning.
_PREFIXES = ("module.", "_orig_mod.", "generator.")
# The names in the ESRGAN authors' release of 2019 → those of today.
_NAMES_2019 = {
    "trunk_conv": "conv_body",
    "upconv1": "conv_up1",
    "upconv2": "conv_up2",
    "upconv3": "conv_up3",
    "HRconv": "conv_hr",
}
_BLOCK_2019 = re.compile(r"RRDB_trunk\.(\d+)\.RDB([123])\.conv([1-5])\.(weight|bias)")
_BLOCK_2018 = re.compile(r"model\.1\.sub\.(\d+)\.RDB([123])\.conv([1-5])\.0\.(weight|bias)")
_BODY_2018 = re.compile(r"model\.1\.sub\.(\d+)\.(weight|bias)")
_OUTER_2018 = re.compile(r"model\.(\d+)\.(weight|bias)")


def select_state(content: Mapping[str, Any]) -> dict[str, Any]:
    """Picks the generator's state dict out of what a file holds.

    From a Lightning checkpoint the moving average (once it has averaged something), else the generator; else
    BasicSR's ``params_ema``, else its ``params``, else the content itself. Prefixes ``module.``,
    ``_orig_mod.`` and ``generator.`` that all names have are taken off.
    """
    state: Mapping[Any, Any] = content
    for key in ("state_dict", "params_ema", "params"):
        if isinstance(content.get(key), Mapping):
            state = content[key]
            break
    if "state_dict" in content:
        average, plain = _below(state, "ema.module."), _below(state, "generator.")
        state = (average if _counts(state.get("ema.n_averaged")) else plain) or state
    for _ in _PREFIXES:
        for prefix in _PREFIXES:
            if state and all(str(name).startswith(prefix) for name in state):
                state = _below(state, prefix)
    return {str(name): value for name, value in state.items()}


def _counts(updates: object) -> bool:
    """Whether an average has seen an update: before, it may not even hold what training began with."""
    single = isinstance(updates, Tensor) and updates.numel() == 1 and updates.device.type == "cpu"
    return single and bool(updates)


def _below(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {
        str(key).removeprefix(prefix): value for key, value in state.items() if str(key).startswith(prefix)
    }


def modern_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the RRDB layouts of 2018 and 2019 to today's keys; any other state dict comes back as it is.

    - 2018 (Sequential): ``model.0`` conv_first, ``model.1.sub.N.RDBM.convK.0`` blocks, ``model.1.sub.{nb}``
      conv_body; then with k upsampling steps ``model.3 … model.3k`` conv_up1 … k, ``model.3k+2`` conv_hr,
      ``model.3k+4`` conv_last.
    - 2019: ``RRDB_trunk.N.RDBM.convK``, ``trunk_conv``, ``upconv1``, ``upconv2``, ``HRconv``.
    """
    if "model.0.weight" in state:
        return _from_2018(state)
    if "trunk_conv.weight" in state:
        return {_name_2019(key): tensor for key, tensor in state.items()}
    return dict(state)


def _name_2019(key: str) -> str:
    if block := _BLOCK_2019.fullmatch(key):
        return "body.{}.rdb{}.conv{}.{}".format(*block.groups())
    module, _, kind = key.rpartition(".")
    return f"{_NAMES_2019.get(module, module)}.{kind}"


def _from_2018(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    outer = sorted({int(match[1]) for key in state if (match := _OUTER_2018.fullmatch(key))})
    names = {0: "conv_first"}
    if len(outer) >= 3:
        *steps, conv_hr, conv_last = outer[1:]
        names |= {index: f"conv_up{step}" for step, index in enumerate(steps, start=1)}
        names |= {conv_hr: "conv_hr", conv_last: "conv_last"}
    modern = {}
    for key, tensor in state.items():
        if match := _BLOCK_2018.fullmatch(key):
            name = "body.{}.rdb{}.conv{}.{}".format(*match.groups())
        elif match := _BODY_2018.fullmatch(key):
            name = f"conv_body.{match[2]}"
        elif (match := _OUTER_2018.fullmatch(key)) and int(match[1]) in names:
            name = f"{names[int(match[1])]}.{match[2]}"
        else:
            name = key  # the strict comparison with the network names it
        modern[name] = tensor
    return modern


def infer_spec(
    state: Mapping[str, Tensor], *, scale: int | None = None, source: object = "weights"
) -> dict[str, Any]:
    """Reads from the shapes which RRDB network a state dict belongs to.

    conv_first tells the input channels, and by 4 or 16 times those of the output that a pixel-unshuffle comes
    first (x2, x1); the number of conv_up tells the other scales: none x1, two x4, three x8. One is x2 as well
    as x3: then the scale has to be given. β is not in a file: it is 0.2, as everywhere.

    Args:
        state: Today's keys (see :func:`modern_keys`).
        scale: What the scale is, where it cannot be told or is to be checked.
        source: The file, for the message.

    Raises:
        InputError: Not an RRDB network, a scale that is missing, or one that contradicts the shapes.
    """
    needed = (
        "conv_first.weight",
        "body.0.rdb1.conv1.weight",
        "conv_body.weight",
        "conv_hr.weight",
        "conv_last.weight",
    )
    if any(key not in state or state[key].ndim != 4 for key in needed):
        raise InputError(f"{source}: found {len(state)} tensors: {first_few(list(state))}; {EXPECTED}")
    num_features, in_channels = state["conv_first.weight"].shape[:2]
    out_channels = len(state["conv_last.weight"])
    steps = sum(re.fullmatch(r"conv_up\d\.weight", key) is not None for key in state)
    fold = {4 * out_channels: 2, 16 * out_channels: 4}.get(in_channels, 1) if steps == 2 else 1
    scales = {0: (1,), 1: (2, 3), 2: (4 // fold,), 3: (8,)}.get(steps, ())
    if scale is None and len(scales) > 1:
        raise InputError(
            f"{source}: one conv_up can be scale 2 or scale 3, the file does not say: give scale="
        )
    if scale not in (None, *scales) or not scales:
        raise InputError(
            f"{source}: scale={scale} does not go with its {steps} conv_up: possible is {scales or 'none'}"
        )
    blocks = {int(match[1]) for key in state if (match := re.match(r"body\.(\d{1,6})\.", key))}
    return {
        "architecture": "RRDBNet",
        "arguments": {
            "in_channels": in_channels // fold**2,
            "out_channels": out_channels,
            "num_features": num_features,
            "num_blocks": len(blocks),
            "growth_channels": len(state["body.0.rdb1.conv1.weight"]),
            "scale": scales[0] if scale is None else scale,
            "residual_scaling": 0.2,
            "unshuffle": fold > 1,
        },
    }
