"""Pages for the browser: one file that asks for nothing from anywhere, light or dark as the reader has it."""

from base64 import b64encode
from html import escape
from importlib.resources import files
from string import Template

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<title>$title</title>
<style>
:root { color-scheme: light dark; --back: light-dark(#fbfbfa, #15171a); --front: light-dark(#1d2125, #e7e9ec);
  --faint: light-dark(#667079, #9aa4ae); --line: light-dark(#dfe3e6, #2d3238);
  --card: light-dark(#fff, #1c1f23); --accent: light-dark(#0b62c4, #6cb2ff);
  --bad: light-dark(#b3261e, #ff8a80); }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--front); font: 15px/1.5 system-ui, sans-serif; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
figure { margin: 0; flex: none; }
"""


def html_document(package: str, name: str, *, title: str, **values: object) -> str:
    """A page out of its template, which begins within the head's style sheet.

    Args:
        package: That holds the template.
        name: Of the template's file.
        title: Plain text: it is escaped.
        **values: What stands in place of ``$name``; HTML, in which the caller has escaped what is foreign.
    """
    text = _HEAD + files(package).joinpath(name).read_text("utf-8")
    return Template(text).substitute(title=escape(title), **values)


def data_url(data: bytes, kind: str) -> str:
    """A picture inside the page; ``kind`` is ``png`` or ``webp``."""
    return f"data:image/{kind};base64,{b64encode(data).decode('ascii')}"
