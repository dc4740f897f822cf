"""Names of a package that are imported on first use (PEP 562): torch and Lightning take seconds."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """A package's ``__getattr__``, ``__dir__`` and ``__all__``; it tells type checkers the same names itself.

    Args:
        package: Its ``__name__``.
        homes: Module, relative to the package → names that it defines, with spaces between; none of them may
            be a module of the package.
    """
    home = {name: module for module, names in homes.items() for name in names.split()}

    def load(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f".{home[name]}", package), name)

    def names() -> list[str]:
        own = import_module(package).__dict__
        return sorted({*own, *home} - {"lazy_names", "TYPE_CHECKING"})

    return load, names, sorted(home)
