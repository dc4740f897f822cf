"""The documentation site: it builds, every page is on it, and links work there and in the repository."""

import re
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path

import config_reference
import pytest
import yaml
from config_sources import leaves
from omegaconf import OmegaConf

from esrgan_lightning.config import compose

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
OTHERS = ("benchmarks/README.md", "src/esrgan_lightning/bundled/MODEL_CARD.md")
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / name for name in OTHERS)])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site, built strictly: a dead link, or a page that no menu leads to, ends it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def prose(page: Path) -> str:
    """A page without its code."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"(?<!\[)`[^`\n]*`(?!\])", "", text)


@cache
def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as a forge of repositories makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    lines = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines}


def test_every_page_is_in_the_menu():
    def leaves(node):
        parts = node.values() if isinstance(node, dict) else node
        return {node} if isinstance(node, str) else set().union(*map(leaves, parts))

    menu = leaves(yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"])
    assert {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} <= menu


@pytest.mark.parametrize("page", [page.relative_to(ROOT).as_posix() for page in PAGES])
def test_links_lead_somewhere_in_the_repository(page):
    """Breaks if a file or a heading is renamed and a page still links to the old one."""
    dead = []
    for target in re.findall(r"\]\((?![a-z]+:)([^)\s]+)\)", prose(ROOT / page)):
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(target)
    assert dead == []


@pytest.mark.slow
def test_the_site_has_every_page_and_asks_for_nothing_from_the_network(site):
    """Breaks if a theme's option brings a font or a script from elsewhere, or a page is left out."""
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(PAGES)
    asked = re.compile(r'<(?:script|link|img|iframe)\b[^>]*(?:src|href)="?(?:https?:)?//[^">]+')
    assert {found for page in pages for found in asked.findall(page.read_text("utf-8"))} == set()
    assert not list(site.rglob("*.py"))
    assert "trainer.keep_last" in (site / "reference/config/index.html").read_text("utf-8")


@pytest.mark.slow
def test_links_out_of_the_docs_stay_on_the_site_or_become_text(site):
    """Breaks if the home page, or a page that links to another file of the repository, links to nowhere."""
    home = (site / "index.html").read_text("utf-8")
    assert 'href="tiling/"' in home
    assert 'src="images/comparison.png"' in home
    assert 'href="contributing/"' in home
    assert "notebooks/05_your_own_parts.ipynb" not in home
    losses = (site / "losses/index.html").read_text("utf-8")
    assert "srcnn.py says how our SRCNN differs" in losses
    assert 'href="../benchmarks/"' in (site / "tiling/index.html").read_text("utf-8")


def test_every_key_of_the_configuration_is_explained():
    """Breaks if a key is added to conf/ that neither a comment nor a docstring explains."""
    before, _, choices = config_reference.tables().partition("## Presets")
    row = re.compile(r"^\| `([\w.]+)` \| (.+?) \| (.*) \|$", re.MULTILINE)
    rows = row.findall(before) + row.findall(
        choices.partition("## Choices")[2].partition("### preset= of")[0]
    )
    assert [key for key, _, meaning in rows if len(meaning) < 3] == []
    sections = re.split(r"^## ", before, flags=re.MULTILINE)[1:]
    asked = ([("stage=psnr",), ("stage=gan",)], [("stage=material",)], [()])
    for section, commands in zip(sections, asked, strict=True):
        told = {key for key, _, _ in row.findall(section)}
        for overrides in commands:
            cfg = compose(*overrides, config=None if overrides else "evaluate")
            keys = {key for key, _ in leaves(OmegaConf.to_container(cfg))}
            assert keys - told == set(), f"{overrides}: not on the page"


def test_a_default_is_what_is_composed():
    """Breaks if the page shows a file's value where a preset or another file has the last word."""
    section = config_reference.tables().partition("## stage=material")[0]
    for key in ("trainer.max_updates", "optimizer.lr", "stage.order"):
        line = next(line for line in section.splitlines() if line.startswith(f"| `{key}` |"))
        values = {stage: compose(f"stage={stage}", "init=null") for stage in ("psnr", "gan")}
        shown = [config_reference.shown(OmegaConf.select(cfg, key)) for cfg in values.values()]
        assert all(value in line for value in shown if value != config_reference.shown(None)), line


@pytest.mark.slow
def test_the_site_describes_all_that_the_packages_export(site):
    """Breaks if a public name has no docstring, or a package has no page."""
    pages = {page.stem: page.read_text("utf-8") for page in (DOCS / "reference/api").glob("*.md")}
    shown = {
        name: stem for stem, text in pages.items() for name in re.findall(r"^::: (\S+)$", text, re.MULTILINE)
    }
    doors = (ROOT / "src/esrgan_lightning").glob("*/**/__init__.py")
    folders = {path.parent for path in doors if "__all__" in path.read_text("utf-8")}
    packages = {".".join(folder.relative_to(ROOT / "src").parts) for folder in folders}
    assert packages - set(shown) == set()
    missing = set()
    for name in packages & set(shown):
        html = (site / f"reference/api/{shown[name]}/index.html").read_text("utf-8")
        for each in import_module(name).__all__:
            # A function named as its own module has a place of its own on the page.
            if not any(f'id="{name}.{place}"' in html for place in (each, f"{each}.{each}")):
                missing.add(f"{name}.{each}")
    assert missing == set()
