"""Exports in place of a generator: ONNX files and ncnn's pairs."""

from pathlib import Path

from torch import nn

from esrgan_lightning.errors import InputError

_ARCHIVES = (".pt2", ".ts", ".torchscript")


def is_exported(path: Path) -> bool:
    """Whether the name is that of an export, and not of a file of weights."""
    return path.suffix in (".onnx", ".param", ".bin", *_ARCHIVES)


def load_exported(path: Path) -> nn.Module:
    """An export as a generator: (B,C,h,w) in [0,1] → (B,C,s·h,s·w), attributes ``scale, in_channels, fold``.

    An .onnx file runs in onnxruntime, also one that another program wrote: the scale is found by enlarging a
    small picture. A .param with its .bin runs in ncnn, on the CPU. Both have no parameters: ``to(device)``
    changes nothing, the device of the input decides, and copies share the network.

    Archives of PyTorch (.pt2, .ts) are refused: reading them can run code that they hold.

    Raises:
        InputError: Not such a file, a network that is none from image to image, a missing extra.
    """
    if path.suffix in _ARCHIVES:
        raise InputError(
            f"{path}: reading an archive of PyTorch can run code inside it: give the weights, or .onnx"
        )
    if path.suffix == ".bin":
        raise InputError(f"{path}: give the .param beside it")
    if path.suffix not in (".onnx", ".param"):
        raise InputError(f"{path}: expected an export ending in .onnx or .param")
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    if path.suffix == ".onnx":
        from esrgan_lightning.inference.onnx_model import read_onnx

        return read_onnx(path)
    from esrgan_lightning.inference.ncnn_model import read_ncnn

    return read_ncnn(path)
