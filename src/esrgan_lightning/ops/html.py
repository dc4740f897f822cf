"""Pages for the browser: one file that asks for nothing from anywhere, light or dark as the reader has it."""

from base64 import b64encode
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def html_document(template: Path, **values: object) -> str:
    """A page out of its Jinja template, which fills the blocks of ``base.html``; all values are escaped.

    ``picture|data_url("webp")`` in it is a picture, given as bytes.
    """
    folders = [template.parent, Path(__file__).parent]
    page = Environment(loader=FileSystemLoader(folders), autoescape=True, undefined=StrictUndefined)
    page.filters["data_url"] = _data_url
    return page.get_template(template.name).render(values)


def _data_url(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{b64encode(data).decode('ascii')}"
