"""The one exception that the command lines show as a single line."""


class InputError(ValueError):
    """Something that the user gave is wrong: a file, a value, a setting.

    The message names the file or key, the value and the remedy; the commands print it without a traceback
    and exit with 2. Everything else is a defect of ours and keeps its traceback.
    """


def needs_extra(what: str, extra: str) -> InputError:
    """What lacks an optional dependency, and how it is installed, with and without a checkout."""
    return InputError(
        f'{what} the extra {extra}: pip install ".[{extra}]" in a checkout, '
        f'or pip install "esrgan-lightning[{extra}]"'
    )
