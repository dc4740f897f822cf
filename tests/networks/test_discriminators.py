"""Discriminators: counts by arithmetic, sizes, memory formats, and errors for images of another size."""

import pytest
import torch
from by_formula import batch_normed, count, leaky, randomized
from torch import nn
from torch.nn.functional import conv2d

from esrgan_lightning.networks import PatchDiscriminator, UNetDiscriminator, VGGDiscriminator


def vgg_count(nf, patch, batch_norm):
    """The first convolution has a bias; the nine others a bias, or two figures of batch norm per channel."""
    widths = [nf, 2 * nf, 4 * nf, 8 * nf, 8 * nf]
    total = 9 * 3 * nf + nf
    for before, after in zip([None, *widths], widths, strict=False):
        if before:
            total += 9 * before * after + after * (2 if batch_norm else 1)
        total += 16 * after * after + after * (2 if batch_norm else 1)
    return total + widths[-1] * (patch // 32) ** 2 * 100 + 100 + 101


def test_vgg_parameter_counts():
    """With the 2,880 idle biases in front of batch norms it is the 14,502,281 of the authors' first code."""
    net = VGGDiscriminator()
    assert count(net) == 14_499_401 == vgg_count(64, 128, True)
    before_norm = sum(m.num_features for m in net.modules() if isinstance(m, nn.BatchNorm2d))
    assert count(net) + before_norm == 14_502_281
    assert count(VGGDiscriminator(norm="none")) == vgg_count(64, 128, False)


@pytest.mark.parametrize("patch", [32, 96])
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_vgg_takes_any_multiple_of_32(patch, norm):
    """A discriminator that silently needs 128×128 fails here."""
    net = VGGDiscriminator(num_features=4, patch_size=patch, norm=norm)
    logits = net(torch.rand(2, 3, patch, patch))
    assert logits.shape == (2, 1)
    assert count(net) == vgg_count(4, patch, norm == "batch")


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


def test_patch_is_pix2pix():
    """2,768,705 is pix2pix's published count for six input channels (photo and map together)."""
    assert count(PatchDiscriminator(in_channels=6)) == 2_768_705
    assert count(PatchDiscriminator()) == 2_768_705 - 3 * 16 * 64 == 2_765_633


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


def test_unet_parameter_count():
    """4,376,897: three biased outer parts by arithmetic; spectral norm adds buffers, no parameters."""
    nf = 64
    down = 16 * (nf * 2 * nf + 2 * nf * 4 * nf + 4 * nf * 8 * nf)
    up = 9 * (8 * nf * 4 * nf + 4 * nf * 2 * nf + 2 * nf * nf)
    assert count(UNetDiscriminator()) == 4_376_897 == (27 * nf + nf) + down + up + 18 * nf * nf + 9 * nf + 1


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


def enlarged(x, size):
    """(B,C,h,w) → (B,C,*size), bilinear between the centres of pixels (align_corners=False)."""
    for axis, length in ((2, size[0]), (3, size[1])):
        before = x.shape[axis]
        place = ((torch.arange(length).double() + 0.5) * before / length - 0.5).clamp(0, before - 1)
        low = place.floor().long()
        share = (place - low).reshape([-1 if each == axis else 1 for each in range(4)])
        high = (low + 1).clamp(max=before - 1)
        x = (1 - share) * x.index_select(axis, low) + share * x.index_select(axis, high)
    return x


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
        expected = leaky(conv2d(enlarged(expected, way.shape[2:]), up.weight, padding=1), 0.2) + skips * way
    for layer in (0, 2):
        expected = leaky(conv2d(expected, net.head[layer].weight, padding=1), 0.2)
    expected = conv2d(expected, net.head[4].weight, net.head[4].bias, padding=1)
    torch.testing.assert_close(net(x), expected, rtol=1e-9, atol=1e-9)
