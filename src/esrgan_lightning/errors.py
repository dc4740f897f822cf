"""The one exception that the command lines show as a single line."""

from collections.abc import Sequence
from difflib import get_close_matches


class InputError(ValueError):
    """Something that the user gave is wrong: a file, a value, a setting.

    The message names the file or key, the value and the remedy; the commands print it without a traceback
    and exit with 2. Everything else is a defect of ours and keeps its traceback.
    """


def needs_extra(what: str, extra: str) -> InputError:
    """What lacks an optional dependency, and how it is installed."""
    return InputError(f"{what} the extra {extra}: {install_extra(extra)}")


def install_extra(extra: str) -> str:
    """How an optional dependency is installed; no package index has the library."""
    return f'pip install ".[{extra}]" in the checkout, or "esrgan-lightning[{extra}] @ WHEEL" with a wheel'


def nearest(name: str, known: Sequence[str]) -> str:
    """The end of a message on an unknown name: those that are like it, else all."""
    lower = {each.lower(): each for each in known}
    near = [lower[each] for each in get_close_matches(name.lower(), lower)]
    return f"; did you mean {' or '.join(near)}?" if near else f"; known are {', '.join(known)}"


def first_few(items: Sequence[str], count: int = 4) -> str:
    """The first names of a list, and how many there are more.

    >>> first_few(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    more = f" and {len(items) - count} more" if len(items) > count else ""
    return ", ".join(items[:count]) + more


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
