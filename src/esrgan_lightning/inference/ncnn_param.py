"""ncnn's pairs of files, checked before ncnn reads them: it trusts what they say, and would crash."""

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from esrgan_lightning.errors import InputError

_MAGIC = "7767517"
_LARGEST = 2**31 - 1  # bytes
_MOST = 4096  # channels, and sides of anything else: products stay far from overflowing
_HALF = 0x01306B47  # a block of float16 begins with this in the .bin, a block of float32 with 0
_ACTIVATIONS = {0: 0, 1: 0, 2: 1, 3: 2}  # none, ReLU, leaky ReLU, clip → how many parameters


class ParamFile(NamedTuple):
    """What a generator's .param says."""

    input: str  # names of blobs
    output: str
    channels: int  # of the image
    made: int  # channels of what comes out
    scale: int
    fold: int  # what the sides of the image must be multiples of
    weights: tuple[tuple[int, int], ...]  # per layer: values of either precision, float32 values after them


class _Blob(NamedTuple):
    channels: int
    factor: Fraction  # its sides in those of the image


class _Layer(NamedTuple):
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    values: dict[int, str]

    def number(self, key: int, default: int = 0) -> int:
        try:
            return int(self.values.get(key, default))
        except ValueError as error:
            raise InputError(f"{self.kind} with {key}={self.values[key]}") from error

    def require(self, holds: bool) -> None:
        if not holds:
            settings = " ".join(f"{key}={value}" for key, value in self.values.items())
            raise InputError(f"a layer that generators do not have: {self.kind} {settings}")


def read_param(path: Path) -> ParamFile:
    """Reads a .param in text, follows sizes through its layers, and compares them with the .bin.

    Raises:
        InputError: Not a network from image to image of the layers that generators are built of, or a .bin
            of another size.
    """
    try:
        found = _network(_layers(path))
        _check_bin(path.with_suffix(".bin"), found.weights)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return found


def _layers(path: Path) -> list[_Layer]:
    if path.stat().st_size > 2**22:
        raise InputError("larger than a network's description is")
    lines = [line.split() for line in path.read_text("utf-8", errors="replace").splitlines() if line.strip()]
    if len(lines) < 4 or lines[0] != [_MAGIC] or lines[1][0] != str(len(lines) - 2):
        raise InputError("no .param of ncnn as text, or cut short")
    layers = []
    for words in lines[2:]:
        try:
            takes, gives = int(words[2]), int(words[3])
            pairs = [word.split("=", 1) for word in words[4 + takes + gives :]]
            values = {int(key): value for key, value in pairs}
        except (ValueError, IndexError) as error:
            raise InputError(f"a line that ncnn does not write: {' '.join(words)[:80]}") from error
        names = tuple(words[4 : 4 + takes + gives])
        layers.append(_Layer(words[0], names[:takes], names[takes:], values))
    blobs = sum(len(layer.outputs) for layer in layers)
    if lines[1][1:] != [str(blobs)]:
        raise InputError(f"names {blobs} blobs and counts {' '.join(lines[1][1:])}")
    return layers


def _network(layers: list[_Layer]) -> ParamFile:
    first = next((layer for layer in layers if layer.kind == "Convolution"), None)
    if first is None or layers[0].kind != "Input" or len(layers[0].outputs) != 1:
        raise InputError("no input at the start, or no convolution")
    fold = layers[1].number(0) if layers[1].kind == "Reorg" else 1
    square = first.number(0) * first.number(1) ** 2 * fold**2
    channels = first.number(6) // square if square > 0 else 0
    if channels not in (1, 3):
        raise InputError(f"takes {channels} channels: images need 3 or 1")
    entrance = layers[0].outputs[0]
    blobs, weights = {entrance: _Blob(channels, Fraction(1))}, []
    for layer in layers[1:]:
        layer.require(bool(layer.inputs and layer.outputs) and all(name in blobs for name in layer.inputs))
        taken = [blobs.pop(name) for name in layer.inputs]  # ncnn has a Split for what is used twice
        made, values = _after(layer, taken)
        layer.require(0 < made.channels <= _MOST and 0 < made.factor <= _MOST and len(taken) <= _MOST)
        layer.require(not blobs.keys() & set(layer.outputs))
        layer.require(len(layer.outputs) == 1 or layer.kind == "Split")
        blobs |= dict.fromkeys(layer.outputs, made)
        weights.append(values)
    if len(blobs) != 1:
        raise InputError(f"{len(blobs)} outputs: a generator has one")
    ((exit_, last),) = blobs.items()
    if last.factor.denominator != 1:
        raise InputError(f"an output of {last.factor} times the size: a generator enlarges by a whole number")
    return ParamFile(entrance, exit_, channels, last.channels, int(last.factor), fold, tuple(weights))


def _after(layer: _Layer, taken: list[_Blob]) -> tuple[_Blob, tuple[int, int]]:
    """What a layer makes of its blobs, and how many weights it has."""
    first, alike, number = taken[0], len(set(taken)) == 1, layer.number
    weights = (0, 0)
    match layer.kind:
        case "Split" | "ReLU":
            layer.require(len(taken) == 1)
            return first, weights
        case "PReLU":
            layer.require(len(taken) == 1 and number(0) in (1, first.channels))
            return first, (0, number(0))
        case "Concat":
            layer.require(number(0) == 0 and len({blob.factor for blob in taken}) == 1)
            return _Blob(sum(blob.channels for blob in taken), first.factor), weights
        case "BinaryOp" | "Eltwise":
            scalar = layer.kind == "BinaryOp" and number(1) == 1
            layer.require(0 <= number(0) <= 2 and alike and len(taken) == (1 if scalar else 2))
            return first, weights
        case "Interp":
            ratio = layer.values.get(1, "0").removesuffix(".0")
            same = ratio == layer.values.get(2, "0").removesuffix(".0")
            layer.require(len(taken) == 1 and same and ratio in tuple("12348") and not number(3) | number(4))
            return _Blob(first.channels, first.factor * int(ratio)), weights
        case "PixelShuffle":
            by = number(0)
            layer.require(len(taken) == 1 and 1 <= by <= 8 and first.channels % by**2 == 0)
            return _Blob(first.channels // by**2, first.factor * by), weights
        case "Reorg":
            by = number(0)
            layer.require(len(taken) == 1 and 1 <= by <= 8 and first.factor == 1)
            return _Blob(first.channels * by**2, first.factor / by), weights
        case "Convolution":
            return _convolution(layer, first)
    layer.require(False)
    raise AssertionError


def _convolution(layer: _Layer, taken: _Blob) -> tuple[_Blob, tuple[int, int]]:
    number = layer.number
    made, side, size = number(0), number(1), number(6)
    known = {0, 1, 2, 3, 4, 5, 6, 9, 11, 12, 13, 14, 15, 16, -23310}
    kept = all(number(key, side // 2) == side // 2 for key in (4, 14, 15, 16))
    single = all(number(key, 1) == 1 for key in (2, 3, 12, 13))
    layer.require(len(layer.inputs) == 1 and set(layer.values) <= known and kept and single)
    layer.require(0 < made <= _MOST and 0 < side <= 15 and side % 2 == 1 and number(11, side) == side)
    layer.require(size == made * taken.channels * side**2 and number(5) in (0, 1))
    count, *parameters = layer.values.get(-23310, "0").split(",")
    wanted = _ACTIVATIONS.get(number(9), -1)
    layer.require(count == str(len(parameters)) and len(parameters) == wanted)
    return _Blob(made, taken.factor), (size, made * number(5))


def _check_bin(path: Path, weights: tuple[tuple[int, int], ...]) -> None:
    if not path.is_file():
        raise InputError(f"the weights are missing: {path.name} belongs beside it")
    length = path.stat().st_size
    if length > _LARGEST:
        raise InputError(f"{path.name} has {length:,} bytes: too many")
    place = 0
    with path.open("rb") as file:
        for values, plain in weights:
            if values:
                file.seek(place)
                kind = int.from_bytes(file.read(4), "little")
                if kind not in (0, _HALF):
                    raise InputError(f"{path.name} holds weights that are neither float32 nor float16")
                place += 4 + (4 * values if kind == 0 else (2 * values + 3) // 4 * 4)
            place += 4 * plain
    if place != length:
        raise InputError(f"{path.name} has {length:,} bytes instead of {place:,}: it belongs to another file")
