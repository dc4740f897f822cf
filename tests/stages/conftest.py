"""Stages are tested with tiny networks."""

import pytest


@pytest.fixture(autouse=True)
def tiny_networks(one_thread):
    pass
