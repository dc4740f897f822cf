"""The page: self-contained, with every figure, and deaf to what names try to be."""

from html.parser import HTMLParser

import pytest
import torch

from esrgan_lightning.evaluation import Bicubic, Gallery, TestPair, evaluate, html_page
from esrgan_lightning.ops import imresize, write_image

EVIL = "<script>alert(1)</script>\"' onerror=alert(2) &amp; $title"


class Reader(HTMLParser):
    """Collects tags with their attributes, and the text outside of scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def page(tmp_path):
    generator = torch.Generator().manual_seed(0)
    pairs = []
    for name in (EVIL, "plain"):
        path = tmp_path / f"{len(pairs)}.png"
        write_image(path, torch.randint(0, 256, (3, 48, 64), generator=generator, dtype=torch.uint8))
        pairs.append(TestPair(path, None, name))
    gallery = Gallery(crop=16)
    models = {"bicubic": Bicubic(2), EVIL: lambda lr: imresize(lr, 2) // 2}
    results = evaluate(models, {EVIL: pairs}, scale=2, gallery=gallery)
    return results, Reader(html_page(results, gallery, ["psnr_y", "ssim_y"], scale=2))


def test_names_are_text_and_nothing_else(page):
    """A model or image called like markup must not become any: pages are passed on."""
    _, reader = page
    tags = [tag for tag, _ in reader.tags]
    assert tags.count("script") == 1
    assert not any("onerror" in attributes for _, attributes in reader.tags)
    assert EVIL in "".join(reader.text)
    assert EVIL in [attributes.get("data-name") for tag, attributes in reader.tags if tag == "figure"]


def test_it_asks_for_nothing_from_anywhere(page):
    _, reader = page
    sources = [a["src"] for _, a in reader.tags if "src" in a] + [
        a["data-whole"] for _, a in reader.tags if "data-whole" in a
    ]
    assert len(sources) == 2 * (4 + 4 + 1)  # LR, two models, HR: crop and whole; and where the crop lies
    assert all(source.startswith("data:image/webp;base64,") for source in sources)
    assert not any(tag in ("link", "iframe", "object", "base") for tag, _ in reader.tags)
    policy = next(a["content"] for tag, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:")


def test_figures_and_convention_are_there(page):
    results, reader = page
    text = " ".join("".join(reader.text).split())
    for row in results[EVIL].values():
        for values in (row, *row["images"].values()):
            assert f"{values['psnr_y']:.2f}" in text
            assert f"{values['ssim_y']:.4f}" in text
    assert "L = 255" in text
    marks = [a["class"] for tag, a in reader.tags if tag == "td" and "class" in a]
    assert marks.count("best") == marks.count("second") == 2 * 3  # two metrics; means and two images
    assert all(a.get("alt") is not None for tag, a in reader.tags if tag == "img")
