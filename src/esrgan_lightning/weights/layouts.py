"""Files of other tools: the names of their tensors, where these lie, and the network that they are of."""

import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from torch import Tensor

from esrgan_lightning.errors import InputError, first_few

EXPECTED = (
    "expected a generator: .safetensors or .ckpt of this library, or an RRDB network as .safetensors or .pth "
    "(keys conv_first, body.N.rdbM.convK, conv_body, conv_up1 …, conv_hr, conv_last, or the ESRGAN authors' "
    "layouts of 2018 and 2019, also below params_ema, state_dict, net_g and the like, or after module., "
    "_orig_mod., generator. or generator_ema.)"
)


# The ESRGAN authors' names of 2019, and BasicSR's.
_OF_2019 = (
    ("RRDB_trunk.", "body."),
    (".RDB", ".rdb"),
    ("trunk_conv.", "conv_body."),
    ("upconv", "conv_up"),
    ("HRconv.", "conv_hr."),
)
_BLOCK = re.compile(r"(?:body|RRDB_trunk|model\.1\.sub)\.(\d{1,6})\.(?:rdb|RDB)")


def layout_of(state: Mapping[str, Tensor]) -> str:
    """``esrgan2018``, ``esrgan2019``, or ``basicsr`` for BasicSR's names and everything else."""
    if "model.0.weight" in state:
        return "esrgan2018"
    return "esrgan2019" if "trunk_conv.weight" in state else "basicsr"


def count_blocks(state: Mapping[str, Tensor]) -> int:
    """How many RRDBs the names speak of, in any layout."""
    return len({match[1] for name in state if (match := _BLOCK.match(name))})


def count_steps(state: Mapping[str, Tensor]) -> int:
    """How many convolutions after an enlargement the names speak of, in any layout."""
    if layout_of(state) == "esrgan2018":  # conv_first, the steps, conv_hr, conv_last
        outer = {name for name in state if re.fullmatch(r"model\.\d+\.weight", name)}
        return max(0, len(outer) - 3)
    return sum(re.fullmatch(r"(conv_up|upconv)\d\.weight", name) is not None for name in state)


def _names_of_2018(state: Mapping[str, Tensor]) -> dict[str, str]:
    """BasicSR's name of each convolution → that of the authors' first release, a Sequential.

    After the body, at 1, each step takes three places (enlargement, convolution, activation), conv_hr and
    its activation two.
    """
    blocks, steps = count_blocks(state), count_steps(state)
    names = {"conv_first": "model.0", "conv_body": f"model.1.sub.{blocks}"}
    for n, m, k in product(range(blocks), (1, 2, 3), range(1, 6)):
        names[f"body.{n}.rdb{m}.conv{k}"] = f"model.1.sub.{n}.RDB{m}.conv{k}.0"
    names |= {f"conv_up{s}": f"model.{3 * s}" for s in range(1, steps + 1)}
    return names | {"conv_hr": f"model.{3 * steps + 2}", "conv_last": f"model.{3 * steps + 4}"}


def to_canonical(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """BasicSR's names for a state dict of any layout.

    Names that the layout does not have stay, for the comparison with the network to tell.
    """
    layout, renamed = layout_of(state), dict(state)
    if layout == "esrgan2018":
        return _renamed(state, {old: new for new, old in _names_of_2018(state).items()})
    for old, new in _OF_2019 if layout == "esrgan2019" else ():
        renamed = {name.replace(old, new): tensor for name, tensor in renamed.items()}
    return renamed


def to_2018(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The names of 2018 for BasicSR's."""
    return _renamed(state, _names_of_2018(state))


def _renamed(state: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    parts = ((name.rpartition("."), tensor) for name, tensor in state.items())
    return {f"{names.get(module, module)}{dot}{kind}": tensor for (module, dot, kind), tensor in parts}


# Left by DistributedDataParallel and torch.compile, and by modules that hold the network as one attribute.
_WRAPPERS = ("module.", "_orig_mod.", "net_g.", "netG.", "net.", "model.")
# Of mmagic and Lightning, the averaged weights first.
_GENERATORS = ("generator_ema.", "generator.")
# Where a file keeps its state dict, the averaged weights first; one may lie in another.
_WRAPPINGS = (
    *("params_ema", "params-ema", "ema_state_dict", "state_dict_ema", "model_ema", "net_g_ema"),
    *("generator_ema", "state_dict", "model_state_dict", "generator_state_dict", "params", "net_g", "netG"),
    *("generator", "model", "net", "network", "weights"),
)


def select_state(content: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The generator's state dict in a file's content, and the way to it: "params_ema", or "" at the top.

    Averaged weights come first: a Lightning checkpoint's (once it has averaged something), mmagic's
    ``generator_ema``, BasicSR's ``params_ema``. Prefixes that all names have are taken off.
    """
    state: Mapping[Any, Any] = content
    path: list[str] = []
    while len(path) < 3:  # a hostile file may hold itself
        key = next((key for key in _WRAPPINGS if isinstance(state.get(key), Mapping)), None)
        if key is None:
            break
        state = state[key]
        path.append(key)
    state = _bare(state)
    parts: Sequence[str] = _GENERATORS
    if "ema.n_averaged" in state:
        parts = ["ema.module."] if _counts(state["ema.n_averaged"]) else ["generator."]
    if found := next((part for part in parts if _below(state, part)), None):
        state = _below(state, found)
        path.append(found.removesuffix("."))
        if found == "generator_ema.":  # an averaged model counts beside its module
            state = _below(state, "module.") or state
    return _bare(state), " → ".join(path)


def _bare(state: Mapping[Any, Any]) -> dict[str, Any]:
    """Without the prefixes that all names share, in whatever order."""
    names = {str(name): value for name, value in state.items()}
    while names and "model.0.weight" not in names:  # there "model." is the layout's of 2018
        prefix = next((each for each in _WRAPPERS if all(name.startswith(each) for name in names)), None)
        if prefix is None:
            break
        names = _below(names, prefix)
    return names


def _counts(updates: object) -> bool:
    """Whether an average has seen an update: before, it may not even hold what training began with."""
    single = isinstance(updates, Tensor) and updates.numel() == 1 and updates.device.type == "cpu"
    return single and bool(updates)


def _below(state: Mapping[Any, Any], prefix: str) -> dict[str, Any]:
    return {
        str(key).removeprefix(prefix): value for key, value in state.items() if str(key).startswith(prefix)
    }


_NEEDED = (
    "conv_first.weight",
    "body.0.rdb1.conv1.weight",
    "conv_body.weight",
    "conv_hr.weight",
    "conv_last.weight",
)


def possible_scales(state: Mapping[str, Tensor]) -> tuple[int, ...]:
    """The scales that an RRDB network of these shapes can have: one, or 2 and 3; none for other tensors.

    Input channels 4 or 16 times those of the output tell of a pixel-unshuffle (x2, x1); else the number of
    conv_up tells the scale: none x1, one x2 or x3, two x4, three x8. ``state`` has BasicSR's keys.
    """
    if any(key not in state or state[key].ndim != 4 for key in _NEEDED):
        return ()
    return {0: (1,), 1: (2, 3), 2: (4 // _fold(state),), 3: (8,)}.get(count_steps(state), ())


def _fold(state: Mapping[str, Tensor]) -> int:
    out_channels = len(state["conv_last.weight"])
    folds = {4 * out_channels: 2, 16 * out_channels: 4}
    return folds.get(state["conv_first.weight"].shape[1], 1) if count_steps(state) == 2 else 1


def likely_scale(state: Mapping[str, Tensor], wanted: int | None) -> int | None:
    """The scale of an RRDB network: the one wanted where the shapes allow it, else what they tell first."""
    scales = possible_scales(state)
    return wanted if wanted in scales else next(iter(scales), None)


def infer_spec(
    state: Mapping[str, Tensor], *, scale: int | None = None, source: object = "weights"
) -> dict[str, Any]:
    """Reads from the shapes which RRDB network a state dict belongs to.

    β is not in a file: it is 0.2, as everywhere.

    Args:
        state: BasicSR's keys.
        scale: What the scale is, where it cannot be told (x2 or x3) or is to be checked.
        source: The file, for the message.

    Raises:
        InputError: Not an RRDB network, a scale that is missing, or one that contradicts the shapes.
    """
    if any(key not in state or state[key].ndim != 4 for key in _NEEDED):
        raise InputError(f"{source}: found {len(state)} tensors: {first_few(list(state))}; {EXPECTED}")
    num_features, in_channels = state["conv_first.weight"].shape[:2]
    scales, fold = possible_scales(state), _fold(state)
    if scale is None and len(scales) > 1:
        raise InputError(
            f"{source}: one conv_up can be scale 2 or scale 3, the file does not say: give scale= "
            "(--scale; of esrgan upscale --model-scale)"
        )
    if scale not in (None, *scales) or not scales:
        raise InputError(
            f"{source}: scale={scale} does not go with its {count_steps(state)} conv_up: "
            f"possible is {scales or 'none'}"
        )
    return {
        "architecture": "RRDBNet",
        "arguments": {
            "in_channels": in_channels // fold**2,
            "out_channels": len(state["conv_last.weight"]),
            "num_features": num_features,
            "num_blocks": count_blocks(state),
            "growth_channels": len(state["body.0.rdb1.conv1.weight"]),
            "scale": scales[0] if scale is None else scale,
            "residual_scaling": 0.2,
            "unshuffle": fold > 1,
        },
    }
