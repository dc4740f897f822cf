"""Requests of other names, of other sites and beyond the quota do not reach the page."""

import asyncio

import pytest

pytest.importorskip("starlette", reason="the extra ui is not installed")
from esrgan_lightning.ops.hosts import OwnHosts
from esrgan_lightning.ui.guard import Guard


def status(guard, *, method="GET", path="/", **headers):
    scope = {
        "type": "http", "method": method, "path": path, "query_string": b"",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(guard(scope, receive, send))
    return sent[0]["status"]


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
        guard, answers = guarded(tmp_path, behind=gate.wait), []

        async def one():
            sent = []
            headers = [(b"host", b"localhost"), (b"content-length", b"1")]
            scope = {"type": "http", "method": "POST", "path": "/upload", "headers": headers}

            async def send(message):
                sent.append(message)

            await guard(scope, None, send)
            answers.append(sent[0]["status"])

        tasks = [asyncio.create_task(one()) for _ in range(20)]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*tasks)
        return answers

    answers = asyncio.run(many())
    assert sorted(answers) == [200] * 8 + [503] * 12
