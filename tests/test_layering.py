"""The house's own rules: who may import whom, where Hydra stops, how long a file gets, what is packaged."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src"
PACKAGE = "esrgan_lightning"

# A module imports from a lower rank or from its own folder. `errors` is free for all.
RANKS = {
    "ops": 0,
    "bundled": 0,
    "networks": 1,
    "data": 1,
    "metrics": 2,
    "weights": 2,
    "losses": 3,
    "inference": 3,
    "stages": 4,
    "evaluation": 4,
    "export": 4,
    "report": 4,
    "config": 4,
    "ui": 5,
    "run": 5,
    "service": 5,
    "training": 6,
    "cli": 7,
    "__main__": 8,
}
HYDRA_PARTS = ("run", "config", "cli")  # DictConfig stops here: below are typed arguments


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, module: str, *, is_package: bool = False) -> Iterator[str]:
    """Absolute dotted names that a module imports anywhere in its text, also inside functions.

    ``from a import b`` gives ``a.b``: whether b is a module or a name is of no interest to the rules.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")
                above = parents[: len(parents) - node.level + is_package]
                base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def part_of(name: str) -> str | None:
    """``esrgan_lightning.ops.color`` → ``ops``; the package itself → ""; anything foreign → None."""
    first, _, rest = name.partition(".")
    return rest.split(".")[0] if first == PACKAGE else None


def rank_faults(source: str, module: str, *, is_package: bool = False) -> list[str]:
    own = part_of(module)
    if own == "":  # the package's own door re-exports from every rank
        return []
    if own not in RANKS and own != "errors":
        return [f"{module}: {own} has no rank"]
    faults = []
    for name in imports(source, module, is_package=is_package):
        other = part_of(name)
        if other is None or other in (own, "errors", ""):
            continue
        if other not in RANKS:
            faults.append(f"{module} imports {name}: {other} has no rank; name the module that defines it")
        elif own == "errors" or RANKS[other] >= RANKS[own]:
            faults.append(f"{module} imports {name}: {own} stands no higher than {other}")
    return faults


def hydra_faults(source: str, module: str, *, is_package: bool = False) -> list[str]:
    if part_of(module) in HYDRA_PARTS:
        return []
    foreign = {name.split(".")[0] for name in imports(source, module, is_package=is_package)}
    return [f"{module} imports {name}" for name in sorted(foreign & {"hydra", "omegaconf"})]


def graph_of(files: list[tuple[str, str, bool]]) -> dict[str, set[str]]:
    """Module → modules of the package that it imports, anywhere in its text."""
    known = {name for _, name, _ in files}
    graph: dict[str, set[str]] = {name: set() for name in known}
    for text, name, package in files:
        for target in imports(text, name, is_package=package):
            file = target if target in known else target.rpartition(".")[0]
            graph[name] |= {file} & known - {name}
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Files that import each other, directly or through others; packages' own doors count as files."""
    left = dict(graph)
    while free := [name for name, targets in left.items() if not targets & set(left)]:
        for name in free:
            del left[name]
    # What is left imports something of a circle; now from the other side: nobody left imports it.
    while idle := [name for name in left if not any(name in targets for targets in left.values())]:
        for name in idle:
            del left[name]
    return [sorted(left)] if left else []


def packaging_faults(folders: set[str], listed: set[str]) -> list[str]:
    return [
        *(
            f"{name} is not in pyproject's packages: it will be missing in the wheel"
            for name in folders - listed
        ),
        *(f"pyproject's packages lists {name}, which does not exist" for name in listed - folders),
    ]


def modules() -> list[tuple[str, str, bool]]:
    files = sorted((SRC / PACKAGE).rglob("*.py"))
    return [(path.read_text("utf-8"), module_name(path, SRC), path.name == "__init__.py") for path in files]


def test_a_module_imports_only_from_below():
    found = modules()
    assert len(found) > 30, "the checker must see the package"
    assert [
        fault for text, name, package in found for fault in rank_faults(text, name, is_package=package)
    ] == []


def test_no_two_files_import_each_other():
    graph = graph_of(modules())
    assert sum(len(targets) for targets in graph.values()) > 300, "the checker must see the imports"
    assert circles(graph) == []


def test_the_rule_on_circles_can_fail():
    chain = {"a": {"b"}, "b": {"c"}, "c": set(), "d": {"a", "c"}}
    assert circles(chain) == []
    assert circles(chain | {"c": {"a"}}) == [["a", "b", "c"]]
    files = [
        ("from p import q", "p.r", False),
        ("def f():\n    from p.r import x", "p.q", False),
        ("", "p", True),
    ]
    assert circles(graph_of(files)) == [["p.q", "p.r"]]


def test_hydra_stops_at_training_config_and_cli():
    faults = [
        fault for text, name, package in modules() for fault in hydra_faults(text, name, is_package=package)
    ]
    assert faults == []


def test_every_package_folder_is_in_the_wheel():
    """A folder left out of `packages` imports in the checkout and is missing from the wheel."""
    folders = {module_name(path, SRC) for path in (SRC / PACKAGE).rglob("__init__.py")} | {f"{PACKAGE}.conf"}
    folders |= {module_name(path.parent / "x.py", SRC).rpartition(".")[0] for path in SRC.rglob("*.py")}
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    assert packaging_faults(folders, set(listed)) == []
    assert (ROOT / "conf" / "__init__.py").is_file(), (
        "without it the installed commands find no configuration"
    )


@pytest.mark.parametrize(
    ("source", "module", "package"),
    [
        ("from esrgan_lightning.stages import GANStage", "esrgan_lightning.losses.pixel", False),
        ("from esrgan_lightning.data import photos", "esrgan_lightning.networks.rrdb", False),  # equal rank
        ("import esrgan_lightning.training", "esrgan_lightning.ops.color", False),
        ("def f():\n    from esrgan_lightning.cli.app import app", "esrgan_lightning.training", False),
        ("from ..stages import gan", "esrgan_lightning.losses.pixel", False),
        ("from ..stages import gan", "esrgan_lightning.losses", True),
        ("from esrgan_lightning import Upscaler", "esrgan_lightning.stages.gan", False),  # through the door
        ("from esrgan_lightning.ops import imresize", "esrgan_lightning.errors", False),
        ("", "esrgan_lightning.novelty.thing", False),
        ("from esrgan_lightning.novelty import thing", "esrgan_lightning.cli.app", False),
    ],
)
def test_the_rank_rule_can_fail(source, module, package):
    assert len(rank_faults(source, module, is_package=package)) == 1


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("from esrgan_lightning.ops import imresize", "esrgan_lightning.losses.pixel"),
        ("from esrgan_lightning.losses.pixel import CharbonnierLoss", "esrgan_lightning.losses.weighted"),
        ("from .pixel import CharbonnierLoss", "esrgan_lightning.losses.weighted"),
        ("from esrgan_lightning.errors import InputError", "esrgan_lightning.ops.color"),
        ("import esrgan_lightning", "esrgan_lightning.training"),
        ("import torch\nfrom stages import x", "esrgan_lightning.ops.color"),
    ],
)
def test_the_rank_rule_lets_pass_what_it_should(source, module):
    assert rank_faults(source, module) == []


def test_the_other_rules_can_fail():
    assert hydra_faults("from omegaconf import DictConfig", "esrgan_lightning.stages.gan") != []
    assert hydra_faults("def f():\n    import hydra.utils", "esrgan_lightning.inference") != []
    assert hydra_faults("from omegaconf import DictConfig", "esrgan_lightning.cli.train") == []
    assert packaging_faults({"a", "a.b"}, {"a"}) != []
    assert packaging_faults({"a"}, {"a", "a.gone"}) != []
