"""``esrgan`` as it is typed, in this process."""

from typer.testing import CliRunner

from esrgan_lightning.cli.app import app


def esrgan(*arguments):
    """Exit code and the two outputs of ``esrgan ARGUMENTS``."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr
