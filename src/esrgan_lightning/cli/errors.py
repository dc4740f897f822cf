"""How the commands speak: one line for what went wrong, nothing that a user has no use for."""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from esrgan_lightning.errors import InputError


@contextmanager
def one_line_errors(command: str) -> Iterator[None]:
    """Within the block an :class:`InputError` becomes one line on standard error and exit code 2."""
    try:
        yield
    except InputError as error:
        complain(command, error)
        sys.exit(2)


def complain(command: str, error: object) -> None:
    """Prints ``COMMAND: ERROR`` on standard error, in one line."""
    print(f"{command}: {' '.join(str(error).splitlines())}", file=sys.stderr)


def run_hydra(command: str, main: Callable[[], object]) -> None:
    """Runs a function that ``hydra.main`` decorates; what Hydra refuses becomes one line and exit code 2.

    Hydra's own way is several lines, a link and exit code 1. Tracebacks of anything else stay whole.
    """
    from hydra.errors import HydraException, OverrideParseException

    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then passes errors on instead of printing them
    try:
        main()
    except OverrideParseException as error:
        complain(
            command,
            f"{error.override} cannot be read: a value with = , ~ spaces or brackets in it needs quotes that "
            "reach Hydra, as in 'init=\"a=b.ckpt\"'",
        )
        sys.exit(2)
    except HydraException as error:
        message = str(error).partition("Config search path")[0]
        # Beyond the first line OmegaConf says the same again.
        first = message.partition("To append to your config")[0] if "To append" in message else message
        complain(command, f"{' '.join(first.split())} (`{command} --cfg job` shows every key and value)")
        sys.exit(2)
    except KeyboardInterrupt:  # whatever there is to say has been said
        sys.exit(130)
    finally:
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before


def quiet() -> None:
    """Leaves out what Lightning tells about itself; warnings that concern a run stay."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated", category=FutureWarning)
    warnings.filterwarnings("ignore", message=".*does not have many workers")
    warnings.filterwarnings(
        "ignore", message=".*resuming from a checkpoint that ended before the epoch ended"
    )
