"""outcome.json says how a run ended."""

import json
from pathlib import Path

import pytest

from esrgan_lightning.errors import InputError
from esrgan_lightning.run.outcome import recorded
from esrgan_lightning.stages.faults import NonFiniteError


def outcome(folder):
    return json.loads((folder / "outcome.json").read_text())


def test_finished(tmp_path):
    """Breaks if a killed run looks finished, or a finished one looks as if it ran."""
    with recorded(tmp_path):
        assert outcome(tmp_path) == {"state": "running"}
    assert outcome(tmp_path)["state"] == "finished"
    assert outcome(tmp_path)["seconds"] >= 0


def diverge():
    try:
        raise NonFiniteError("loss is nan")
    except NonFiniteError as error:
        raise InputError("20 updates in a row were not finite") from error


def fail(error):
    raise error


@pytest.mark.parametrize(
    ("ends", "state"),
    [
        (lambda: fail(KeyboardInterrupt()), "interrupted"),
        (lambda: fail(SystemExit(143)), "interrupted"),
        (lambda: fail(RuntimeError("out of memory")), "failed"),
        (lambda: fail(InputError("the disk is full")), "failed"),
        (diverge, "diverged"),
    ],
)
def test_how_it_ended(tmp_path, ends, state):
    """Breaks if the error is swallowed, or told as another kind."""
    with pytest.raises(BaseException), recorded(tmp_path):  # noqa: B017, PT011
        ends()
    assert outcome(tmp_path)["state"] == state
    assert ("error" in outcome(tmp_path)) == (state in ("failed", "diverged"))


def test_a_full_disk_does_not_hide_what_went_wrong(tmp_path, monkeypatch):
    """Breaks if the message is that of the outcome that cannot be written, or the run seems to go on."""

    def full(*_):
        raise OSError(28, "No space left on device")

    def end():
        monkeypatch.setattr(Path, "write_bytes", full)
        fail(InputError("the disk is full"))

    with pytest.raises(InputError, match="the disk is full"), recorded(tmp_path):
        end()
    assert outcome(tmp_path)["state"] == "failed"
