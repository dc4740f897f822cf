"""Docstrings as Markdown: what they have of reStructuredText, for mkdocstrings."""

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr):`~?([^`]+)`")
_DOCTEST = re.compile(r"^( *)>>> .*(?:\n.+)*", re.MULTILINE)
_LITERAL = re.compile(r"::(?=\n\n {4})")


def markdown(text: str) -> str:
    """A docstring for a page: roles become links or code, doctests and literal blocks become code.

    >>> markdown("See :func:`~a.b.c`::")
    'See <autoref identifier="a.b.c" optional><code>c</code></autoref>::'
    >>> print(markdown("It is::" + chr(10) * 2 + "    x"))
    It is:
    <BLANKLINE>
        x
    """

    def link(role: re.Match[str]) -> str:
        name = role[1].rpartition(".")[2]
        return f'<autoref identifier="{role[1]}" optional><code>{name}</code></autoref>'

    text = _ROLE.sub(link, text)
    text = _DOCTEST.sub(lambda m: f"{m[1]}```pycon\n{m[0]}\n{m[1]}```", text)
    return _LITERAL.sub(":", text)


class DocstringsExtension(griffe.Extension):
    """Rewrites each docstring as it is read; what a package's stub names is public."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Called when the stubs of all packages have been merged with their modules."""
        for module in [pkg, *pkg.modules.values()]:
            if "lazy_loader" in module.members:
                own = [each for each in module.members.values() if isinstance(each, griffe.Alias)]
                module.exports = [each.name for each in own if each.target_path.startswith(pkg.name)]

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for each module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)
