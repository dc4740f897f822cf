"""LPIPS and DISTS against other people's programs with the same weights."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import skimage.data
import torch
import torchvision
from safetensors.torch import load_file
from torchmetrics.functional.image import dists as their_dists
from torchmetrics.functional.image import lpips as their_lpips

from esrgan_lightning.errors import InputError
from esrgan_lightning.networks import similarity
from esrgan_lightning.networks.similarity import DISTSNetwork, LPIPSNetwork
from esrgan_lightning.ops import imresize, modcrop, read_image, shave

BUNDLED_ALEX = Path(similarity.__file__).parent / "alexnet_features.safetensors"
MODELS = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}
# The layers whose outputs LPIPS compares.
ENDS = {
    "alex": (1, 4, 7, 9, 11),
    "vgg": (3, 8, 15, 22, 29),
    "squeeze": (1, 4, 7, 9, 10, 11, 12),
}
SHARED = {
    "alex": "weights/alexnet_features_fp16.safetensors",
    "vgg": "weights/vgg16_features_fp16.safetensors",
}
# The PyPI package lpips 0.1.4 with the same features: Set5, MATLAB's bicubic x4 in 8 bits, border 4.
THEIRS = {
    "alex": {"img_002": 0.23628446, "img_003": 0.39943415},
    "vgg": {"img_002": 0.19838926, "img_003": 0.31602803},
}
# The same with scikit-image's photos and the features that come with this package.
THEIRS_OF_PHOTOS = {"chelsea": 0.36901265, "coffee": 0.36812735}


def features(file, arch):
    """Torchvision's own layers with the weights of a file."""
    with torch.device("meta"):
        layers = torchvision.models.get_model(arch, weights=None).features
    state = {name.removeprefix("features."): value.float() for name, value in load_file(file).items()}
    layers.load_state_dict(state, assign=True)
    return layers


def make(name, untrained):
    if name == "dists":
        return DISTSNetwork(weights=untrained("vgg16"))
    return LPIPSNetwork(name, weights=untrained(MODELS[name]))


@pytest.fixture
def pair():
    noise = torch.rand(2, 2, 3, 65, 50, generator=torch.Generator().manual_seed(0))
    return noise[0], 0.7 * noise[0] + 0.3 * noise[1]


def bicubic(hr):
    hr = modcrop(hr, 4)
    sr = imresize(imresize(hr, 0.25), 4)
    return tuple(shave(image, 4)[None] / 255 for image in (sr, hr))


@pytest.mark.parametrize("name", ["alex", "vgg"])
def test_lpips_is_that_of_its_authors_package(shared, name):
    network = LPIPSNetwork(name, weights=shared(SHARED[name]))
    for image, expected in THEIRS[name].items():
        with torch.no_grad():
            found = network(*bicubic(read_image(shared(f"data/Set5/HR/{image}.png"))))
        assert found.item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("photo", THEIRS_OF_PHOTOS)
def test_lpips_with_the_bundled_features_is_that_of_its_authors_package(photo):
    hr = torch.from_numpy(getattr(skimage.data, photo)().copy()).permute(2, 0, 1)
    with torch.no_grad():
        found = LPIPSNetwork("alex")(*bicubic(hr)).item()
    assert found == pytest.approx(THEIRS_OF_PHOTOS[photo], abs=1e-5)


def test_the_bundled_alexnet_is_torchvisions_rounded_and_has_its_card(shared):
    ours, theirs = load_file(BUNDLED_ALEX), load_file(shared(SHARED["alex"]))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    card = BUNDLED_ALEX.with_name("ALEXNET_FEATURES.md").read_text("utf-8")
    assert "Copyright (c) Soumith Chintala 2016" in card
    assert "ImageNet" in card


@pytest.mark.parametrize("name", MODELS)
def test_lpips_by_the_book(untrained, pair, name):
    """Equation 1 in sums over positions: breaks where a file's layer lands in another place, or in none."""
    file = Path(their_lpips.__file__).parent / f"lpips_models/{name}.pth"
    heads = torch.load(file, map_location="cpu", weights_only=True)
    shift, scale = (
        torch.tensor(v).double().view(3, 1, 1) for v in ([-0.030, -0.088, -0.188], [0.458, 0.448, 0.450])
    )
    x, y = ((2 * image.double() - 1 - shift) / scale for image in pair)
    layers, expected = features(untrained(MODELS[name]), MODELS[name]).double(), 0
    for index, layer in enumerate(layers[: ENDS[name][-1] + 1]):
        x, y = layer(x), layer(y)
        if index in ENDS[name]:
            head = heads[f"lin{ENDS[name].index(index)}.model.1.weight"][0]
            apart = (x / x.norm(dim=1, keepdim=True) - y / y.norm(dim=1, keepdim=True)) ** 2
            expected = expected + (head * apart).sum(1).mean((1, 2))
    found = make(name, untrained).double()(*(image.double() for image in pair))
    assert torch.allclose(found, expected, rtol=1e-4, atol=0)


def test_dists_is_that_of_torchmetrics(untrained, pair, monkeypatch):
    layers = features(untrained("vgg16"), "vgg16")
    monkeypatch.setattr(their_dists, "vgg16", lambda weights: SimpleNamespace(features=layers))
    theirs = their_dists.DISTSNetwork(load_weights=False)
    # Their file was saved on a GPU, and they load it as it is.
    shares = torch.load(their_dists._PATH_WEIGHT_DISTS, map_location="cpu", weights_only=True)
    theirs.alpha.data, theirs.beta.data = shares["alpha"], shares["beta"]
    with torch.no_grad():
        expected = theirs(*pair)
        assert torch.allclose(make("dists", untrained)(*pair), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["alex", "squeeze", "dists"])
def test_a_loss_could_be_made_of_it(untrained, pair, name):
    """Finite gradients reach the picture, black areas included, and none reach the network."""
    network = make(name, untrained).train()
    sr, hr = pair[0].clone(), pair[1]
    sr[:, :, :40] = 0
    sr.requires_grad_()
    network(sr, hr).sum().backward()
    assert sr.grad.isfinite().all()
    assert sr.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not network.training
    with torch.no_grad():
        assert network(hr, hr).abs().max() < 1e-6


@pytest.mark.parametrize(("name", "smallest"), [("alex", 31), ("vgg", 16), ("squeeze", 17)])
def test_the_smallest_picture_is_known(untrained, name, smallest):
    network = make(name, untrained)
    assert network(*torch.rand(2, 1, 3, smallest, smallest)).isfinite().all()
    with pytest.raises(InputError, match=f"needs {smallest} or more"):
        network(*torch.rand(2, 1, 3, smallest - 1, 40))


def test_wrong_pictures_and_weights_are_refused(untrained, tmp_path):
    with pytest.raises(InputError, match="backbone=resnet: expected one of alex, vgg, squeeze"):
        LPIPSNetwork("resnet")
    with pytest.raises(InputError, match="not alexnet: unexpected key"):
        LPIPSNetwork("alex", weights=untrained("vgg16"))
    with pytest.raises(InputError, match="no such file"):
        DISTSNetwork(weights=tmp_path / "vgg16.pth")
    network = make("squeeze", untrained)
    for shapes, words in (
        (((1, 1, 40, 40), (1, 1, 40, 40)), "expected RGB"),
        (((1, 3, 40, 40), (1, 3, 40, 44)), "of one shape"),
    ):
        with pytest.raises(InputError, match=words):
            network(*(torch.rand(shape) for shape in shapes))
