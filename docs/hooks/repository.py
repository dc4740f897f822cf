"""Pages of the site that are files of the repository, and links that work on the site and in the repository.

The sources in docs/ link as a reader of the repository needs it: ``../README.md``, ``../conf/preset``. On the
site README.md is the home page and some other files are pages, too. A link to any other file leads to
``repo_url`` where mkdocs.yml has one, and otherwise leaves its text behind.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
    "src/esrgan_lightning/bundled/MODEL_CARD.md": "model_card.md",
}
SOURCES = {page: source for source, page in PAGES.items()}

# Code comes first: what looks like a link within it is none.
_LINK = re.compile(
    r"^```.*?^```|`[^`\n]*`|(!?)\[((?:`[^`]*`|[^\[\]])*)\]\(([^)\s]+)\)", re.MULTILINE | re.DOTALL
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the repository's files that are pages."""
    root = Path(config.config_file_path).parent
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(root / source).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns a page's links from places in the repository into places on the site."""
    here = page.file.src_uri
    return relink(markdown, SOURCES.get(here, f"docs/{here}"), here, config.repo_url)


def relink(markdown: str, source: str, page: str, repo_url: str | None) -> str:
    """The text of a page with links for the site.

    Args:
        markdown: With links as they are right in the repository.
        source: Its place in the repository, such as ``docs/ideas/rrdb.md``.
        page: Its place on the site, such as ``ideas/rrdb.md``.
        repo_url: Where the repository is to be seen, or None.

    >>> relink("[a](../data.md#packs) [b](../../conf/x.yaml) `[c](d)`", "docs/i/r.md", "i/r.md", None)
    '[a](../data.md#packs) b `[c](d)`'
    >>> relink("[a](../README.md) [b](LICENSE)", "benchmarks/README.md", "benchmarks.md", "https://e.org/r")
    '[a](index.md) [b](https://e.org/r/blob/HEAD/benchmarks/LICENSE)'
    """

    def site(match: re.Match[str]) -> str:
        mark, text, target = match.groups()
        if target is None or re.match(r"[a-z]+:|#", target):
            return match[0]
        path, hash_, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        goal = PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        if goal is not None:
            place = posixpath.relpath(goal, posixpath.dirname(page) or ".")
            return f"{mark}[{text}]({place}{hash_}{anchor})"
        return f"[{text}]({repo_url.rstrip('/')}/blob/HEAD/{path})" if repo_url else text

    return _LINK.sub(site, markdown)
