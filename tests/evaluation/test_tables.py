"""Results on the terminal, as CSV, Markdown, LaTeX, strict JSON and a page; names that could break them."""

import csv
import io
import json
import math
import re
from html.parser import HTMLParser

import pytest
import torch
from rich.console import Console

from esrgan_lightning.evaluation import (
    Bicubic,
    Gallery,
    TestPair,
    csv_table,
    evaluate,
    html_page,
    latex_table,
    markdown_table,
    print_table,
    write_json,
)
from esrgan_lightning.evaluation.tables import BEST, PLAIN, SECOND, ranks
from esrgan_lightning.metrics.measures import convention
from esrgan_lightning.ops import imresize, write_image

NASTY = r"=a|b_50%&{\x}<u>[red]"
METRICS = ["psnr_y", "lpips"]


def row(psnr, lpips):
    return {"psnr_y": psnr, "lpips": lpips, "images": {"img,1": {"psnr_y": psnr, "lpips": lpips}}}


RESULTS = {
    name: {"bicubic": row(28.4167, 0.34), NASTY: row(30.1234567, 0.2), "gan": row(29.0, 0.1)}
    for name in ("set5", "my_set")
}


@pytest.mark.parametrize(
    ("values", "metric", "expected"),
    [
        ([28.4, 30.1, 29.0], "psnr_y", [PLAIN, BEST, SECOND]),
        ([0.34, 0.2, 0.1], "lpips", [PLAIN, SECOND, BEST]),  # lower is better
        ([28.001, 28.004, 27.0], "psnr_y", [BEST, BEST, SECOND]),  # equal as printed
        ([28.0, 28.0], "psnr_y", [PLAIN, PLAIN]),
        ([28.0], "psnr_y", [PLAIN]),
        ([math.inf, 28.0, 27.0], "psnr_y", [BEST, SECOND, PLAIN]),
        ([math.nan, 5.0, 6.0], "niqe", [PLAIN, BEST, SECOND]),
    ],
)
def test_the_best_and_the_second_stand_out(values, metric, expected):
    assert ranks(values, metric) == expected


def test_csv_holds_every_figure_in_full():
    *lines, last = csv_table(RESULTS, METRICS).splitlines()
    assert last == f"# {convention(METRICS)}"
    rows = list(csv.DictReader(io.StringIO("\n".join(lines))))
    assert [(r["set"], r["image"]) for r in rows[:2]] == [("set5", "img,1"), ("set5", "mean")]
    assert rows[2]["model"] == f"'{NASTY}"  # no formula for a spreadsheet
    assert float(rows[2]["psnr_y"]) == 30.1234567
    assert len(rows) == 2 * 3 * 2


def test_markdown_keeps_names_in_their_cells():
    text = markdown_table(RESULTS, METRICS, scale=4)
    assert "## my_set ×4, 1 image" in text
    for line in [line for line in text.splitlines() if line.startswith("|")]:
        assert len(re.findall(r"(?<!\\)\|", line)) in (4, 5), line  # 3 columns of means, 4 of images
    assert "| gan | <u>29.00</u> | **0.1000** |" in text
    assert r"=a\|b_50%&{\\x}\<u\>\[red\]" in text
    assert "| img,1 | 28.42 | 30.12 | 29.00 |" in text
    assert "L = 255" in text.splitlines()[-1]


def test_latex_is_a_table_of_papers():
    text = latex_table(RESULTS, METRICS, scale=4)
    for part in (
        r"\begin{tabular}{lrrrr}",
        r"\multicolumn{2}{c}{my\_set $\times$4}",
        r"\cmidrule(lr){2-3} \cmidrule(lr){4-5}",
        r"Model & PSNR-Y $\uparrow$ & LPIPS $\downarrow$ & PSNR-Y",
        r"gan & \underline{29.00} & \textbf{0.1000} & \underline{29.00} & \textbf{0.1000} \\",
        r"=a|b\_50\%\&\{\textbackslash{}x\}<u>[red] & \textbf{30.12}",
        "L = 255",
    ):
        assert part in text
    body = re.sub(r"\\[{}]", "", text[text.index(r"\begin{table}") :])
    assert body.count("{") == body.count("}")
    rows = [line for line in body.splitlines() if line.endswith(r"\\") and not line.startswith("& ")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in rows} == {4}


def test_the_terminal_shows_whole_names_and_what_the_figures_mean():
    """Cut short with an ellipsis two runs look alike; as markup a bracket vanishes."""
    text = io.StringIO()
    print_table(RESULTS, ["psnr_y"], scale=4, console=Console(file=text, width=24))
    cells = [line.split("│")[1].strip() for line in text.getvalue().splitlines() if line.startswith("│")]
    assert NASTY in "".join(cells)
    told = " ".join(text.getvalue().split())
    for part in ("set5 x4, 1 image", "28.42", convention(["psnr_y"])):
        assert part in told
    assert "…" not in told


def test_json_is_strict_and_keeps_every_digit(tmp_path):
    """NaN and Infinity are no JSON: other readers stop at them."""
    path = tmp_path / "new/folder/é.json"
    write_json(path, {"m": {"psnr_y": math.inf, "niqe": math.nan, "n": 3, "x": 0.1 + 0.2, "é": [1.5]}})
    read = json.loads(path.read_text("utf-8"), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert read == {"m": {"psnr_y": None, "niqe": None, "n": 3, "x": 0.1 + 0.2, "é": [1.5]}}


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
