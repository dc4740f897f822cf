"""``esrgan serve`` as clients meet it: over HTTP, many at a time, some of them hostile."""

import io
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import requests
import torch
from PIL import Image
from served import Service

from esrgan_lightning import Upscaler
from esrgan_lightning.networks import RRDBNet
from esrgan_lightning.ops.encode import encode_image
from esrgan_lightning.ops.image import read_photo
from esrgan_lightning.weights import save_generator

pytest.importorskip("litserve", reason="the extra [serve]")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("service")]

SIZES = ((16, 20), (24, 24), (9, 33), (40, 12))


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("network") / "generator.safetensors"
    save_generator(path, RRDBNet(num_features=8, num_blocks=1, growth_channels=4, bilinear_init=True))
    return path


@pytest.fixture(scope="module")
def service(network):
    limits = ("--max-pixels", "0.01", "--max-upload", "0.5", "--queue", "32")
    running = Service(network, *limits, "--allowed-host", "photos.example.org")
    yield running
    running.end()


def picture(index):
    """A PNG of one of four sizes: RGB, RGBA, gray or 16 bits."""
    height, width = SIZES[index % len(SIZES)]
    channels, dtype = ((3, np.uint8), (4, np.uint8), (1, np.uint8), (3, np.uint16))[index // 4 % 4]
    y, x = np.mgrid[:height, :width] / 40
    planes = [np.sin(3 * x + 2 * y + plane + index) / 2 + 0.5 for plane in range(channels)]
    pixels = (np.stack(planes) * np.iinfo(dtype).max).astype(dtype)
    return encode_image(torch.from_numpy(pixels), ".png")


def bomb():
    """A small file that claims 4 gigapixels."""
    head = io.BytesIO()
    Image.new("1", (65000, 65000)).save(head, "PNG")
    return head.getvalue()[:300_000]


BAD = {
    b"": 422,
    b"not an image": 422,
    b"\x89PNG\r\n\x1a\n" + bytes(200): 422,
    picture(0)[:-40]: 422,
    encode_image(torch.zeros(3, 101, 100, dtype=torch.uint8), ".png"): 413,
    bytes(600_000): 413,
}


def test_500_requests_of_mixed_sizes_with_bad_ones_among_them(service, network):
    """Nothing lost, nothing mixed up, no neighbour of a bad request harmed, no growth of memory."""
    pictures = [picture(index) for index in range(16)]
    upscale = Upscaler(network, device="cpu", pre_pad=8)
    wanted = [upscale.upscale(read_photo(io.BytesIO(data)).pixels) for data in pictures]
    bad = list(BAD)

    def ask(index):
        if index % 7 == 6:
            data = bad[index // 7 % len(bad)]
            return service.post(data).status_code == BAD[data]
        answer = service.post(pictures[index % 16])
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "image/png"
        found = read_photo(io.BytesIO(answer.content)).pixels
        same = found.to(torch.int32) - wanted[index % 16].to(torch.int32)
        return found.dtype == wanted[index % 16].dtype and same.abs().max() <= 1

    with ThreadPoolExecutor(16) as clients:
        assert all(clients.map(ask, range(100)))
        before = service.memory()
        assert all(clients.map(ask, range(500)))
    assert service.memory() < 1.1 * before + 32e6
    counts = requests.get(f"{service.url}/metrics", timeout=30).text
    assert 'esrgan_requests_total{status="200"}' in counts
    assert "esrgan_requests_active 0.0" in counts


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("evil.example", None, 403),
        (None, "http://evil.example", 403),
        ("photos.example.org", "https://photos.example.org", 200),  # as a proxy passes it on
        (None, "https://photos.example.org", 200),  # or with the host that it asks
    ],
)
def test_foreign_hosts_and_pages_are_refused_at_every_address(service, host, origin, status):
    """Breaks if a page of another site can have pictures enlarged, or look, also by DNS rebinding."""
    headers = {name: value for name, value in {"Host": host, "Origin": origin}.items() if value}
    answers = [
        requests.post(f"{service.url}/upscale", files={"image": picture(0)}, headers=headers, timeout=120),
        *(
            requests.get(f"{service.url}/{path}", headers=headers, timeout=30)
            for path in ("health", "metrics/")
        ),
    ]
    assert [answer.status_code for answer in answers] == [status] * 3
    assert all(status == 200 or "--allowed-host" in answer.json()["detail"] for answer in answers)


@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        ({"files": {"picture": b"x"}}, 422, "form's field image"),
        ({"data": b"x"}, 415, "form"),
        ({"json": {"image": "x"}}, 415, "form"),
        ({"data": iter([b"x"])}, 411, "Content-Length"),
    ],
)
def test_a_request_of_another_kind_is_told_how(service, request_, status, said):
    answer = requests.post(f"{service.url}/upscale", timeout=30, **request_)
    assert answer.status_code == status
    assert said in answer.json()["detail"]


def test_a_decompression_bomb_is_refused_from_its_header(service):
    answer = service.post(bomb())
    assert answer.status_code == 422
    assert "limit" in answer.json()["detail"]


def test_more_than_the_queue_holds_are_told_to_come_back_and_an_end_answers_what_was_taken_on(network):
    """SIGTERM while requests are under way: each has its picture, or is told that it is too late."""
    running = Service(network, "--queue", "4", "--batch", "1")
    slow = encode_image(torch.randint(0, 255, (3, 300, 300), dtype=torch.uint8), ".png")
    with ThreadPoolExecutor(12) as clients:
        first = list(clients.map(lambda _: running.post(slow), range(12)))
        assert {answer.status_code for answer in first} == {200, 503}
        assert {answer.headers.get("Retry-After") for answer in first} == {None, "5"}
        waiting = [clients.submit(running.post, slow) for _ in range(3)]
        while "esrgan_requests_active 3.0" not in requests.get(f"{running.url}/metrics", timeout=30).text:
            time.sleep(0.02)
        code = running.end()
        assert [future.result().status_code for future in waiting] == [200, 200, 200]
    assert code == 0
    assert not psutil.pid_exists(running.process.pid)


@pytest.mark.parametrize("options", [("-m", "text.pth"), ("--allowed-host", "https://a.org")])
def test_what_cannot_be_served_is_one_line_before_anything_is_started(tmp_path, options):
    (tmp_path / "text.pth").write_text("x")
    command = [str(Path(sys.executable).parent / "esrgan"), "serve", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("esrgan serve: ")
    assert len(done.stderr.splitlines()) == 1
