"""How the commands speak: one line for what went wrong, nothing that a user has no use for."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from esrgan_lightning.errors import InputError


@contextmanager
def one_line_errors(command: str) -> Iterator[None]:
    """Within the block an :class:`InputError` becomes one line on standard error and exit code 2."""
    try:
        yield
    except InputError as error:
        print(f"{command}: {error}", file=sys.stderr)
        sys.exit(2)


def quiet() -> None:
    """Leaves out what Lightning tells about itself; warnings that concern a run stay."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated", category=FutureWarning)
    warnings.filterwarnings("ignore", message=".*does not have many workers")
    warnings.filterwarnings(
        "ignore", message=".*resuming from a checkpoint that ended before the epoch ended"
    )
