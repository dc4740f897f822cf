"""``esrgan``: what the commands are and how they speak."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from rich.text import Text
from typer.main import get_command
from typer.testing import CliRunner

from esrgan_lightning.cli.app import app
from esrgan_lightning.cli.errors import one_line_errors, run_hydra
from esrgan_lightning.errors import InputError

CONF = Path(__file__).resolve().parents[2] / "conf"


def test_help_names_every_command():
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    for command in ("upscale", "interpolate", "demo"):
        assert command in result.output
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


def test_help_is_shown_as_written():
    """Rich draws a picture for ``:end:`` and takes ``[red]`` for a style."""

    def texts(command):
        yield command.help
        yield from (getattr(option, "help", None) for option in command.params)
        for inner in getattr(command, "commands", {}).values():
            yield from texts(inner)

    written = [text for text in texts(get_command(app)) if text]
    assert len(written) > 100
    assert [Text.from_markup(text).plain for text in written] == written


def test_input_errors_are_one_line_and_code_2(capsys):
    with pytest.raises(SystemExit) as exit_info, one_line_errors("tool"):
        raise InputError("first\nsecond")
    assert exit_info.value.code == 2
    assert capsys.readouterr().err == "tool: first second\n"


def test_defects_keep_their_traceback():
    with pytest.raises(ZeroDivisionError), one_line_errors("tool"):
        _ = 1 / 0
    with pytest.raises(ZeroDivisionError):
        run_hydra("tool", lambda: 1 / 0)


READ = OverrideParseException("init=a=b", "no viable alternative\nSee https://")
ADDED = ConfigCompositionException("Could not override 'x'.\nTo append to your config use +x=1")
FOUND = MissingConfigException("Could not find 'a/b'\n\nAvailable:\n\tc\nConfig search path:\n\tlong")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (READ, "init=a=b cannot be read: "),
        (ADDED, "Could not override 'x'. (`tool --cfg job` shows every key and value)"),
        (FOUND, "Could not find 'a/b' Available: c ("),
    ],
)
def test_what_hydra_refuses_is_one_line_and_code_2(error, line, capsys, monkeypatch):
    def refused():
        raise error

    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit) as exit_info:
        run_hydra("tool", refused)
    assert exit_info.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith(f"tool: {line}")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("trainer.max_update=3", " Did you mean trainer.max_updates?"),
        ("traner.max_updates=3", " Did you mean trainer?"),
        ("sed=3", " Did you mean seed?"),
        ("loss/pixels=l1", " Did you mean loss/pixel?"),
        ("loss.weights.pixle=1", " Did you mean loss.weights.pixel?"),
        # The right name at the wrong place.
        ("lr=1e-4", " Did you mean optimizer.lr?"),
        ("batch_size=4", " Did you mean data.batch_size?"),
        # Neither a far name nor the place itself is an answer.
        ("zzz=1", ""),
        ("stage.zzz=1", ""),
    ],
)
def test_a_misspelt_key_is_answered_with_the_nearest(given, meant, capsys):
    def compose_it():
        with initialize_config_dir(str(CONF), version_base=None):
            compose("train", overrides=[given])

    with pytest.raises(SystemExit):
        run_hydra("tool", compose_it)
    key = given.partition("=")[0]
    line = f"tool: Could not override '{key}'.{meant} (`tool --cfg job` shows every key and value)\n"
    assert capsys.readouterr().err == line
