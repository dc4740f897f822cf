"""Exports in place of a generator: our own, other programs', and hostile ones."""

import copy
import sys

import numpy as np
import onnx
import pytest
import torch
from export_nets import net, pictures
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from esrgan_lightning import Upscaler
from esrgan_lightning.errors import InputError
from esrgan_lightning.export import export_generator
from esrgan_lightning.inference.onnx_model import OnnxGenerator, load_exported
from esrgan_lightning.networks import SFTNet


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """A folded network of colour: exporting takes seconds."""
    folder = tmp_path_factory.mktemp("exports")
    export_generator(net("x2 folded"), folder / "net.onnx", check=False)
    return folder


def test_an_export_is_a_generator(exports):
    """The runner copies it, moves it, asks for its sizes, and feeds it odd pictures in channels_last."""
    generator = net("x2 folded")
    module = (
        copy.deepcopy(load_exported(exports / "net.onnx")).to("cpu", memory_format=torch.channels_last).eval()
    )
    assert (module.scale, module.fold, module.in_channels, module.out_channels) == (2, 2, 3, 3)
    for size in ((2, 17, 23), (1, 1, 1), (1, 8, 6)):
        x, expected = pictures(generator, *size)
        found = module(x.contiguous(memory_format=torch.channels_last))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("tile", [None, 7])
def test_upscaler_takes_it_as_a_file(tile, exports):
    """A tile that does not begin at a multiple of the fold would show a shifted pattern."""
    image = torch.randint(0, 256, (4, 19, 13), dtype=torch.uint8)
    expected = Upscaler(net("x2 folded"), device="cpu", tile=tile)(image)
    found = Upscaler(exports / "net.onnx", device="cpu", tile=tile)(image)
    assert (found.int() - expected.int()).abs().max() <= 1


@pytest.mark.parametrize("name", ["x4", "x2 folded", "SRResNet", "x1 folded, gray"])
@pytest.mark.parametrize("settings", [{}, {"tile": 7}, {"tta": True, "pre_pad": 2}])
def test_the_engine_makes_no_difference(name, settings):
    """Gray, 16 bits, alpha and several at once; odd sizes; the given generator is left as it is."""
    generator = net(name)
    torch_, onnx_ = (Upscaler(generator, device="cpu", engine=each, **settings) for each in ("torch", "onnx"))
    random = torch.Generator().manual_seed(0)
    for shape, dtype, peak in (((4, 19, 13), torch.uint8, 255), ((2, 1, 11, 8), torch.uint16, 65535)):
        image = (torch.rand(shape, generator=random) * peak).to(torch.int32).to(dtype)
        difference = (torch_.upscale(image).int() - onnx_.upscale(image).int()).abs().max()
        assert difference <= max(1, peak // 2**12)
    assert isinstance(onnx_.generator, type(generator))


def test_what_does_not_fit_as_a_whole_is_streamed_by_pytorch(monkeypatch):
    """Rows, not tiles with seams; what fits goes through onnxruntime, also what PyTorch would stream."""
    upscaler, calls, run = Upscaler(net("x4"), device="cpu", engine="onnx"), [], OnnxGenerator.forward
    monkeypatch.setattr(OnnxGenerator, "forward", lambda self, x: calls.append(x.shape) or run(self, x))
    monkeypatch.setattr("esrgan_lightning.inference.plan._SMALL", 0)
    image = torch.randint(0, 256, (3, 40, 20), dtype=torch.uint8)
    whole = upscaler.upscale(image)
    assert [tuple(shape) for shape in calls] == [(1, 3, 40, 20)]
    needed = upscaler.runner.plan(40, 20).memory
    monkeypatch.setattr("esrgan_lightning.inference.plan.free_memory", lambda device: needed)
    assert upscaler.runner.plan(40, 20).mode == "exact"
    assert (upscaler.upscale(image).int() - whole.int()).abs().max() <= 1
    assert len(calls) == 1


class Odd(nn.Module):
    """A generator that the exporter takes for another."""

    scale = 1

    def forward(self, x):
        return x * float(x.shape[-1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"engine": "tensorflow"}, "engine=tensorflow must be torch or onnx"),
        ({"tile": "exact"}, "tile=exact streams by PyTorch"),
        ({"precision": "bf16"}, "precision=bf16 is PyTorch's"),
        ({"model": SFTNet(("sky",), num_features=4, num_blocks=1)}, "SFTNet takes maps beside the image"),
        ({"model": Odd()}, "Odd computes something else in ONNX"),
    ],
)
def test_what_the_engine_does_not_do_is_one_line(settings, message):
    with pytest.raises(InputError, match=message):
        Upscaler(**{"model": net("x4"), "device": "cpu", "engine": "onnx"} | settings)


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


def test_a_damaged_file_is_one_line(exports, tmp_path):
    whole, path = (exports / "net.onnx").read_bytes(), tmp_path / "net.onnx"
    for content in (b"", whole[:10], whole[: len(whole) // 2], whole[:-3], b"\0" * 100, b"\xff" * 100):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"net\.onnx"):
            load_exported(path)


@pytest.mark.parametrize("name", ["net.pt2", "net.ts", "net.torchscript", "net.param", "net.bin"])
def test_other_exports_are_not_opened(name, tmp_path):
    """Archives of PyTorch run what they hold, and ncnn trusts what it reads."""
    (tmp_path / name).write_text("")
    with pytest.raises(InputError, match=r"\.onnx alone runs here"):
        Upscaler(tmp_path / name)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no\.onnx: there is no such file"):
        Upscaler(tmp_path / "no.onnx")


def test_a_missing_extra_is_named(exports, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for model in (exports / "net.onnx", net("x4")):
        with pytest.raises(InputError, match=r'pip install "\.\[onnx\]"'):
            Upscaler(model, engine="onnx")
