"""A server answers to its own names and to its own pages, and to no others."""

import pytest

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.hosts import OwnHosts


@pytest.mark.parametrize(
    ("listens", "host", "answered"),
    [
        ("127.0.0.1", "127.0.0.1:7860", True),
        ("127.0.0.1", "LocalHost:7860", True),
        ("127.0.0.1", "[::1]:7860", True),
        ("127.0.0.1", "photos.example.org", True),
        ("127.0.0.1", "photos.example.org:8443", True),
        ("127.0.0.1", "evil.example:7860", False),
        ("127.0.0.1", "127.0.0.1.evil.example", False),
        ("127.0.0.1", "localhost@evil.example", False),
        ("127.0.0.1", "192.168.1.2:7860", False),
        ("127.0.0.1", "[::1", False),
        ("127.0.0.1", "", False),
        ("box.example", "box.example:7860", True),
        ("0.0.0.0", "192.168.1.2:7860", True),
        ("0.0.0.0", "evil.example", False),
    ],
)
def test_only_own_names(listens, host, answered):
    """Breaks if a site whose name leads to this machine (DNS rebinding) is answered."""
    hosts = OwnHosts(listens, ["Photos.example.org"])
    assert (hosts.refusal({"host": host}) is None) == answered
    assert (hosts.refusal({"host": host, "origin": f"http://{host}"}) is None) == answered


@pytest.mark.parametrize(
    ("origin", "answered"),
    [
        ("http://localhost:7860", True),
        ("https://photos.example.org", True),  # behind a proxy that asks by localhost
        ("https://[::5]:8443", True),
        ("https://photos.example.org:8443", False),
        ("http://evil.example", False),
        ("null", False),
        ("http://localhost:8888", False),
        ("http://localhost", False),
    ],
)
def test_only_own_pages(origin, answered):
    hosts = OwnHosts("127.0.0.1", ["photos.example.org", "[::5]:8443"])
    assert (hosts.refusal({"host": "localhost:7860", "origin": origin}) is None) == answered


@pytest.mark.parametrize("host", ["https://a.org", "a.org/x", "*", "me@a.org", "a.org:http", ""])
def test_what_is_no_host_is_named(host):
    with pytest.raises(InputError, match=r"^--allowed-host .* must be a host alone"):
        OwnHosts("127.0.0.1", [host])
