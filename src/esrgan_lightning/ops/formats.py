"""Which format a file of weights has, told by its first bytes, before torch is loaded."""

from pathlib import Path
from types import MappingProxyType
from typing import Literal

from esrgan_lightning.errors import InputError

Format = Literal["safetensors", "pickle"]
ENDINGS = (".safetensors", ".ckpt", ".pth", ".pt", ".pth.tar")
EXPORT = "an export, which holds no weights to be read: give the file that it was made from"
#: By their endings.
EXPORTS = MappingProxyType(
    {
        ".onnx": f"ONNX, {EXPORT}",
        ".param": f"ncnn, {EXPORT}",
        ".bin": f"ncnn's weights or a pickle of another tool, {EXPORT}",
        ".pt2": f"torch.export, {EXPORT}",
        ".ts": f"TorchScript, {EXPORT}",
        ".torchscript": f"TorchScript, {EXPORT}",
    }
)
# How files begin that are taken for weights.
_OTHERS = MappingProxyType(
    {
        b"version https://git-lfs": "a pointer of Git LFS, not the file: run `git lfs pull`, or download it",
        b"<": "a web page, not the file: the address leads to a page about it; download the file itself",
        b"{": "text (JSON), not weights: get the file of weights",
        b"\x1f\x8b": "compressed (gzip): unpack it",
        b"7z\xbc\xaf": "an archive (7z): unpack it",
        b"Rar!": "an archive (RAR): unpack it",
    }
)


def format_of(path: Path) -> Format:
    """The format of a file, whatever its name ends in.

    Raises:
        InputError: There is no such file, or it is none of weights, as far as its beginning shows.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the file of weights inside it")
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if not start:
        raise InputError(f"{path} is empty: get it again")
    ending = path.suffix.lower()
    if start[8:9] == b"{":  # after the length of the header, which is JSON
        return "safetensors"
    if ending not in (".pt2", ".ts") and start.startswith((b"PK\3\4", b"\x80")):
        return "pickle"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    for begin, what in _OTHERS.items():
        if text.startswith(begin):
            raise InputError(f"{path} is {what}")
    if not path.name.lower().endswith(ENDINGS):
        known = f" (this is {EXPORTS[ending]})" if ending in EXPORTS else ""
        raise InputError(f"{path}: expected a file ending in {', '.join(ENDINGS)}{known}")
    return "safetensors" if ending == ".safetensors" else "pickle"  # which says what is wrong with it
