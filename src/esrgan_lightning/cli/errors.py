"""How the commands speak: one line for what went wrong, nothing that a user has no use for."""

import difflib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from io import TextIOWrapper
from traceback import walk_tb
from typing import Any

from typer.core import TyperCommand

from esrgan_lightning.errors import InputError

_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOSPC, errno.EDQUOT)


@contextmanager
def one_line_errors(command: str) -> Iterator[None]:
    """Within the block an :class:`InputError` becomes one line on standard error and exit code 2."""
    try:
        yield
    except InputError as error:
        complain(command, error)
        sys.exit(2)


class Command(TyperCommand):
    """A command of ``esrgan``: what the user got wrong is one line, as :func:`one_line_errors` has it."""

    def invoke(self, ctx: Any) -> Any:
        """Runs it."""
        with one_line_errors(ctx.command_path):
            return super().invoke(ctx)


def print_any_name() -> None:
    r"""From here on a name that stdout or stderr cannot encode is printed with escapes, as ``\\udce9``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def complain(command: str, error: object) -> None:
    """Prints ``COMMAND: ERROR`` on standard error, in one line."""
    print(f"{command}: {' '.join(str(error).splitlines())}", file=sys.stderr)


def run_hydra(command: str, main: Callable[[], object]) -> None:
    """Runs a function that ``hydra.main`` decorates; what Hydra refuses becomes one line and exit code 2.

    Hydra's own way is several lines, a link and exit code 1. Tracebacks of anything else stay whole.
    """
    from hydra.errors import HydraException, OverrideParseException

    from esrgan_lightning.config import words_for_hydra

    print_any_name()
    with one_line_errors(command):
        sys.argv[1:] = words_for_hydra(sys.argv[1:])
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then passes errors on instead of printing them
        try:
            main()
        except OverrideParseException as error:
            raise InputError(
                f"{error.override} cannot be read: a value with = , ~ spaces or brackets in it needs quotes "
                "that reach Hydra, as in 'init=\"a=b.ckpt\"'"
            ) from error
        except HydraException as error:
            # Beyond these OmegaConf says the same again, and Hydra where it has looked.
            message = str(error).partition("Config search path")[0].partition("To append to your config")[0]
            shows = f"(`{command} --cfg job` shows every key and value)"
            raise InputError(f"{' '.join(message.split())}{_nearest(error)} {shows}") from error
        except BrokenPipeError:  # of head, or of a pager that was left
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except (OSError, TypeError, ValueError) as error:
            if override := _refused(error):
                raise InputError(f"{override}: {' '.join(str(error).split())}") from error
            # Hydra makes the run's folder, and the log in it.
            cause = error if isinstance(error, OSError) else error.__cause__
            if not isinstance(cause, OSError) or cause.errno not in _UNWRITABLE or cause.filename is None:
                raise
            raise InputError(
                f"{cause.filename} cannot be written to: {cause.strerror}; choose another name=, or another "
                "folder to call from"
            ) from error
        except RuntimeError as error:
            if '"srun"' not in str(error):
                raise
            raise InputError(
                "hydra/launcher=submitit_slurm: SLURM's srun is not on this machine; start the sweep on the "
                "cluster, or take hydra/launcher=joblib"
            ) from error
        except KeyboardInterrupt:  # whatever there is to say has been said
            sys.exit(130)


def _refused(error: Exception) -> str | None:
    """The override at which Hydra's own code broke, as at ``data=5``; None for other errors."""
    from omegaconf.errors import InterpolationKeyError

    if isinstance(error, InterpolationKeyError):
        return str(error.full_key)
    for frame, _ in walk_tb(error.__traceback__):
        ours = not str(frame.f_globals.get("__name__")).startswith("hydra._internal.")
        if not ours and (line := getattr(frame.f_locals.get("override"), "input_line", None)):
            return str(line)
    return None


def _nearest(error: Exception) -> str:
    """`` Did you mean trainer.max_updates?`` after a key that the configuration lacks; else nothing."""
    from hydra.errors import MissingConfigException
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, MissingConfigException) and str(error.missing_cfg_file).startswith("preset/"):
        folder = files("esrgan_lightning.conf").joinpath(str(error.missing_cfg_file).rpartition("/")[0])
        names = sorted(
            each.name.removesuffix(".yaml") for each in (folder.iterdir() if folder.is_dir() else ())
        )
        return f" There are {', '.join(names)}, and what a --config-dir has." if names else ""
    cause = error.__cause__
    if not isinstance(cause, OmegaConfBaseException) or not isinstance(cause.parent_node, DictConfig):
        return ""
    root = cause.parent_node._get_root()
    given = str(cause.full_key)
    term = given.removeprefix("loss.weights.")
    if term != given and files("esrgan_lightning.conf").joinpath("loss", term).is_dir():
        return f" The term is off: choose it with loss/{term}=…, or add one of your own: docs/your_parts.md."
    names = [name for name in _keys(OmegaConf.to_container(root)) if not given.startswith(f"{name}.")]
    last = given.rpartition(".")[2]
    elsewhere = [name for name in names if name.rpartition(".")[2] == last]
    near = elsewhere[:3] or difflib.get_close_matches(given, names, n=1, cutoff=0.7)
    if "/" in given:  # a choice, not a key
        near = [name.replace(".", "/") for name in near]
    return f" Did you mean {' or '.join(near)}?" if near else ""


def _keys(config: object, prefix: str = "") -> Iterator[str]:
    """Every key with the ones above it, a.b.c, but Hydra's own."""
    if isinstance(config, dict):
        for key, value in config.items():
            if prefix or key != "hydra":
                yield f"{prefix}{key}"
                yield from _keys(value, f"{prefix}{key}.")
