"""ONNX networks as generators, by onnxruntime: files, and generators exported in memory."""

import copy
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any, Self, final

import torch
from torch import Tensor, nn

from esrgan_lightning.errors import InputError, first_line, needs_extra
from esrgan_lightning.inference.traceable import EXAMPLE, Traceable
from esrgan_lightning.networks import conditions_of
from esrgan_lightning.ops.formats import EXPORTS

logger = logging.getLogger(__name__)

_LARGEST = 2**31 - 1  # bytes: what protobuf holds
_FLOATS = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16}
_PROBE = 16  # LR pixels: a multiple of all folds, and of the windows of common transformers


def onnx_packages() -> tuple[Any, Any]:
    """The packages onnx and onnxruntime.

    Raises:
        InputError: The extra ``onnx`` is not installed.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 (torch's exporter needs it)
    except ImportError as error:
        raise needs_extra("ONNX needs", "onnx") from error
    return onnx, onnxruntime


@final
class OnnxGenerator(nn.Module):
    """An ONNX network as a generator; see :func:`load_exported` and :func:`in_onnxruntime`.

    Attributes:
        scale: s, from the size of what it makes of a small picture.
        in_channels: Of the image, 3 or 1.
        out_channels: The same.
        fold: Sides of tiles begin at multiples of this.

    Shape:
        (B,C,h,w) in [0,1], any floating type and device → (B,C,s·h,s·w), float32, on the same device.
    """

    def __init__(self, content: bytes, name: str, *, fold: int) -> None:
        super().__init__()
        self._content, self._name = content, name
        self._sessions: dict[tuple[torch.device, int], Any] = {}
        self._lock = Lock()
        session = self._session(torch.device("cpu"))
        self._input, self._dtype, self._one, self.in_channels = _only_input(session, name)
        self.fold = fold
        probe = self(torch.zeros(1, self.in_channels, _PROBE, _PROBE))
        self.out_channels, self.scale = _sizes(probe, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Itself: nothing in it changes, and a network of onnxruntime cannot be copied."""
        return self

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,h,w) → (B,C,s·h,s·w).

        Raises:
            InputError: onnxruntime does not run the network on this size.
            torch.OutOfMemoryError: It has not enough memory for it.
        """
        session = self._session(x.device)
        pieces = torch.split(x, 1) if self._one else (x,)
        return torch.cat([self._run(session, piece) for piece in pieces])

    def _run(self, session: Any, x: Tensor) -> Tensor:
        array = x.detach().to("cpu", self._dtype).contiguous().numpy()
        try:
            (sr,) = session.run(None, {self._input: array})
        except Exception as error:  # onnxruntime's own kinds have no common base but this
            line = first_line(error)
            if "alloc" in line.lower():
                raise torch.OutOfMemoryError(line) from error
            size = f"{x.shape[-2]}×{x.shape[-1]} pixels (H×W)"
            raise InputError(f"{self._name}: onnxruntime does not run it on {size}: {line}") from error
        return torch.from_numpy(sr).to(x.device, torch.float32)

    def _session(self, device: torch.device) -> Any:
        key = device, torch.get_num_threads()  # pictures that go beside one another have few each
        with self._lock:
            if key not in self._sessions:
                self._sessions[key] = _open(self._content, self._name, device)
            return self._sessions[key]


def _open(content: bytes, name: str, device: torch.device) -> Any:
    _, runtime = onnx_packages()
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda" and "CUDAExecutionProvider" in runtime.get_available_providers():
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
    elif device.type != "cpu":
        logger.warning("%s runs on the CPU: this onnxruntime has nothing for %s", name, device)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Beside other work, threads that wait in a loop take the core that the others need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what goes wrong comes as an exception
    try:
        return runtime.InferenceSession(content, options, providers=providers)
    except Exception as error:  # see above
        raise InputError(f"{name}: onnxruntime does not take it: {first_line(error)}") from error


def in_onnxruntime(generator: nn.Module) -> OnnxGenerator:
    """A generator exported in memory, for onnxruntime to run in float32; the generator stays as it is.

    Raises:
        InputError: It takes maps, ONNX cannot hold it or holds something else, or the extra ``onnx`` is not
            installed.
    """
    if isinstance(generator, OnnxGenerator):
        return generator
    name = type(generator).__name__
    if conditions_of(generator):
        raise InputError(f"{name} takes maps beside the image: engine=onnx has one input alone")
    onnx_packages()
    network = Traceable(copy.deepcopy(generator).to("cpu", torch.float32), half=False).eval()
    batch, height, width = EXAMPLE
    x = torch.rand(batch, getattr(generator, "in_channels", 3), height, width)
    free = {key: {0: "batch", 2: f"{key}_height", 3: f"{key}_width"} for key in ("input", "output")}
    try:
        with TemporaryDirectory() as folder, torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is deprecated: its successor takes 6 to 30 seconds
            path = Path(folder) / "net.onnx"
            torch.onnx.export(
                network,
                (x,),
                path,
                dynamo=False,
                opset_version=18,
                input_names=["input"],
                output_names=["output"],
                dynamic_axes=free,
            )
            found = OnnxGenerator(path.read_bytes(), name, fold=int(getattr(generator, "fold", 1)))
            x = x[:1, :, : height - 4, : width - 8]  # another size than it was made with
            expected = network(x)
            fits = torch.allclose(found(x), expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
    except Exception as error:  # the exporter's kinds have no common base
        raise InputError(
            f"{name} has no form in ONNX: leave out engine=onnx ({first_line(error)})"
        ) from error
    if not fits:
        raise InputError(f"{name} computes something else in ONNX: leave out engine=onnx")
    return found


def is_exported(path: Path) -> bool:
    """Whether the name is that of an export, and not of a file of weights."""
    return path.suffix in EXPORTS


def load_exported(path: Path) -> OnnxGenerator:
    """An ONNX network from image to image as a generator, whoever wrote it.

    It has one input (B,C,H,W) of float32 or float16 with C 3 or 1 and free H and W, and one output. Weights
    lie inside the file: references to other files are refused, as are operators that a library of their own
    would have to provide. It has no parameters: the input says on which device, and copies share it.

    Raises:
        InputError: Anything else, among it other exports; or the extra ``onnx`` is not installed.
    """
    # Reading an archive of PyTorch can run code inside it, and ncnn trusts what it reads.
    if path.suffix in EXPORTS and path.suffix != ".onnx":
        raise InputError(f"{path}: of exports .onnx alone runs here: give that, or the weights")
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    onnx, _ = onnx_packages()
    if path.stat().st_size > _LARGEST:
        raise InputError(f"{path}: {path.stat().st_size:,} bytes are more than an ONNX file holds")
    content = path.read_bytes()
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own kinds
        raise InputError(f"{path}: not readable as ONNX: {first_line(error)}") from error
    for tensor in _tensors(model):
        if tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise InputError(
                f"{path}: its weights lie in another file: write it anew as one file "
                "(onnx.save_model with save_as_external_data=False)"
            )
    fold = {each.key: each.value for each in model.metadata_props}.get("fold", "1")
    return OnnxGenerator(content, str(path), fold=int(fold) if fold in ("1", "2", "4") else 1)


def _tensors(message: Any) -> Iterator[Any]:
    """Every tensor inside a message of protobuf, in subgraphs and functions too."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in (value,) if hasattr(value, "ListFields") else value:
                yield from _tensors(each)


def _only_input(session: Any, name: str) -> tuple[str, torch.dtype, bool, int]:
    """The input's name, its type, whether it takes one image at a time, and its channels."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise InputError(
            f"{name}: {len(inputs)} inputs and {len(outputs)} outputs: a generator has one of each"
        )
    shape, kind = inputs[0].shape, inputs[0].type
    if kind not in _FLOATS or len(shape) != 4:
        raise InputError(f"{name}: takes {kind} {shape}: a generator takes floats (B,C,H,W)")
    if any(isinstance(side, int) for side in shape[2:]):
        raise InputError(f"{name}: takes {shape[2]}×{shape[3]} alone: export it with free height and width")
    if shape[1] not in (1, 3):
        raise InputError(f"{name}: takes {shape[1]} channels: images need 3 or 1")
    return inputs[0].name, _FLOATS[kind], shape[0] == 1, shape[1]


def _sizes(sr: Tensor, name: str) -> tuple[int, int]:
    """Channels and scale, from what became of the small picture."""
    height, width = sr.shape[-2:] if sr.ndim == 4 else (0, 1)
    if height != width or height < _PROBE or height % _PROBE:
        raise InputError(f"{name}: makes {tuple(sr.shape)} of {_PROBE}×{_PROBE} pixels: this is no generator")
    return sr.shape[1], height // _PROBE
