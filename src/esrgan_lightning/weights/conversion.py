"""Generators for other tools: the same tensors under the names and in the wrapping that each one reads."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.files import whole_file, writing
from esrgan_lightning.weights.checkpoint import empty_network, resolve_spec, write_generator_file
from esrgan_lightning.weights.files import LINEAGE_KEY, read_contents
from esrgan_lightning.weights.layouts import to_2018
from esrgan_lightning.weights.names import model_path

#: What is written, by name → the endings of its files.
TARGETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"safetensors": (".safetensors",)}
    | dict.fromkeys(("basicsr", "esrgan2018", "mmagic", "chainner"), (".pth", ".pt"))
)

# What readers take for granted: β, and of chaiNNer's loader the growth channels.
_BETA, _GROWTH = 0.2, 32


def convert_file(
    path: str | Path,
    out: str | Path,
    to: str,
    *,
    scale: int | None = None,
    overwrite: bool = False,
    half: bool = False,
) -> list[str]:
    """Writes a generator's file in another layout, for the programs that read it.

    What the readers take for granted is brought about exactly, but for rounding: a residual scaling β other
    than 0.2 goes into the weights, and for ``chainner`` zeros fill the growth channels up to 32.

    Args:
        path: Any file that ``read_generator_file`` knows.
        out: The file to write, whole or not at all; missing folders are made.
        to: ``safetensors``, this library's, with spec and provenance; ``basicsr``, ``{"params": …}``, and
            ``mmagic``, ``{"state_dict": {"generator.…"}}``, with both under a key that the tools pass over;
            ``esrgan2018``, the bare Sequential of the authors' first release; ``chainner``, the same for what
            loads by spandrel.
        scale: For foreign files whose scale cannot be told.
        overwrite: Replace ``out`` where it exists.
        half: Round to float16: half the size, pictures that differ by a level here and there.

    Returns:
        What whoever uses the file has to know, in sentences; mostly nothing.

    Raises:
        InputError: No generator, one that the layout cannot hold, or an ``out`` that does not go with the
            layout, exists or cannot be written.
    """
    path, out = model_path(path), Path(out)
    if to not in TARGETS:
        raise InputError(f"--to {to}: known are {', '.join(TARGETS)}")
    if out.suffix not in TARGETS[to]:
        raise InputError(f"-o {out}: a file of {to} ends in {' or '.join(TARGETS[to])}")
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists: choose another name, or replace it by --overwrite")
    contents = read_contents(path)
    spec = resolve_spec(contents.state, contents.spec, scale=scale, source=path)
    empty_network(contents.state, spec, path)  # what lacks a tensor would become another that lacks it
    state, notes = contents.state, [] if to == "safetensors" else _check_holds(to, spec, path)
    if to != "safetensors":
        state, spec = _fitted(state, spec, growth=_GROWTH if to == "chainner" else 0)
    if half:
        state = {name: each.half() if each.is_floating_point() else each for name, each in state.items()}
        if not all(each.isfinite().all() for each in state.values()):
            raise InputError(f"{path} has weights beyond float16's largest, 65,504: leave out --half")
    provenance = contents.provenance  # of a checkpoint the updates stand elsewhere
    if contents.spec is not None and contents.updates is not None:
        provenance = {**provenance, "updates": contents.updates}
    if to == "safetensors":
        write_generator_file(out, state, spec, provenance)
        return notes
    lineage = {LINEAGE_KEY: {"spec": spec, "provenance": provenance}}  # last: some readers take the first
    content: dict[str, Any]
    if to == "basicsr":
        content = {"params": state} | lineage
    elif to == "mmagic":
        named = {f"generator.{name}": each for name, each in state.items()}
        content = {"meta": {}, "state_dict": named} | lineage
    else:
        content = to_2018(state)
    with writing(out), whole_file(out) as partial:
        torch.save(content, partial)
    return notes


def _check_holds(to: str, spec: Mapping[str, Any], path: Path) -> list[str]:
    """Refuses a network that the layout's readers would build otherwise; notes what they do not see."""
    arguments = spec["arguments"]
    if spec["architecture"] != "RRDBNet":
        raise InputError(
            f"{path} holds {spec['architecture']}, and {to} knows RRDB networks: --to safetensors"
        )
    notes = []
    beta, growth = arguments.get("residual_scaling", _BETA), arguments.get("growth_channels", _GROWTH)
    if beta != _BETA:
        notes.append(f"β = {beta:g} went into the weights, as readers of {to} take {_BETA:g}")
    if to == "chainner" and growth > _GROWTH:
        raise InputError(
            f"{path} grows by {growth} channels, and chaiNNer's loader knows {_GROWTH}: --to basicsr"
        )
    if to == "chainner" and arguments["scale"] == 3:
        raise InputError(f"{path} is x3, which chaiNNer's loader takes for x2: --to basicsr or safetensors")
    if to != "chainner" and growth != _GROWTH:
        notes.append(
            f"its readers have to be told {growth} growth channels; chaiNNer's loader cannot: --to chainner"
        )
    scale, folds = arguments["scale"], bool(arguments.get("unshuffle"))
    if to == "esrgan2018":
        if folds:
            raise InputError(
                f"{path} folds its input first (pixel-unshuffle, x{scale}), which the network of 2018 does "
                "not: --to basicsr or safetensors"
            )
        if scale in (2, 3):
            notes.append(f"x3 and x2 look alike in this layout: tell its reader scale {scale}")
    elif to != "chainner" and scale != 4 and not folds:
        notes.append(
            f"{to}'s own network has two enlargements (x4, or x2 and x1 behind a pixel-unshuffle) and does "
            f"not load this one (x{scale}); others that count the conv_up do"
        )
    return notes


def _fitted(
    state: Mapping[str, Tensor], spec: Mapping[str, Any], growth: int
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The same function as weights of an RRDB network of β = 0.2 and at least ``growth`` growth channels."""
    arguments = dict(spec["arguments"])
    beta, own = arguments.get("residual_scaling", _BETA), arguments.get("growth_channels", _GROWTH)
    state, ratio = dict(state), beta / _BETA
    blocks = {name.removesuffix(".conv1.weight") for name in state if name.endswith(".conv1.weight")}
    for block in blocks if beta != _BETA else ():
        # x + βF = x + 0.2·(β/0.2)F. The third is scaled with its input x by the RRDB's β as well, and conv5
        # sees that input: βx + β²F = 0.2·(x + 0.2·(a·F + b·x)) with a = (β/0.2)² and b = (β/0.2 − 1)/0.2.
        last, name = block.endswith("rdb3"), f"{block}.conv5"
        weight = state[f"{name}.weight"].double() * (ratio**2 if last else ratio)
        if last:
            features = torch.arange(len(weight))
            weight[features, features, 1, 1] += (ratio - 1) / _BETA
        state[f"{name}.weight"] = weight.to(state[f"{name}.weight"].dtype)
        bias = state[f"{name}.bias"]
        state[f"{name}.bias"] = (bias.double() * (ratio**2 if last else ratio)).to(bias.dtype)
    if own < growth:  # channels of zeros, whose activation is zero
        first = len(state["conv_first.weight"])
        for block in blocks:
            for k in range(1, 6):
                weight, bias = state[f"{block}.conv{k}.weight"], state[f"{block}.conv{k}.bias"]
                outputs = growth if k < 5 else first
                wide = weight.new_zeros(outputs, first + (k - 1) * growth, 3, 3)
                wide[: len(weight), :first] = weight[:, :first]
                for j in range(k - 1):
                    grown = weight[:, first + j * own : first + (j + 1) * own]
                    wide[: len(weight), first + j * growth : first + j * growth + own] = grown
                state[f"{block}.conv{k}.weight"] = wide
                state[f"{block}.conv{k}.bias"] = torch.cat([bias, bias.new_zeros(outputs - len(bias))])
    arguments |= {"residual_scaling": _BETA, "growth_channels": max(own, growth)}
    return state, {**spec, "arguments": arguments}
