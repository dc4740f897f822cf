"""The crops: where the models differ, which images are kept, and that a crop is the picture itself."""

import io

import numpy as np
import torch
from PIL import Image

from esrgan_lightning.evaluation import Gallery
from esrgan_lightning.evaluation.gallery import most_different_crop


def decoded(data):
    return torch.from_numpy(np.array(Image.open(io.BytesIO(data)).convert("RGB"))).permute(2, 0, 1)


def scene(height=200, width=240, channels=3):
    generator = torch.Generator().manual_seed(0)
    hr = torch.randint(0, 256, (channels, height, width), generator=generator, dtype=torch.uint8)
    return hr[:, ::4, ::4], hr


def test_the_crop_lies_where_the_models_differ():
    lr, hr = scene()
    other = hr.clone()
    other[:, 100:140, 160:200] = 255 - other[:, 100:140, 160:200]
    view = most_different_crop("a", lr, {"same": hr, "other": other}, hr, side=40)
    assert view.place == (100, 160, 40)
    assert torch.equal(decoded(view.models["other"].crop), other[:, 100:140, 160:200])  # lossless
    assert torch.equal(decoded(view.lr.crop)[:, ::4, ::4], lr[:, 25:35, 40:50])
    assert decoded(view.hr.whole).shape == (3, 200, 240)
    assert view.size == (200, 240)


def test_a_single_model_is_compared_with_the_truth():
    lr, hr = scene()
    sr = hr.clone()
    sr[:, :40, 200:] = 255 - sr[:, :40, 200:]
    assert most_different_crop("a", lr, {"m": sr / 255}, hr, side=40).place == (0, 200, 40)


def test_small_gray_and_large_pictures():
    lr, hr = scene(32, 1200, 1)
    view = most_different_crop("a", lr, {"m": hr}, hr, side=128)
    assert view.place[2] == 32
    assert decoded(view.hr.crop).shape == (3, 32, 32)
    assert max(decoded(view.hr.whole).shape) == 960


def test_of_each_set_the_most_telling_images_are_kept():
    lr, hr = scene(64, 64)
    gallery = Gallery(crop=32, each=2)
    for name, share in (("weak", 1.0), ("strong", 0.0), ("middle", 0.5), ("none", 1.0)):
        other = (hr.float() * share).to(torch.uint8)
        gallery.add("s", most_different_crop(name, lr, {"a": hr, "b": other}, hr, side=gallery.crop))
    assert [view.image for view in gallery.views["s"]] == ["strong", "middle"]
