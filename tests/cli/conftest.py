"""The console script's function, called in this process: a start of its own costs ten seconds."""

import logging
import sys

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra


@pytest.fixture
def call(tmp_path, monkeypatch, capfd):
    """Runs ``esrgan-train ARGUMENTS`` in an empty folder; gives its exit code, output and error output."""
    from esrgan_lightning.cli.train import main

    monkeypatch.chdir(tmp_path)
    threads, root = torch.get_num_threads(), logging.getLogger()
    torch.set_num_threads(1)
    handlers, level = root.handlers[:], root.level

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["esrgan-train", *(str(argument) for argument in arguments)])
        capfd.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        finally:
            GlobalHydra.instance().clear()
            for handler in set(root.handlers) - set(handlers):
                handler.close()
            root.handlers, root.level = handlers[:], level
        return code, *capfd.readouterr()

    yield run
    torch.set_num_threads(threads)
