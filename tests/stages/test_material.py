"""The material stage against plain torch and torchmetrics' definition; its features as a perceptual loss."""

import functools
import json

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file
from torch.utils.data import DataLoader
from torchvision.models import vgg16

from esrgan_lightning.errors import InputError
from esrgan_lightning.losses.imagenet import vgg_perceptual
from esrgan_lightning.networks.classifier import VGGClassifier
from esrgan_lightning.stages import MaterialStage
from esrgan_lightning.weights import load_generator

CLASSES = [f"material {number}" for number in range(7)]
sgd = functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9)


def network():
    torch.manual_seed(1)
    return VGGClassifier(len(CLASSES), "vgg16", "light", dropout=0.0)


def stage(**settings):
    return MaterialStage(**({"network": network(), "classes": CLASSES, "optimizer": sgd} | settings))


def batches(count, size=2):
    random = torch.Generator().manual_seed(2)
    return [
        {
            "image": torch.rand(size, 3, 32, 32, generator=random),
            "label": torch.randint(len(CLASSES), (size,), generator=random),
        }
        for _ in range(count)
    ]


def trainer(**settings):
    quiet = {
        "accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
        "enable_model_summary": False, "num_sanity_val_steps": 0, "max_epochs": 1,
    }  # fmt: skip
    return pl.Trainer(**(quiet | settings))


def loader(data):
    return DataLoader(data, batch_size=None)


def fit(mine, data, **settings):
    done = trainer(max_steps=len(data) // mine.accumulate, limit_val_batches=0, **settings)
    done.fit(mine, loader(data), loader(data))
    return done


@pytest.mark.parametrize(("accumulate", "rate"), [(1, 0.1), (2, 1.0), (1, 0.0)])
def test_updates_equal_the_book(accumulate, rate):
    """Breaks if the loss, the groups' rates or the averaging over batches is not plain torch's."""
    data, book = batches(2), network().double()
    mine = stage(accumulate=accumulate, features_rate=rate)
    fit(mine, data, precision="64-true")
    groups = [
        {"params": book.classifier.parameters(), "lr": 0.05},
        {"params": book.features.parameters(), "lr": 0.05 * rate},
    ]
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    for first in range(0, 2, accumulate):
        part = data[first : first + accumulate]
        image = torch.cat([each["image"].double() for each in part])
        optimizer.zero_grad()
        F.cross_entropy(book(image), torch.cat([each["label"] for each in part])).backward()
        optimizer.step()
    for name, expected in book.named_parameters():
        torch.testing.assert_close(mine.network.get_parameter(name), expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("part", ["val", "test"])
def test_figures_are_those_of_all_images_and_start_anew(part):
    """Breaks if batches of unlike size weigh alike, a figure is of one class alone, or is added up twice."""
    data = [*batches(2, size=5), *batches(1, size=3)]
    mine = stage().eval()
    with torch.no_grad():
        logits = torch.cat([mine(each["image"]) for each in data])
    label = torch.cat([each["label"] for each in data])
    order = logits.argsort(1, descending=True)
    expected = {
        "accuracy": (order[:, 0] == label).double().mean().item(),
        "accuracy_top5": (order[:, :5] == label[:, None]).any(1).double().mean().item(),
        "loss": F.cross_entropy(logits, label).item(),
    }
    measure = trainer()
    for _ in range(2):
        run = measure.validate if part == "val" else measure.test
        (found,) = run(mine, loader(data), verbose=False)
        for name, value in expected.items():
            assert found[f"{part}/{name}"] == pytest.approx(value, rel=1e-5), name
    assert 0 < expected["accuracy"] < expected["accuracy_top5"] < 1


def test_top_5_of_5_classes_would_say_nothing():
    few = VGGClassifier(5, "vgg16", "light")
    metrics = stage(network=few, classes=CLASSES[:5]).validation
    assert {name: each.higher_is_better for name, each in metrics.items()} == {
        "accuracy": True,
        "loss": False,
    }


def test_both_files_serve_the_perceptual_loss_with_exactly_these_weights(tmp_path):
    """Breaks if the loss takes other weights than the trained ones, from either of the files."""
    mine = stage(provenance={"data_hash": "abc"})
    fit(mine, batches(1)).save_checkpoint(tmp_path / "last.ckpt")
    mine.export(tmp_path, {"updates": 1})
    trained = vgg16(weights=None).features.eval()
    trained.load_state_dict(mine.network.features.state_dict())
    assert (
        load_file(tmp_path / "features.safetensors").keys() == trained.state_dict(prefix="features.").keys()
    )
    with safe_open(tmp_path / "features.safetensors", "pt") as file:
        said = json.loads(file.metadata()["esrgan_lightning"])
    assert said == {"classes": CLASSES, "provenance": {"updates": 1}}
    sr, hr = torch.rand(2, 1, 3, 32, 32)
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    with torch.no_grad():
        one, two = (trained[:29]((image - mean) / std) for image in (sr, hr))  # conv5_3, before its ReLU
        untrained = vgg16(weights=None).features
    assert not torch.equal(untrained[28].weight, trained[28].weight)
    for path in ("last.ckpt", "features.safetensors"):
        loss = vgg_perceptual("vgg16", ["conv5_3"], weights=tmp_path / path)
        for name, tensor in loss.backbone.features.state_dict().items():
            assert torch.equal(tensor, trained.state_dict()[name]), name
        torch.testing.assert_close(loss(sr, hr), (one - two).abs().mean(), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", ["last.ckpt", "features.safetensors"])
def test_neither_file_is_taken_for_a_generator(tmp_path, name):
    """Breaks if upscaling with one ends in a traceback."""
    mine = stage()
    fit(mine, batches(1)).save_checkpoint(tmp_path / "last.ckpt")
    mine.export(tmp_path, {})
    with pytest.raises(InputError, match=name):
        load_generator(tmp_path / name)


@pytest.mark.parametrize("rate", [-0.1, 1.5])
def test_a_share_outside_its_range_is_refused(rate):
    with pytest.raises(InputError, match=f"stage.features_rate={rate} must lie between 0 and 1"):
        stage(features_rate=rate)
