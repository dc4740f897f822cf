"""A server that fails on request."""

import pytest
from faulty_server import running


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with running() as server:
        yield server
