"""Fixtures shared by all tests."""

from functools import cache
from pathlib import Path

import pytest
import torch
from faulty_server import running

SHARED = Path(__file__).resolve().parents[2] / "shared"


def shared_path(name: str) -> Path:
    """Path of a reference file beside the checkout; the test is skipped where it is absent."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"reference material is not here: {path}")
    return path


@pytest.fixture(scope="session")
def shared():
    """``shared("data/Set5")`` → path; skips the test where the reference material is absent."""
    return shared_path


@pytest.fixture(scope="session")
def untrained(tmp_path_factory):
    """``untrained("vgg16")`` → a file of its convolutions in torchvision's layout and half precision."""
    from safetensors.torch import save_file
    from torchvision.models import get_model

    @cache
    def write(arch):
        torch.manual_seed(0)
        with torch.device("meta"):
            features = get_model(arch, weights=None).features
        state = features.to_empty(device="cpu").state_dict(prefix="features.")
        for name, tensor in state.items():
            fan_in = tensor[0].numel() if tensor.ndim > 1 else 800
            state[name] = (torch.randn(tensor.shape) * (2 / fan_in) ** 0.5).half()
        path = tmp_path_factory.mktemp("untrained") / f"{arch}.safetensors"
        save_file(state, path)
        return path

    return write


@pytest.fixture(scope="session")
def vgg16_file(untrained):
    return untrained("vgg16")


@pytest.fixture
def one_thread():
    """For tiny networks: a second thread would only wait for the first."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def server(monkeypatch):
    """A server that fails on request."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with running() as server:
        yield server


@pytest.fixture(autouse=True, scope="session")
def cache_of_its_own(tmp_path_factory):
    """Decoded photos are kept where the tests end, and never in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def pytest_collection_modifyitems(config, items):
    # Before Python 3.12 tracing costs a training run a half again; lines are what the quick tests are for.
    # pytest-cov 7.1 fails on the marker where --no-cov has taken --cov back.
    if config.getoption("no_cov", default=None) is False:
        for item in items:
            if "slow" in item.keywords:
                item.add_marker("no_cover")
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA device; run `pytest -m gpu` where there is one")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)
