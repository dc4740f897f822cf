"""The frozen feature extractors against torchvision, against real photos and against wrong files."""

import re
import urllib.error

import pytest
import skimage.data
import torch
import torchvision
from safetensors.torch import load_file
from torch import nn

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks.backbones import EfficientNetLite0Features, VGGFeatures

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


@pytest.fixture(scope="module")
def photo():
    """Real photo, (1,3,64,64), RGB in [0,1]."""
    pixels = skimage.data.chelsea()[80:144, 100:164].copy()
    return torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255


@pytest.fixture
def tiny_file(tmp_path):
    """A right file for the layers up to conv1_2 of VGG16 and VGG19, with a classifier to be ignored."""
    state = {
        "features.0.weight": torch.randn(64, 3, 3, 3).half(),
        "features.0.bias": torch.randn(64).half(),
        "features.2.weight": torch.randn(64, 64, 3, 3).half(),
        "features.2.bias": torch.randn(64).half(),
        "classifier.0.weight": torch.randn(2, 2).half(),
    }
    torch.save(state, tmp_path / "vgg.pth")
    return tmp_path / "vgg.pth"


def test_vgg16_equals_torchvision_read_by_hooks(vgg16_file, photo):
    """Breaks with a cut one layer too far, a lost normalisation, or an in-place ReLU over conv5_3."""
    wanted = {"conv1_2": 2, "relu3_3": 15, "pool4": 23, "conv5_3": 28, "relu5_3": 29}
    reference = torchvision.models.vgg16(weights=None).features.eval()
    state = load_file(vgg16_file)
    reference.load_state_dict({key.removeprefix("features."): value.float() for key, value in state.items()})
    expected: dict[str, torch.Tensor] = {}
    for name, index in wanted.items():
        # the copy is taken before the next layer, which works in place, can touch it
        reference[index].register_forward_hook(
            lambda module, inputs, output, name=name: expected.__setitem__(name, output.clone())
        )
    with torch.no_grad():
        reference((photo - MEAN) / STD)

    found = VGGFeatures("vgg16", list(wanted), weights=vgg16_file)(photo)

    assert list(found) == list(wanted)
    for name in wanted:
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=0)
    assert found["conv5_3"].min() < 0
    assert torch.equal(found["conv5_3"].relu(), found["relu5_3"])


def test_the_papers_layer_is_number_34_of_torchvisions_vgg19():
    """Layer 34 is conv5_4 before ReLU; 35 is after it: the slice that tools get wrong in silence."""
    before = VGGFeatures("vgg19", ["conv5_4"], weights="random")
    after = VGGFeatures("vgg19", ["relu5_4"], weights="random")

    assert len(before.features) == 35
    assert isinstance(before.features[34], nn.Conv2d)
    assert len(after.features) == 36
    assert isinstance(after.features[35], nn.ReLU)
    with torch.device("meta"):
        features = torchvision.models.vgg19(weights=None).features
    assert [(type(layer), tuple(p.shape for p in layer.parameters())) for layer in after.features] == [
        (type(layer), tuple(p.shape for p in layer.parameters())) for layer in features[:36]
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("features.2.bias"), "features.2.bias is missing"),
        (
            lambda state: state.update({"features.1.weight": torch.ones(64)}),
            "unexpected key features.1.weight",
        ),
        (lambda state: state.update({"conv1.weight": torch.ones(64)}), "unexpected key conv1.weight"),
        (lambda state: state.update({"features.2.bias": torch.ones(65)}), r"features.2.bias is \(65,\)"),
        (
            lambda state: state["features.2.bias"].fill_(torch.nan),
            "features.2.bias holds values that are not",
        ),
        (lambda state: state.update({"epoch": 3}), "flat map of key → tensor"),
    ],
)
def test_a_wrong_file_is_one_clear_error(tiny_file, change, message):
    """Breaks where a batch-norm VGG, a truncated file or a whole checkpoint would load in part."""
    state = torch.load(tiny_file, weights_only=True)
    change(state)
    torch.save(state, tiny_file)

    with pytest.raises(InputError, match=message) as caught:
        VGGFeatures("vgg19", ["conv1_2"], weights=tiny_file)
    assert "vgg.pth" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_vgg16_weights_are_refused_for_vgg19_even_where_the_wanted_part_would_fit(vgg16_file):
    with pytest.raises(InputError, match=r"not vgg19: unexpected key features\.17"):
        VGGFeatures("vgg19", ["conv2_1"], weights=vgg16_file)


@pytest.mark.parametrize(
    "name", ["junk.pth", "junk.safetensors", "empty.pth", "pickle.pth", "x.bin", "none.pth"]
)
def test_a_file_that_holds_no_tensors_is_one_clear_error_and_runs_nothing(tmp_path, name, capsys):
    class Hostile:
        def __reduce__(self):
            return (print, ("the file's code ran",))

    (tmp_path / "junk.pth").write_bytes(b"no tensors in here")
    (tmp_path / "junk.safetensors").write_bytes(b"no tensors in here")
    (tmp_path / "empty.pth").touch()
    (tmp_path / "x.bin").touch()
    torch.save({"features.0.weight": Hostile()}, tmp_path / "pickle.pth")

    with pytest.raises(InputError, match=re.escape(name)) as caught:
        VGGFeatures("vgg19", ["conv1_1"], weights=tmp_path / name)
    assert "\n" not in str(caught.value)
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "failure",
    [
        urllib.error.URLError("no route to host"),
        RuntimeError("invalid hash value"),
    ],
)
def test_a_failed_download_names_the_file_and_the_ways_out(monkeypatch, failure):
    """Breaks where the loss would go on with random features, which ruins every picture."""

    def fail(url, **kwargs):
        assert kwargs["weights_only"] is True
        assert kwargs["check_hash"] is True
        raise failure

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)

    with pytest.raises(InputError, match=r"vgg19-dcbb9e9d\.pth.*weights=PATH.*efficientnet_lite0"):
        VGGFeatures("vgg19")


def test_the_download_uses_the_torch_hub_cache(monkeypatch, tmp_path, tiny_file):
    """A file put into the cache is taken without the network, as on a machine that was prepared."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    (cache / "vgg19-dcbb9e9d.pth").write_bytes(tiny_file.read_bytes())
    image = torch.rand(1, 3, 8, 8)

    from_cache = VGGFeatures("vgg19", ["conv1_2"])(image)["conv1_2"]

    assert torch.equal(from_cache, VGGFeatures("vgg19", ["conv1_2"], weights=tiny_file)(image)["conv1_2"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VGGFeatures("vgg11", weights="random"), "arch=vgg11"),
        (lambda: VGGFeatures("vgg16", ["conv5_4"], weights="random"), "conv5_4.*: expected.*conv5_3"),
        (lambda: VGGFeatures("vgg16", [], weights="random"), "expected a list"),
        (lambda: VGGFeatures("vgg16", "conv5_3", weights="random"), "expected a list"),
        (lambda: VGGFeatures("vgg16", ["conv1_1", "conv1_1"], weights="random"), "different names"),
        (lambda: EfficientNetLite0Features([16]), "block16.*: expected.*block15"),
    ],
)
def test_a_wrong_choice_is_refused_with_the_known_names(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_an_image_of_the_wrong_shape_is_refused():
    net = VGGFeatures("vgg16", ["conv3_1"], weights="random")

    for shape in [(1, 1, 8, 8), (3, 8, 8), (1, 3, 8, 3)]:
        with pytest.raises(InputError, match="image of"):
            net(torch.zeros(shape))
    assert net(torch.zeros(1, 3, 4, 4))["conv3_1"].shape == (1, 256, 1, 1)


def test_efficientnet_gives_the_logits_of_another_implementation():
    """Printed by the package efficientnet_lite_pytorch 0.1.0 with the same file: pins ReLU6 and padding."""
    network = EfficientNetLite0Features().network
    image = torch.sin(torch.arange(3 * 64 * 64, dtype=torch.float64) ** 2 / 5000).float().view(1, 3, 64, 64)

    with torch.no_grad():
        logits = network(image)[0]

    torch.testing.assert_close(
        logits[:6],
        torch.tensor([6.430368, 1.220164, -3.922723, -7.049843, -2.279695, -1.590819]),
        rtol=0,
        atol=1e-3,
    )
    assert logits.norm().item() == pytest.approx(156.97046, abs=1e-2)


def test_efficientnet_features_are_linear_bottlenecks_by_name(photo):
    net = EfficientNetLite0Features()

    found = net(photo)

    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "block0": (1, 16, 32, 32),
        "block2": (1, 24, 16, 16),
        "block4": (1, 40, 8, 8),
        "block7": (1, 80, 4, 4),
    }
    assert all(value.min() < 0 < value.max() for value in found.values())
    scaled = (255 * photo - 127) / 128
    assert torch.equal(found["block7"], net.network.features(scaled, [7])[7])


def test_after_activation_is_the_positive_part_of_the_same_layer(photo):
    """Breaks if the ReLU is put before the block, or changes what the next block sees."""
    linear, activated = (EfficientNetLite0Features((2, 4), activated=on)(photo) for on in (False, True))
    for name, features in linear.items():
        assert features.min() < 0
        assert torch.equal(activated[name], features.clamp(min=0))


@pytest.mark.parametrize(
    "make",
    [
        lambda: VGGFeatures("vgg16", ["conv1_1", "conv2_1"], weights="random"),
        lambda: EfficientNetLite0Features([0, 2]),
    ],
)
def test_backbones_are_frozen_whatever_the_parent_does(make):
    """A batch norm in train mode would follow the pictures; a parameter with gradient would train."""
    backbone = make()
    parent = nn.Sequential(backbone).train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    image = torch.rand(2, 3, 16, 16, requires_grad=True)

    sum(value.square().mean() for value in parent(image).values()).backward()

    assert not any(module.training for module in backbone.modules())
    assert not any(p.requires_grad for p in backbone.parameters())
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
    assert image.grad is not None
    assert image.grad.abs().max() > 0


def test_half_precision_pictures_are_taken_in_the_dtype_of_the_network():
    net = EfficientNetLite0Features([0], weights="random")
    assert net(torch.rand(1, 3, 8, 8).bfloat16())["block0"].dtype == torch.float32
    assert net.double()(torch.rand(1, 3, 8, 8))["block0"].dtype == torch.float64
