"""reference/config.md: every key of the configuration, with default and meaning, out of conf/ and docstrings.

A default is what ``compose`` gives. The meaning is the comment behind or above the key in the file that sets
it; where there is none, what the docstring of the class that takes the value says of it.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml  # type: ignore[import-untyped]
from config_sources import CONF, Source, leaves, source, taken
from hydra import compose, initialize_config_module
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page
from omegaconf import OmegaConf

PAGE = "reference/config.md"
PRESETS = ("paper", "basicsr", "demo", "mini")
# Groups of which each choice gets a table, in the order of the page.
GROUPS = (
    *("generator", "discriminator"),
    *(
        f"loss/{term}"
        for term in ("pixel", "perceptual", "contextual", "lpips", "dists", "consistency", "adversarial")
    ),
    *("data", "degradation", "conditions", "schedule", "trainer", "logger"),
)
# Presets and experiments are told by their first lines.
NAMED = ("preset/psnr", "preset/gan", "experiment", "experiment/ladder", "experiment/ladder_mini")
COLUMNS = ["key", "default", "meaning"]


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fills the page."""
    return f"{markdown}\n{tables()}" if page.file.src_uri == PAGE else markdown


@cache
def composed(config: str, *overrides: str) -> tuple[dict[str, Any], list[Source]]:
    """The keys of a configuration with their values, unresolved, and the files that it was made of."""
    with initialize_config_module("esrgan_lightning.conf", version_base="1.3"):
        cfg = compose(config, overrides=list(overrides), return_hydra_config=True)
    choices = cfg.hydra.runtime.choices
    names = [f"{group}/{choice}" for group, choice in choices.items() if choice and "@" not in group]
    names.append(f"preset/{choices.get('stage')}/{choices.get('preset')}")
    read = [source(name) for name in names if (CONF / f"{name}.yaml").is_file()]
    values: Any = OmegaConf.to_container(cfg, resolve=False)
    del values["hydra"]
    return dict(leaves(values)), [source(config), *(each for each in read if each.comments)]


def meaning(key: str, values: dict[str, Any], sources: list[Source]) -> str:
    """What a key means: see the module. "" where nothing says it."""
    parent, _, name = key.rpartition(".")
    target = str(values.get(f"{parent}._target_") or "")
    if name == "_partial_":
        return "what is missing is given when it is built"
    said = [next((each.comments[key] for each in sources if key in each.comments), "")]
    if target.startswith("esrgan_lightning.") and (not said[0] or said[0].startswith("or ")):
        about, arguments = taken(target)
        said.insert(0, about if name == "_target_" else arguments.get(name, ""))
    if any(said):
        return ", ".join(part.removesuffix(".") for part in said if part)
    if follows := re.fullmatch(r"\$\{([\w.]+)\}", str(values.get(key))):
        return f"as `{follows[1]}`"
    if name == "_target_":
        return f"of {target.split('.')[0]}" if target else "none is built"
    return meaning(parent, values, sources) if parent and not target else ""


def shown(value: Any) -> str:
    """A value as a user types it, for a cell of a table."""
    if value == "???":
        return "*needed*"
    text = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()
    return f"`{text}`".replace("|", "\\|")


def table(columns: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [columns, ["---"] * len(columns), *rows]) + "\n"


def rows_of(kinds: dict[str, tuple[dict[str, Any], list[Source]]]) -> list[list[str]]:
    """A row for each key of several configurations; where they differ, each is named."""
    rows = []
    keys = dict.fromkeys(key for values, _ in kinds.values() for key in values)
    for key in sorted(keys, key=in_order):
        held = {kind: shown(values[key]) for kind, (values, _) in kinds.items() if key in values}
        default = next(iter(held.values()))
        if len(held) < len(kinds) or len(set(held.values())) > 1:
            default = "<br>".join(f"{kind}: {value}" for kind, value in held.items())
        said = dict.fromkeys(meaning(key, *kinds[kind]) for kind in held)
        text = "; ".join(filter(None, said)).replace("|", "\\|")
        # Underscores are emphasis outside of code, tags and links.
        parts = r"`+[^`]*`+|<code>.*?</code>|<[^>]*>|\[[^]]*]\[[^]]*]|_"
        text = re.sub(parts, lambda one: "\\_" if one[0] == "_" else one[0], text)
        rows.append([f"`{key}`", default, text])
    return rows


def in_order(key: str) -> tuple[bool, str]:
    """The run's own keys before those of its parts, which stand together."""
    return "." in key, key.split(".")[0]


def choices(group: str) -> Iterator[tuple[str, Source]]:
    """Each choice of a group, with what its file says."""
    for file in sorted((CONF / group).glob("*.yaml")):
        yield file.stem, source(f"{group}/{file.stem}")


def choice_table(said: Source) -> str:
    """The keys that a choice's own file sets."""
    rows = [row for row in rows_of({"": (said.values, [said])}) if row[0].strip("`") in said.own]
    return table(COLUMNS, rows) if rows else ""


def presets() -> str:
    """What the presets set otherwise than one another."""
    parts = []
    for stage in ("psnr", "gan"):
        held = [composed("train", f"stage={stage}", f"preset={name}")[0] for name in PRESETS]
        keys = [key for key in dict.fromkeys(key for values in held for key in values) if key != "preset"]
        rows = [
            [f"`{key}`", *(shown(values[key]) if key in values else "" for values in held)] for key in keys
        ]
        differ = [row for row in rows if len(set(row[1:])) > 1]
        parts.append(f"### stage={stage}\n\n" + table(["key", *PRESETS], differ))
    return "\n".join(parts)


def tables() -> str:
    """All of the page but its introduction."""
    kinds = {stage: composed("train", f"stage={stage}") for stage in ("psnr", "gan")}
    parts = ["## stage=psnr and stage=gan\n", table(COLUMNS, rows_of(kinds))]
    parts += ["## stage=material\n", table(COLUMNS, rows_of({"": composed("material")}))]
    parts += ["## esrgan-evaluate\n", table(COLUMNS, rows_of({"": composed("evaluate")}))]
    parts += ["## Presets\n", presets(), "## Choices\n"]
    for group in GROUPS:
        parts.append(f"### {group}=\n")
        for choice, said in choices(group):
            parts += [f"**`{group}={choice}`** {said.about}\n", choice_table(said)]
    for group in NAMED:
        parts += [
            f"### {group.replace('preset/', 'preset= of stage=')}{'' if 'preset' in group else '='}\n",
            table(["choice", ""], [[f"`{name}`", s.about] for name, s in choices(group)]),
        ]
    return "\n".join(parts)
