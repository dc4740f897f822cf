"""Requests of other names, of other sites and beyond the quota do not reach the page."""

import asyncio

import pytest

pytest.importorskip("starlette", reason="the extra ui is not installed")
from esrgan_lightning.ops.hosts import OwnHosts
from esrgan_lightning.ui.guard import Guard


async def answer(guard, *, method="GET", path="/", **headers):
    """Its status."""
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    sent = []

    async def send(message):
        sent.append(message.get("status"))

    await guard({"type": "http", "method": method, "path": path, "headers": pairs}, None, send)
    return sent[0]


def status(*arguments, **options):
    return asyncio.run(answer(*arguments, **options))


def guarded(folder, quota=2**20, behind=None):
    async def app(scope, receive, send):
        if behind:
            await behind()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    return Guard(app, hosts=OwnHosts("127.0.0.1"), folder=folder, upload_bytes=1000, quota=quota)


def test_only_own_names_and_pages(tmp_path):
    """tests/ops/test_hosts.py has the rest."""
    guard = guarded(tmp_path)
    assert status(guard, host="localhost:7860", origin="http://localhost:7860") == 200
    assert status(guard, host="evil.example:7860") == 403
    assert status(guard, host="localhost:7860", origin="http://evil.example") == 403


def test_uploads_are_bounded_one_by_one_and_in_total(tmp_path):
    """Breaks if an upload of unknown or large size is taken, or the folder grows beyond the quota."""
    guard = guarded(tmp_path)
    upload = {"method": "POST", "path": "/gradio_api/upload", "host": "localhost"}
    for length, right in (("1000", 200), ("1001", 413), ("9" * 30, 413), ("-1", 413), ("", 413)):
        assert status(guard, **upload, content_length=length) == right
    assert status(guard, **upload) == 413

    number = 0

    async def store():
        nonlocal number
        for _ in range(9):
            number += 1
            (tmp_path / f"{number:03}").mkdir()
            (tmp_path / f"{number:03}/photo.png").write_bytes(bytes(100))

    guard = guarded(tmp_path, behind=store)
    for _ in range(3):
        assert status(guard, **upload, content_length="900") == 200
    left = sorted(path.parent.name for path in tmp_path.rglob("*.png"))
    assert left == [f"{each:03}" for each in range(12, 28)], "16 files of 64 KiB at least, the newest"


def test_only_some_uploads_at_once(tmp_path):
    async def many():
        gate = asyncio.Event()
        guard = guarded(tmp_path, behind=gate.wait)
        upload = {"method": "POST", "path": "/upload", "host": "localhost", "content_length": "1"}
        tasks = [asyncio.create_task(answer(guard, **upload)) for _ in range(20)]
        await asyncio.sleep(0)
        gate.set()
        return await asyncio.gather(*tasks)

    assert sorted(asyncio.run(many())) == [200] * 8 + [503] * 12
