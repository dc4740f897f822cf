"""Chunks out of a folder, and out of an S3-compatible server on this machine."""

import os
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

from esrgan_lightning.data import ShardStore, pack, write_shards
from esrgan_lightning.data.degradations import Bicubic
from esrgan_lightning.data.shard_cache import ShardCache
from esrgan_lightning.data.shard_patches import StreamingPatches
from esrgan_lightning.errors import InputError

pytest.importorskip("litdata", reason="object storage is read by litdata: the extra [streaming]")
moto_server = pytest.importorskip("moto.server", reason="the S3-compatible server: moto[server]")


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder, generator = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for index in range(6):
        pixels = generator.integers(0, 256, (150, 150, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    write_shards([pack([folder], folder / "p.safetensors")], folder / "s", tile=112, overlap=64, chunk_mb=0.1)
    return folder / "s"


@pytest.fixture(scope="module")
def server():
    running = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    for key, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(key, value)


@pytest.fixture
def bucket(server, shards):
    """The shards in a bucket, and a way to put another object there."""
    import boto3

    client = boto3.client("s3", endpoint_url=server)
    client.create_bucket(Bucket="photos")
    for path in shards.iterdir():
        client.upload_file(str(path), "photos", f"df2k/{path.name}")
    yield lambda name, body: client.put_object(Bucket="photos", Key=f"df2k/{name}", Body=body)
    for each in client.list_objects_v2(Bucket="photos")["Contents"]:
        client.delete_object(Bucket="photos", Key=each["Key"])
    client.delete_bucket(Bucket="photos")


def patches(store, streams=4):
    return StreamingPatches(store, patch_size=32, scale=4, degradation=Bicubic(), streams=streams)


def remote(server, cache, **settings):
    return ShardStore("s3://photos/df2k", cache_dir=cache, endpoint=server, **settings)


def chunk_files(cache):
    """Downloads in the background make and remove folders meanwhile: os.walk passes over what has gone."""
    found = [Path(folder, name) for folder, _, names in os.walk(cache) for name in names]
    return sorted(path for path in found if path.match("chunk-*.bin"))


def test_object_storage_gives_the_patches_of_the_folder(bucket, server, shards, tmp_path):
    """Breaks if a chunk comes under another's name, or downloads in the background are mixed up."""
    there, here = patches(remote(server, tmp_path)), patches(ShardStore(shards))
    for update in range(60):
        numbers = range(4 * update, 4 * update + 4)
        assert torch.equal(there.raw(numbers)["hr"], here.raw(numbers)["hr"])
    assert len(chunk_files(tmp_path)) == len(here.store.index.chunks)
    assert there.digest() == here.digest()
    assert not list(Path(tmp_path).rglob("coming-*"))


def test_what_is_in_the_cache_is_not_downloaded_again(bucket, server, tmp_path):
    patches(remote(server, tmp_path)).raw(range(40))
    for path in chunk_files(tmp_path):
        bucket(path.name, b"changed since")
    patches(remote(server, tmp_path)).raw(range(40))


def test_the_endpoint_may_come_from_the_environment(bucket, server, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    assert ShardStore("s3://photos/df2k/", cache_dir=tmp_path).chunk(0).tile(0).pixels.shape[2] == 3


def size(path):
    try:
        return path.stat().st_size
    except FileNotFoundError:  # taken to its place, or deleted, in the meantime
        return 0


def test_the_cache_stays_within_its_size(bucket, server, shards, tmp_path):
    """Breaks if nothing is deleted, or what is needed next is."""
    largest = max(path.stat().st_size for path in shards.glob("chunk-*.bin"))
    assert len(list(shards.glob("chunk-*.bin"))) > 6
    store, here = (
        remote(server, tmp_path, max_cache=4 * largest / 1e9),
        patches(ShardStore(shards), streams=2),
    )
    small = patches(store, streams=2)
    most = 0
    for update in range(150):
        numbers = range(2 * update, 2 * update + 2)
        assert torch.equal(small.raw(numbers)["hr"], here.raw(numbers)["hr"])
        # Held while room is made: a file that goes and the one that takes its place are not both counted.
        with FileLock(next(tmp_path.rglob(".lock"))):
            most = max(most, sum(size(path) for path in chunk_files(tmp_path)))
    assert 2 * largest < most <= 4 * largest


def test_a_cache_that_is_too_small_is_refused(bucket, server, tmp_path):
    with pytest.raises(InputError, match=r"data.max_cache=0\.0001 GB is too little for s3://photos/df2k"):
        patches(remote(server, tmp_path, max_cache=0.0001))


def test_the_chunk_opened_longest_ago_goes_first(tmp_path):
    cache = ShardCache(tmp_path, 30)
    for name in ("a", "b", "c"):
        path = cache.get(name, 10, lambda to: to.write_bytes(bytes(10)))
        os.utime(path, (time.time() - 100 + ord(name),) * 2)
    cache.get("a", 10, lambda to: pytest.fail("it is there"))
    (tmp_path / "coming-1").mkdir()
    (tmp_path / "coming-1/room").write_bytes(bytes(10))  # another process is at it
    (tmp_path / "coming-2").mkdir()
    (tmp_path / "coming-2/room").write_bytes(bytes(10))
    os.utime(tmp_path / "coming-2/room", (0, 0))  # left by one that was killed
    cache.get("f", 10, lambda to: to.write_bytes(bytes(10)))
    left = {path.name for path in tmp_path.rglob("*") if path.is_file() and not path.name.endswith("lock")}
    assert left == {"a", "room", "f"}
    assert not (tmp_path / "coming-2").exists()


def _open_all(server, cache, queue):
    store = remote(server, cache)
    queue.put([store.chunk(n).tile(0).name for n in range(len(store.index.chunks))])


def test_processes_share_the_cache(bucket, server, shards, tmp_path, monkeypatch):
    """Breaks if two that want the same chunk write over each other, or wait for ever."""
    context = get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=_open_all, args=(server, tmp_path, queue)) for _ in range(3)]
    for process in processes:
        process.start()
    found = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    store = ShardStore(shards)
    assert found == [[store.chunk(n).tile(0).name for n in range(len(store.index.chunks))]] * 3
    assert len(chunk_files(tmp_path)) == len(store.index.chunks)


@pytest.mark.parametrize("body", [b"", b"short", None])
def test_a_damaged_chunk_in_object_storage_is_named_and_not_kept(bucket, server, shards, tmp_path, body):
    whole = (shards / "chunk-0-2.bin").read_bytes()
    bucket("chunk-0-2.bin", whole[:-1] + bytes([whole[-1] ^ 1]) if body is None else body)
    store = remote(server, tmp_path)
    store.chunk(1)
    with pytest.raises(InputError, match=r"s3://photos/df2k/chunk-0-2.bin is damaged"):
        store.chunk(2)
    store.prefetch([2])
    with pytest.raises(InputError, match=r"s3://photos/df2k/chunk-0-2.bin is damaged"):
        store.chunk(2)
    bucket("chunk-0-2.bin", whole)
    assert store.chunk(2).tile(0)


@pytest.mark.parametrize("how", ["missing", "empty", "short", "changed"])
def test_a_damaged_chunk_of_a_folder_is_named(shards, tmp_path, how):
    for path in shards.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    path = tmp_path / "chunk-0-2.bin"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    change = {"empty": b"", "short": data[:-1], "changed": data}.get(how)
    path.unlink() if change is None else path.write_bytes(change)
    store = ShardStore(tmp_path)
    store.chunk(1)
    with pytest.raises(InputError, match=r"chunk-0-2.bin is (damaged|missing)"):
        store.chunk(2)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://photos/nothing", r"s3://photos/nothing/index.json cannot be read: ClientError"),
        ("s3://elsewhere/df2k", r"s3://elsewhere/df2k/index.json cannot be read: ClientError"),
        ("http://127.0.0.1/df2k", r"data.url=http://127.0.0.1/df2k: give a folder, or .* s3://"),
        ("/nowhere/at/all", r"/nowhere/at/all/index.json is missing"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(bucket, server, tmp_path, url, message):
    with pytest.raises(InputError, match=message):
        ShardStore(url, cache_dir=tmp_path, endpoint=server)


def test_without_credentials_the_address_is_named(server, tmp_path, monkeypatch):
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(key)
    with pytest.raises(InputError, match=r"s3://photos/df2k/index.json cannot be read: NoCredentialsError"):
        remote(server, tmp_path)


def test_a_server_that_is_not_there_is_no_endless_wait(tmp_path):
    """Breaks with litdata's own settings: a thousand attempts."""
    with pytest.raises(InputError, match=r"s3://photos/df2k/index.json cannot be read: EndpointConnection"):
        remote("http://127.0.0.1:9", tmp_path)


def test_without_litdata_the_command_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "litdata.streaming.downloader", None)
    with pytest.raises(InputError, match=r'pip install "esrgan-lightning\[streaming\]"'):
        ShardStore("s3://photos/df2k", cache_dir=tmp_path)
