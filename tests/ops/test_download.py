"""Every way in which a server was seen to fail: what arrives under the final name is whole and right."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.download import Expected, Patience, download

DATA = bytes(range(256)) * 4000  # about 1 MB
SHA256 = hashlib.sha256(DATA).hexdigest()
HASTY = Patience(connect=2, stall=0.3, tries=2, pause=0.01)
EXPECTED = ("sha256", "md5", "size", "limit", "check")


def get(urls, target, **options):
    expected = Expected(**{key: options.pop(key) for key in EXPECTED if key in options})
    return download(
        [urls] if isinstance(urls, str) else urls, target, expected, **{"patience": HASTY} | options
    )


@pytest.fixture
def target(tmp_path):
    return tmp_path / "archives" / "a.zip"


def interrupted(server, target, data, **faults):
    """The address of a file of which 100,000 bytes have arrived, before the server went away."""
    url = server.serve("a", data, cut=[100_000], status=[200, 404], **faults)
    with pytest.raises(InputError, match="404"):
        get(url, target)
    assert target.with_name("a.zip.partial").stat().st_size == 100_000
    return url


def only(target):
    """Nothing but the file itself lies in its folder."""
    return target.read_bytes() == DATA and [path.name for path in target.parent.iterdir()] == [target.name]


def nothing(target):
    return not target.exists()


def test_a_file_arrives_whole_and_tells_how_far_it_is(server, target):
    seen = []
    url = server.serve("a", DATA)
    got = get(
        url,
        target,
        sha256=SHA256,
        md5=hashlib.md5(DATA).hexdigest(),
        size=len(DATA),
        progress=lambda *a: seen.append(a),
    )
    assert (got.path, got.sha256, got.url) == (target, SHA256, url)
    assert only(target)
    assert seen[-1] == (len(DATA), len(DATA))
    assert seen == sorted(seen)


BREAKS = {"cut": [100_000, 150_000, 90_000, 120_000, None]}
STARTS = [None, "bytes=100000-", "bytes=250000-", "bytes=340000-", "bytes=460000-"]
ONCE = {"cut": [100_000, None]}


@pytest.mark.parametrize(
    ("faults", "starts"),
    [
        # Attempts that bring something new are no failures: there are more than HASTY has.
        (BREAKS, STARTS),
        (BREAKS | {"etag": None, "modified": "Sat, 01 Jan 2022 00:00:00 GMT"}, STARTS),
        # Two halves could be of two versions, and no hash may be there to tell.
        (ONCE | {"etag": None}, [None, None]),
        (ONCE | {"etag": 'W/"weak"'}, [None, None]),
        # A 200 in answer to a range request is the whole file: appended it would double the beginning.
        (ONCE | {"ranges": False}, STARTS[:2]),
        (ONCE | {"shift": 5}, [*STARTS[:2], None]),
        (ONCE | {"stall": True}, STARTS[:2]),
        ({"chunked": True, "cut": [5000, None]}, [None, "bytes=5000-"]),
        ({"status": [503, 200]}, [None, None]),
    ],
)
def test_a_transfer_that_breaks_is_continued_or_starts_anew(server, target, faults, starts):
    faults = {name: list(value) if isinstance(value, list) else value for name, value in faults.items()}
    get(server.serve("a", DATA, **faults), target)
    assert only(target)
    assert [asked for _, asked in server.requests] == starts


@pytest.mark.parametrize(
    ("tags", "faults", "expected"),
    [
        (('"old"', '"new"'), {}, {}),
        (('"old"', '"new"'), {"forget": True}, {}),  # the server ignores If-Range; its ETag differs
        (('"same"', '"same"'), {}, {"sha256": SHA256}),  # the hash alone tells
    ],
)
def test_a_file_that_changed_in_between_starts_anew(server, target, tags, faults, expected):
    url = interrupted(server, target, b"x" * len(DATA), etag=tags[0])
    server.serve("a", DATA, etag=tags[1], **faults)
    get(url, target, **expected)
    assert only(target)


def test_a_range_that_the_server_cannot_satisfy_starts_anew(server, target):
    url = interrupted(server, target, DATA, etag='"same"')
    server.serve("a", DATA[:1000], etag='"same"')
    get(url, target)
    assert target.read_bytes() == DATA[:1000]


def no_page(path):
    if path.read_bytes().startswith(b"<html>"):
        raise InputError("a web page")


@pytest.mark.parametrize(
    ("data", "faults", "expected"),
    [
        (DATA, {"length": len(DATA) + 5000}, {}),  # the rest never comes
        (DATA, {"length": 10}, {"sha256": SHA256}),
        (DATA[::-1], {}, {"sha256": SHA256}),
        (b"<html>sign in", {}, {"check": no_page}),
    ],
)
def test_a_mirror_with_wrong_bytes_falls_over_to_the_next(server, target, data, faults, expected):
    bad, good = server.serve("a", data, **faults), server.serve("b", DATA)
    assert get([bad, good], target, **expected).url == good
    assert only(target)


@pytest.mark.parametrize("status", [404, 403, 410])
def test_what_another_try_cannot_change_is_tried_once(server, target, status):
    bad, good = server.serve("a", DATA, status=[status]), server.serve("b", DATA)
    assert get([bad, good], target).url == good
    assert [path for path, _ in server.requests] == ["/a", "/b"]


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"md5": "0" * 32}, {"size": 5}])
def test_wrong_bytes_are_never_under_the_final_name(server, target, wrong):
    with pytest.raises(InputError, match="expected"):
        get(server.serve("a", DATA), target, **wrong)
    assert nothing(target)


@pytest.mark.parametrize("length", [None, 10**9])
def test_more_than_the_limit_is_refused(server, target, length):
    with pytest.raises(InputError, match="limit of 500000"):
        get(server.serve("a", DATA, chunked=length is None, length=length), target, limit=500_000)
    assert nothing(target)


def test_redirects_are_followed_to_http_alone(server, target, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    server.serve("moved", b"", status=[302], location="/a")
    server.serve("file", b"", status=[302], location=secret.as_uri())
    server.serve("loop", b"", status=[302], location="/loop")
    server.serve("a", DATA)
    with pytest.raises(InputError, match=r"No connection adapters(.|\n)*redirects"):
        get([server.url("file"), server.url("loop")], target)
    assert nothing(target)
    get(server.url("moved"), target)
    assert only(target)


def test_when_all_mirrors_fail_each_is_named_with_its_fault_and_the_way_out(server, target):
    dead = "http://127.0.0.1:9/gone.zip"  # the discard port: nobody listens
    urls = [dead, server.url("missing"), server.serve("down", DATA, status=[500])]
    with pytest.raises(InputError) as caught:
        get(urls, target)
    message = str(caught.value)
    for part in (*urls, "HTTP 404", "HTTP 500", str(target), "by hand"):
        assert part in message


def test_a_file_put_there_by_hand_is_taken_after_the_same_checks(server, target):
    target.parent.mkdir()
    target.write_bytes(DATA)
    got = get(server.serve("a", b"other"), target, sha256=SHA256)
    assert (got.sha256, got.url, server.requests) == (SHA256, None, [])
    with pytest.raises(InputError, match=r"a\.zip is not the right file"):
        get(server.url("a"), target, sha256="0" * 64)
    assert target.read_bytes() == DATA, "what a user put there is not taken away"


def test_a_disk_that_is_too_small_is_told_before_the_data_comes(server, target, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(InputError, match="GB are free: make room"):
        get(server.serve("a", DATA), target)
    assert nothing(target)


def test_a_partial_file_keeps_its_mirror(server, target):
    """Fails if the first mirror overwrites what the second has already delivered."""
    second = server.serve("b", DATA, cut=[400_000], status=[200, 404])
    with pytest.raises(InputError):
        get([server.url("a"), second], target)
    server.serve("a", DATA)
    server.serve("b", DATA)
    server.requests.clear()
    assert get([server.url("a"), second], target).url == second
    assert server.requests == [("/b", "bytes=400000-")]


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"url": 1}'])
def test_a_damaged_note_means_a_fresh_start(server, target, note):
    target.parent.mkdir()
    target.with_name("a.zip.partial").write_bytes(b"x" * 1000)
    target.with_name("a.zip.partial.json").write_bytes(note)
    get(server.serve("a", DATA), target)
    assert only(target)


def test_killed_in_the_middle_and_started_again(server, target):
    """A kill -9 leaves nothing under the final name, and the second run asks for the rest alone."""
    url = server.serve("a", DATA, cut=[600_000, None], stall=True)
    code = "import sys, pathlib; from esrgan_lightning.ops.download import download; "
    code += "download([sys.argv[1]], pathlib.Path(sys.argv[2]))"
    process = subprocess.Popen([sys.executable, "-c", code, url, str(target)])
    partial = target.with_name("a.zip.partial")
    deadline = time.monotonic() + 60
    while not (partial.exists() and partial.stat().st_size == 600_000) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert nothing(target)
    assert json.loads(Path(f"{partial}.json").read_text())["url"] == url
    get(url, target, sha256=SHA256)
    assert server.requests[-1] == ("/a", "bytes=600000-")
    assert only(target)
