"""Exports in place of a generator: our own, other programs', and hostile ones."""

import copy
import sys

import numpy as np
import onnx
import pytest
import torch
from export_nets import net, pictures
from onnx import TensorProto, helper, numpy_helper

from esrgan_lightning import Upscaler
from esrgan_lightning.errors import InputError
from esrgan_lightning.export import export_generator
from esrgan_lightning.inference.exported import load_exported


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """A folded network of colour, as ONNX and for ncnn: exporting takes seconds."""
    folder = tmp_path_factory.mktemp("exports")
    for name in ("net.onnx", "net.param"):
        export_generator(net("x2 folded"), folder / name, check=False)
    return folder


@pytest.mark.parametrize("name", ["net.onnx", "net.param"])
def test_an_export_is_a_generator(name, exports):
    """The runner copies it, moves it, asks for its sizes, and feeds it odd pictures in channels_last."""
    generator = net("x2 folded")
    module = copy.deepcopy(load_exported(exports / name)).to("cpu", memory_format=torch.channels_last).eval()
    assert (module.scale, module.fold, module.in_channels, module.out_channels) == (2, 2, 3, 3)
    for size in ((2, 17, 23), (1, 1, 1), (1, 8, 6)):
        x, expected = pictures(generator, *size)
        found = module(x.contiguous(memory_format=torch.channels_last))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("tile", [None, 7])
@pytest.mark.parametrize("name", ["net.onnx", "net.param"])
def test_upscaler_takes_it_as_a_file(name, tile, exports):
    """A tile that does not begin at a multiple of the fold would show a shifted pattern."""
    image = torch.randint(0, 256, (4, 19, 13), dtype=torch.uint8)
    expected = Upscaler(net("x2 folded"), device="cpu", tile=tile)(image)
    found = Upscaler(exports / name, device="cpu", tile=tile)(image)
    assert (found.int() - expected.int()).abs().max() <= 1


def foreign(nodes, *, shape=(None, 3, None, None), kind=TensorProto.FLOAT, weights=(), functions=()):
    """An ONNX model as another program could have written it."""
    names = [side if side else f"side{n}" for n, side in enumerate(shape)]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("picture", kind, names)],
        [helper.make_tensor_value_info("large", kind, None)],
        list(weights),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


FACTORS = numpy_helper.from_array(np.array([1, 1, 3, 3], np.float32), "factors")


def enlarging(**settings):
    node = helper.make_node("Resize", ["picture", "", "factors"], ["large"], mode="nearest")
    return foreign([node], weights=[FACTORS], **settings)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
@pytest.mark.parametrize("shape", [(None, 3, None, None), (1, 3, None, None), (None, 1, None, None)])
def test_another_programs_network_tells_its_scale_by_running(kind, shape, tmp_path):
    onnx.save(enlarging(shape=shape, kind=kind), tmp_path / "other.onnx")
    upscaler = Upscaler(tmp_path / "other.onnx", device="cpu")
    images = torch.randint(0, 256, (2, 3, 5, 4), dtype=torch.uint8)
    expected = images.repeat_interleave(3, -1).repeat_interleave(3, -2)
    assert (upscaler(images).int() - expected.int()).abs().max() <= (kind == TensorProto.FLOAT16)


def external(name="../../secret.bin"):
    model = enlarging()
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, location=name)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    return model


def external_in_a_node():
    model = foreign([helper.make_node("Constant", [], ["large"], value=FACTORS)])
    inner = model.graph.node[0].attribute[0].t
    inner.data_location = TensorProto.EXTERNAL
    return model


def two_inputs():
    model = enlarging()
    model.graph.input.append(helper.make_tensor_value_info("noise", TensorProto.FLOAT, [1]))
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (external, "its weights lie in another file"),
        (external_in_a_node, "its weights lie in another file"),
        (two_inputs, "2 inputs and 1 outputs"),
        (lambda: enlarging(shape=(1, 3, 64, 64)), "takes 64×64 alone: export it with free height"),
        (lambda: enlarging(shape=(1, 4, None, None)), "takes 4 channels"),
        (lambda: enlarging(kind=TensorProto.INT32), r"takes tensor\(int32\)"),
        (lambda: foreign([helper.make_node("Shape", ["picture"], ["large"])]), "does not take it"),
        (
            lambda: foreign([helper.make_node("ReduceMean", ["picture"], ["large"])]),
            "this is no generator",
        ),
        (
            lambda: foreign([helper.make_node("Odd", ["picture"], ["large"], domain="mine")]),
            "does not take it",
        ),
    ],
)
def test_what_is_no_generator_or_reaches_outside_is_one_line(model, message, tmp_path):
    (tmp_path / "net.onnx").write_bytes(model().SerializeToString())
    with pytest.raises(InputError, match=message) as error:
        load_exported(tmp_path / "net.onnx")
    assert str(tmp_path / "net.onnx") in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["net.onnx", "net.param", "net.bin"])
def test_a_damaged_file_is_one_line(name, exports, tmp_path):
    """Cut short, and with bytes changed: ncnn itself would crash the process."""
    for file in exports.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    whole = (tmp_path / name).read_bytes()
    for content in (b"", whole[:10], whole[: len(whole) // 2], whole[:-3], b"\0" * 100, b"\xff" * 100):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=r"net\."):
            load_exported(tmp_path / ("net.onnx" if name == "net.onnx" else "net.param"))


@pytest.mark.parametrize("name", ["net.pt2", "net.ts", "net.torchscript"])
def test_archives_of_pytorch_are_not_opened(name, tmp_path):
    """Their readers run what they find inside: ``eval`` on texts, and pickles."""
    (tmp_path / name).write_text("")
    with pytest.raises(InputError, match="can run code inside it"):
        Upscaler(tmp_path / name)


@pytest.mark.parametrize(("name", "message"), [("no.onnx", "no such file"), ("net.bin", "give the .param")])
def test_another_name_is_refused(name, message, tmp_path):
    with pytest.raises(InputError, match=message):
        Upscaler(tmp_path / name)


@pytest.mark.parametrize("package", ["onnxruntime", "ncnn"])
def test_a_missing_extra_is_named(package, exports, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=r"pip install 'esrgan-lightning\[(onnx|ncnn)\]'"):
        load_exported(exports / ("net.onnx" if package == "onnxruntime" else "net.param"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("6=864", "6=9999999"),
        ("6=864", "6=-864"),
        ("0=8 1=3", "0=99999 1=3"),
        ("1=2.0 2=2.0", "1=9e9 2=9e9"),
        ("1=2.0 2=2.0", "1=2.0 2=1.0"),
        ("9=2", "9=6"),
        ("-23310=1,0.2", "-23310=1"),
        ("-23310=1,0.2", "-23310=9,0.2"),
        ("4=1 5=1", "4=0 5=1"),
        ("Concat ", "Gather "),
        ("Reorg ", "Reorg2 "),
        ("0=2 1=0", "0=0 1=0"),
        ("0=2 1=0", "0=x 1=0"),
        ("Split  ", "Splat  "),
        ("0 1 data\n", "0 1 date\n"),
        ("1 1 ", "1 99999 "),
        ("7767517", "7767518"),
    ],
)
def test_a_param_that_lies_is_refused_before_ncnn_reads_it(before, after, exports, tmp_path):
    """Each of these makes ncnn read or write where nothing is, or take another network."""
    text = (exports / "net.param").read_text()
    assert before in text
    (tmp_path / "net.param").write_text(text.replace(before, after, 1))
    (tmp_path / "net.bin").write_bytes((exports / "net.bin").read_bytes())
    with pytest.raises(InputError, match=r"net\.param"):
        load_exported(tmp_path / "net.param")
