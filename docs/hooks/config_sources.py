"""What conf/ and the docstrings say about keys: read from the files, without importing the library."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import griffe
import yaml  # type: ignore[import-untyped]
from docstrings import markdown

CONF = Path(__file__).resolve().parents[2] / "conf"


@dataclass
class Source:
    """A file of conf/, with those that its defaults list takes in: what it says of itself and of each key."""

    about: str = ""
    comments: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)


def lines_of(text: str) -> list[str]:
    """The comment's words on each line that is nothing but a comment, "" on the others."""
    return [line.strip()[1:].strip() if line.strip().startswith("#") else "" for line in text.splitlines()]


@cache
def source(name: str, place: str | None = None) -> Source:
    """A file of conf/ by its name without the suffix, with the files that its defaults list takes in."""
    text = (CONF / f"{name}.yaml").read_text("utf-8")
    comments, found = lines_of(text), Source()
    head = next((n for n, words in enumerate(comments) if not words), len(comments))
    found.about = " ".join(words for words in comments[:head] if not words.startswith("@package"))
    group = name.rpartition("/")[0]
    if place is None:
        said = re.search(r"^# @package (\S+)$", text, re.MULTILINE)
        place = said[1] if said else group.replace("/", ".")
    place = place.replace("_global_", "")

    def walk(node: yaml.MappingNode, prefix: str) -> None:
        for key, value in node.value:
            path = f"{prefix}.{key.value}".lstrip(".")
            line = key.start_mark.line
            if path.split(".")[-1] == "defaults" and isinstance(value, yaml.SequenceNode):
                continue
            start = value.end_mark.column if value.end_mark.line == line else key.end_mark.column + 1
            behind = text.splitlines()[line][start:].strip()
            above = line
            while above > head and comments[above - 1]:
                above -= 1
            words = behind[1:].strip() if behind.startswith("#") else " ".join(comments[above:line])
            if words:
                found.comments[path] = words
            if isinstance(value, yaml.MappingNode) and value.value:
                walk(value, path)

    given = yaml.safe_load(text) or {}  # a choice that is none of a kind has no key
    if given:
        walk(yaml.compose(text), place)
    defaults = given.pop("defaults", None) or []
    found.values = dict(leaves(given, place)) if given else {}
    found.own = set(found.values)
    for entry in defaults:
        if isinstance(entry, str) and entry != "_self_" and "$" not in entry:
            base = source(f"{group}/{entry.partition('@')[0]}".lstrip("/"), place)
            found.comments = base.comments | found.comments
            found.values = base.values | found.values
    return found


@cache
def package() -> griffe.Module:
    """The library's objects with their docstrings, read without importing it."""
    loaded = griffe.load(
        "esrgan_lightning", search_paths=[str(CONF.parent / "src")], docstring_parser="google"
    )
    assert isinstance(loaded, griffe.Module)
    return loaded


@cache
def taken(target: str) -> tuple[str, dict[str, str]]:
    """The first sentence of a docstring, and what it says about each argument."""
    doc = package()[target.partition(".")[2]].docstring
    named = {
        each.name: markdown(" ".join(each.description.split()))
        for part in doc.parsed
        if isinstance(part, griffe.DocstringSectionParameters)
        for each in part.value
    }
    return re.split(r"(?<=\.)\s+(?=[A-Z])|\n\n", doc.value)[0].replace("\n", " "), named


def leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys with their values; an empty map is a value."""
    if isinstance(node, dict) and (node or not prefix):
        for key, value in node.items():
            yield from leaves(value, f"{prefix}.{key}".lstrip("."))
    else:
        yield prefix, node
