"""Every format, read by its own runtime and not by ours, equals PyTorch on sizes of every kind."""

import copy
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from export_nets import NAMES, net, pictures
from torch import nn

import esrgan_lightning
from esrgan_lightning import Upscaler, load_generator
from esrgan_lightning.errors import InputError
from esrgan_lightning.export import export_generator
from esrgan_lightning.export import files as files_module
from esrgan_lightning.inference.traceable import Traceable
from esrgan_lightning.ops import read_image

SIZES = ((1, 17, 23), (3, 33, 48), (1, 20, 24), (2, 1, 1), (1, 2, 7))
PLAIN, HALF = 1e-5, 1e-2


def assert_close(found, expected, share):
    """Of one shape, and nowhere apart by more than a share of the largest value."""
    torch.testing.assert_close(found, expected, rtol=0, atol=share * float(expected.abs().max()))


def some(*quick):
    """All networks; those that are not named only in the long run, for exporting takes seconds."""
    return [pytest.param(name, marks=[] if name in quick else [pytest.mark.long]) for name in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_the_form_for_exporters_is_the_generator(name):
    """The filling up by computed indices: wrong for a size, they would be so in all files."""
    generator = net(name)
    network = Traceable(generator, half=False)
    for height in range(1, 10):
        for width in (1, 4, 6, 7):
            x, expected = pictures(generator, 1, height, width)
            torch.testing.assert_close(network(x), expected)


@pytest.mark.parametrize("name", some("x2 folded", "SRResNet"))
def test_onnx_in_onnxruntime(name, tmp_path):
    """A size taken for a constant, a wrong kind of resizing, or a wrong order of channels."""
    generator = net(name)
    done = export_generator(generator, tmp_path / "new/net.onnx", provenance={"run": "a"})
    assert done.difference < done.allowed == 1e-4
    session = onnxruntime.InferenceSession(done.files[0])
    for size in SIZES:
        x, expected = pictures(generator, *size)
        (found,) = session.run(["output"], {"input": x.numpy()})
        assert_close(torch.from_numpy(found), expected, PLAIN)

    model = onnx.load(done.files[0])
    onnx.checker.check_model(model, full_check=True)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 18)]
    told = {each.key: each.value for each in model.metadata_props}
    assert told["scale"] == str(generator.scale)
    assert told["architecture"] == generator.spec["architecture"]
    assert json.loads(told["esrgan_lightning"]) == {"spec": generator.spec, "provenance": {"run": "a"}}
    sizes = [[each.dim_param or each.dim_value for each in end.type.tensor_type.shape.dim] for end in
             (model.graph.input[0], model.graph.output[0])]  # fmt: skip
    assert sizes[0] == ["batch", generator.in_channels, "height", "width"]
    times = "" if generator.scale == 1 else f"{generator.scale}*"
    assert sizes[1] == ["batch", generator.in_channels, f"{times}height", f"{times}width"]


@pytest.mark.parametrize("name", ["SRResNet", pytest.param("x2 folded", marks=pytest.mark.long)])
def test_onnx_in_half_precision(name, tmp_path):
    """Weights and arithmetic in float16, the ends in float32: a program that reads one file reads both."""
    generator = net(name)
    whole = export_generator(generator, tmp_path / "net.onnx", check=False)
    done = export_generator(generator, tmp_path / "half.onnx", half=True, opset=21)
    assert whole.difference is None
    assert 0 < done.difference < done.allowed
    model = onnx.load(done.files[0])
    assert model.opset_import[0].version == 21
    kinds = {each.data_type for each in model.graph.initializer if each.dims and len(each.dims) == 4}
    assert kinds == {onnx.TensorProto.FLOAT16}
    assert done.files[0].stat().st_size < 0.75 * whole.files[0].stat().st_size
    x, expected = pictures(generator, 2, 17, 23)
    (found,) = onnxruntime.InferenceSession(done.files[0]).run(None, {"input": x.numpy()})
    assert found.dtype == np.float32
    assert_close(torch.from_numpy(found), expected, HALF)
    assert next(generator.parameters()).dtype == torch.float32, "the generator itself must stay as it is"


@pytest.mark.parametrize(
    ("name", "half"),
    [
        pytest.param("x4", False, marks=pytest.mark.long),
        ("SRResNet", False),
        ("SRResNet", True),
        ("x2 folded", False),
        pytest.param("x1 folded, gray", False, marks=pytest.mark.long),
        pytest.param("x2 folded", True, marks=pytest.mark.long),
    ],
)
def test_torch_export(name, half, tmp_path):
    generator = net(name)
    done = export_generator(generator, tmp_path / "net.pt2", half=half)
    run = torch.export.load(done.files[0]).module()
    for size in SIZES if getattr(generator, "fold", 1) == 1 else SIZES[:3]:
        x, expected = pictures(generator, *size)
        assert_close(run(x), expected, HALF if half else PLAIN)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_torchscript(name, half, tmp_path):
    generator = net(name)
    done = export_generator(generator, tmp_path / "net.ts", half=half)
    about = {"esrgan_lightning.json": ""}
    run = torch.jit.load(done.files[0], _extra_files=about)
    for size in SIZES:
        x, expected = pictures(generator, *size)
        assert_close(run(x), expected, HALF if half else PLAIN)
    assert json.loads(about["esrgan_lightning.json"])["lineage"]["spec"] == generator.spec


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("name", some("x2 folded", "SRResNet"))
def test_ncnn(name, half, tmp_path):
    """By the names that upscalers ask for; folded networks take multiples of their fold."""
    import ncnn

    generator = net(name)
    done = export_generator(generator, tmp_path / "net.param", half=half)
    param, weights = done.files
    assert {path.name for path in tmp_path.iterdir()} == {"net.param", "net.bin"}
    network = ncnn.Net()
    assert network.load_param(str(param)) == network.load_model(str(weights)) == 0
    fold = getattr(generator, "fold", 1)
    for _, height, width in SIZES:
        x, expected = pictures(generator, 1, -(-height // fold) * fold, -(-width // fold) * fold)
        run = network.create_extractor()
        run.input("data", ncnn.Mat(x[0].numpy()))
        code, found = run.extract("output")
        assert code == 0
        assert_close(torch.from_numpy(np.array(found)), expected[0], HALF if half else PLAIN)
    size, values = weights.stat().st_size, sum(each.numel() for each in generator.parameters())
    assert size < values * (3 if half else 5)


@pytest.mark.slow
def test_an_archive_needs_no_library_of_ours(tmp_path):
    """A process that cannot import this package runs both archives."""
    generator = net("x2 folded")
    for name in ("net.pt2", "net.torchscript"):
        export_generator(generator, tmp_path / name, check=False)
    x, expected = pictures(generator, 1, 17, 23)
    torch.save([x, expected], tmp_path / "pair.pt")
    code = (
        "import sys, warnings; sys.modules['esrgan_lightning'] = None; warnings.simplefilter('ignore')\n"
        "import torch; x, y = torch.load('pair.pt')\n"
        "for run in (torch.export.load('net.pt2').module(), torch.jit.load('net.torchscript')):\n"
        "    torch.testing.assert_close(run(x), y)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=120)


@pytest.mark.parametrize("suffix", [".onnx", ".pt2", ".ts", ".param"])
def test_no_file_tells_where_it_was_written(suffix, tmp_path):
    """Stack traces and lines of source inside exports carry the user's folders."""
    done = export_generator(net("SRResNet"), tmp_path / f"net{suffix}", check=False)
    own = [str(Path(module.__file__).parent).encode() for module in (esrgan_lightning, torch)]
    for file in done.files:
        contents = [file.read_bytes()]
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                contents = [archive.read(name) for name in archive.namelist()]
        assert [folder for content in contents for folder in [*own, str(tmp_path).encode()]
                if folder in content] == []  # fmt: skip


@pytest.mark.parametrize("suffix", [".onnx", ".pt2", ".ts", ".param"])
def test_a_file_that_differs_gets_no_name(suffix, tmp_path, monkeypatch):
    """What the check refuses is not there, nor are its remains."""
    write = files_module._write

    def write_another(generator, *given, **settings):
        other = copy.deepcopy(generator)
        other.last.bias.data += 0.01
        write(other, *given, **settings)

    monkeypatch.setattr(files_module, "_write", write_another)
    with pytest.raises(InputError, match=r"is not written: .* from PyTorch, 0.0001 allowed"):
        export_generator(net("SRResNet"), tmp_path / f"net{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_files_are_replaced_when_asked_only(tmp_path):
    """Half of a pair counts: a new .param beside an old .bin is a broken network."""
    (tmp_path / "net.bin").write_text("mine")
    with pytest.raises(InputError, match=r"net\.bin exists: --overwrite"):
        export_generator(net("x4"), tmp_path / "net.param")
    assert (tmp_path / "net.bin").read_text() == "mine"
    export_generator(net("SRResNet"), tmp_path / "net.param", overwrite=True)
    assert (tmp_path / "net.bin").stat().st_size > 1000


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("net.safetensors", "esrgan convert"),
        ("net.pth", "esrgan convert"),
        ("net.bin", r"an export ends in \.onnx, \.pt2, \.ts, \.torchscript, \.param"),
        ("net", "an export ends in"),
        ("file/net.ts", "cannot be written"),
    ],
)
def test_a_name_that_cannot_be_is_refused(name, message, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=message):
        export_generator(net("x4"), tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("opset", [17, 24])
def test_an_opset_that_is_not_written_is_refused(opset, tmp_path):
    with pytest.raises(InputError, match=f"--opset {opset}: from 18 to 23"):
        export_generator(net("x4"), tmp_path / "net.onnx", opset=opset)


@pytest.mark.parametrize(("suffix", "package"), [("onnx", "onnxscript"), ("param", "pnnx")])
def test_a_missing_extra_is_named(suffix, package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    extra = "onnx" if suffix == "onnx" else "ncnn"
    with pytest.raises(InputError, match=rf'pip install "\.\[{extra}\]"'):
        export_generator(net("x4"), tmp_path / f"net.{suffix}")


def test_what_pnnx_cannot_convert_is_one_line(tmp_path):
    class Odd(nn.Module):
        scale = 1

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x):
            return torch.special.i0(self.conv(x))

    with pytest.raises(InputError, match="pnnx does not convert this network"):
        export_generator(Odd(), tmp_path / "net.param")


@pytest.mark.slow
@pytest.mark.parametrize(
    "half",
    [False, pytest.param(True, marks=pytest.mark.long)],  # a minute in float16, which ends in float32
)
def test_a_real_model_gives_the_picture_that_is_known(half, tmp_path, shared):
    """Six blocks of Real-ESRGAN on a photo, as an independent program has enlarged it."""
    weights = shared("weights/realesrgan_x4plus_anime_6b_fp16.safetensors")
    expected = read_image(shared("oracles/anime6b_set5_img_003_x4.png"))
    done = export_generator(load_generator(weights), tmp_path / "net.onnx", half=half)
    found = Upscaler(done.files[0], device="cpu")(shared("data/Set5/LRbicx4/img_003.png"))
    assert (found.int() - expected.int()).abs().max() <= 1
