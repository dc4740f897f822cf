"""Discriminators: the papers' layers, sizes, memory formats, and errors for images of another size."""

import pytest
import torch
from by_formula import batch_normed, leaky, randomized
from torch import nn
from torch.nn.functional import conv2d, interpolate

from esrgan_lightning.networks import PatchDiscriminator, UNetDiscriminator, VGGDiscriminator


@pytest.mark.parametrize("patch", [32, 96])
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_vgg_takes_any_multiple_of_32(patch, norm):
    """A discriminator that silently needs 128×128 fails here."""
    net = VGGDiscriminator(num_features=4, patch_size=patch, norm=norm)
    logits = net(torch.rand(2, 3, patch, patch))
    assert logits.shape == (2, 1)


def layers_by_formula(weights, prefix, x, strides, norm):
    """Convolution, batch norm after all but the first, LeakyReLU 0.2, from the state dict alone."""
    place = 0
    for number, stride in enumerate(strides):
        normed = norm == "batch" and number > 0
        x = conv2d(
            x, weights[f"{prefix}{place}.weight"], weights.get(f"{prefix}{place}.bias"), stride, padding=1
        )
        if normed:
            x = batch_normed(x, weights, f"{prefix}{place + 1}")
        x = leaky(x, 0.2)
        place += 3 if normed else 2
    return x, place


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_vgg_computes_the_papers_layers(norm):
    """Another slope, in the features or the head, or batch norm behind the activation changes the logits."""
    net, x = randomized(VGGDiscriminator(num_features=2, patch_size=32, norm=norm)), torch.rand(2, 3, 32, 32)
    weights = net.state_dict()
    features, _ = layers_by_formula(weights, "features.", x.double(), [1, 2] * 5, norm)
    head = [weights[f"classifier.{layer}.{kind}"] for layer in (1, 3) for kind in ("weight", "bias")]
    expected = leaky(features.flatten(1) @ head[0].T + head[1], 0.2) @ head[2].T + head[3]
    torch.testing.assert_close(net(x.double()), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_patch_computes_pix2pixs_layers(norm):
    net, x = randomized(PatchDiscriminator(num_features=2, norm=norm)), torch.rand(2, 3, 32, 40)
    weights = net.state_dict()
    features, last = layers_by_formula(weights, "layers.", x.double(), [2, 2, 2, 1], norm)
    expected = conv2d(features, weights[f"layers.{last}.weight"], weights[f"layers.{last}.bias"], padding=1)
    torch.testing.assert_close(net(x.double()), expected, rtol=1e-9, atol=1e-9)


def test_patch_sees_70_pixels():
    """The receptive field of the middle logit, from its gradient."""
    net = PatchDiscriminator(num_features=2, norm="none")
    x = torch.rand(1, 3, 128, 128, requires_grad=True)
    net(x)[0, 0, 7, 7].backward()
    rows = x.grad.abs().sum((0, 1, 3)).nonzero()
    assert (rows.max() - rows.min() + 1).item() == 70


@pytest.mark.parametrize(("size", "layers"), [((24, 24), 3), ((33, 50), 3), ((128, 96), 3), ((12, 13), 2)])
def test_patch_map(size, layers):
    """The documented size of the map, ⌊H/2ⁿ⌋ − 2, down to the smallest image."""
    net = PatchDiscriminator(num_features=2, num_layers=layers)
    assert net(torch.rand(2, 3, *size)).shape == (2, 1, *(length // 2**layers - 2 for length in size))


@pytest.mark.parametrize(
    "net",
    [
        VGGDiscriminator(num_features=4, patch_size=32),
        VGGDiscriminator(num_features=4, patch_size=32, norm="none"),
        PatchDiscriminator(num_features=4),
        UNetDiscriminator(num_features=4),
    ],
    ids=["vgg", "vgg-none", "patch", "unet"],
)
class TestEveryDiscriminator:
    def test_channels_last_gives_the_same(self, net):
        """``.view`` on a channels_last map raises, or would order the features differently."""
        x = torch.rand(2, 3, 32, 32)
        net.eval()
        expected = net(x)
        actual = net.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)

    def test_raw_logits_of_two_forward_passes_train_every_parameter(self, net):
        """RaGAN needs D(real) and D(fake) in one graph; a sigmoid at the end would keep both signs away."""
        net.train().zero_grad()
        real, fake = net(torch.rand(4, 3, 32, 32)), net(-torch.rand(4, 3, 32, 32))
        (real.mean() - fake.square().mean()).backward()
        assert all(p.grad is not None for p in net.parameters())
        last = [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)][-1]
        with torch.no_grad():
            last.bias += 100.0
            assert net(torch.rand(4, 3, 32, 32)).min() > 1
            last.bias -= 100.0

    def test_compiles_without_a_graph_break(self, net):
        x = torch.rand(2, 3, 32, 32)
        torch.testing.assert_close(torch.compile(net.eval(), backend="eager", fullgraph=True)(x), net(x))


def test_unet_weights_have_spectral_norm_one():
    """The largest singular value of each normalised layer, by SVD; first and last are free."""
    torch.manual_seed(0)
    net = UNetDiscriminator(num_features=4)
    for _ in range(30):  # power iterations
        net(torch.rand(1, 3, 16, 16))
    layers = [*net.down, *net.up, net.head[0], net.head[2]]
    norms = [torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() for layer in layers]
    assert norms == pytest.approx([1] * 8, abs=0.05)
    assert not any(hasattr(layer, "parametrizations") for layer in (net.first, net.head[4]))


@pytest.mark.parametrize("skips", [True, False])
def test_unet_computes_the_papers_layers(skips):
    """Another slope, skip, way to enlarge or order of them changes the logits."""
    torch.manual_seed(0)
    net = randomized(UNetDiscriminator(num_features=4, skip_connections=skips))
    x = torch.rand(1, 3, 19, 24, dtype=torch.float64)
    expected, ways = leaky(conv2d(x, net.first.weight, net.first.bias, padding=1), 0.2), []
    for down in net.down:
        ways.append(expected)
        expected = leaky(conv2d(expected, down.weight, None, 2, padding=1), 0.2)
    for up, way in zip(net.up, reversed(ways), strict=True):
        wide = interpolate(expected, way.shape[2:], mode="bilinear", align_corners=False)
        expected = leaky(conv2d(wide, up.weight, padding=1), 0.2) + skips * way
    for layer in (0, 2):
        expected = leaky(conv2d(expected, net.head[layer].weight, padding=1), 0.2)
    expected = conv2d(expected, net.head[4].weight, net.head[4].bias, padding=1)
    torch.testing.assert_close(net(x), expected, rtol=1e-9, atol=1e-9)
