"""``data=streaming`` as a user trains with it: on two processes, out of object storage, and resumed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
from pytorch_lightning.callbacks import Callback

from esrgan_lightning.config import compose
from esrgan_lightning.data import Shards, pack, write_shards
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import write_image
from esrgan_lightning.training import train
from esrgan_lightning.weights import read_generator_file

pytest.importorskip("litdata", reason="shards are written and read by litdata: the extra [streaming]")
moto_server = pytest.importorskip("moto.server", reason="the S3-compatible server: moto[server]")

SCRIPT = Path(sys.executable).with_name("esrgan-train")
SETTINGS = (
    *("stage=psnr", *tiny.PSNR, "data=streaming", "data.batch_size=4", "trainer.precision=32"),
    *("schedule=constant", "trainer.max_updates=6", "trainer.checkpoint_interval=2"),
)
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": "127.0.0.1",
}


class Seen(Callback):
    """Which batches training looked at, told by the sum of their values."""

    def __init__(self):
        self.sums = []

    def on_train_batch_start(self, trainer, stage, batch, batch_idx):
        self.sums.append(batch["hr"].double().sum().item())


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with photos for validation, and shards of others."""
    home = tmp_path_factory.mktemp("home")
    generator = torch.Generator().manual_seed(0)
    for name, side, count in (("train", 160, 5), ("val", 48, 2)):
        for number in range(count):
            noise = torch.rand(1, 3, side // 8, side // 8, generator=generator)
            image = torch.nn.functional.interpolate(noise, (side, side), mode="bicubic").clamp(0, 1)
            (home / name).mkdir(exist_ok=True)
            write_image(home / f"{name}/{number}.png", (image[0] * 255).round().to(torch.uint8))
    write_shards(
        [pack([home / "train"], home / "p.safetensors")], home / "shards", tile=112, overlap=64, chunk_mb=0.1
    )
    return home


pytestmark = pytest.mark.usefixtures("one_thread")


def places(home):
    return f"data.url={home / 'shards'}", f"data.val_dir={home / 'val'}"


@pytest.fixture(scope="module")
def alone(home, tmp_path_factory):
    """The run in one process, out of the folder, without interruption."""
    run, seen = tmp_path_factory.mktemp("alone") / "run", Seen()
    train(compose(*SETTINGS, *places(home)), run, callbacks=[seen])
    return read_generator_file(run / "generator.safetensors").state, seen.sums


def test_a_resumed_run_sees_what_an_uninterrupted_one_does(home, alone, tmp_path):
    """Breaks if the shards begin anew; they have moved in between."""
    first, rest = Seen(), Seen()
    train(compose(*SETTINGS, *places(home), "trainer.max_updates=4"), tmp_path / "run", callbacks=[first])
    shutil.copytree(home / "shards", tmp_path / "elsewhere")
    again = (*SETTINGS, *places(home), f"data.url={tmp_path / 'elsewhere'}", "resume=last")
    train(compose(*again), tmp_path / "run", callbacks=[rest])
    assert first.sums + rest.sums == alone[1]
    state = read_generator_file(tmp_path / "run/generator.safetensors").state
    assert all(torch.equal(state[name], tensor) for name, tensor in alone[0].items())


@pytest.mark.slow
def test_two_processes_train_on_shards(home, tmp_path):
    """Breaks if two ranks disagree about the end."""
    strange = ("LOCAL_RANK", "RANK", "WORLD_SIZE", "MASTER_", "NODE_RANK", "AWS_")
    env = {key: value for key, value in os.environ.items() if not key.startswith(strange)}
    done = subprocess.run(
        [
            *(SCRIPT, "name=two", *SETTINGS, *places(home), "data.num_workers=1"),
            *("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"),
        ],
        cwd=tmp_path,
        env=env | {"OMP_NUM_THREADS": "1"},
        text=True,
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert (tmp_path / "runs/two/generator.safetensors").is_file()


def test_a_bucket_trains_as_its_folder(home, alone, tmp_path, bucket, monkeypatch):
    """The server has no TLS, which litdata's faster client insists on."""
    monkeypatch.setattr("litdata.streaming.downloader._OBSTORE_AVAILABLE", False)
    seen = Seen()
    where = ("data.url=s3://photos/shards", f"data.endpoint={bucket}", f"data.cache_dir={tmp_path / 'cache'}")
    train(compose(*SETTINGS, *places(home)[1:], *where), tmp_path / "run", callbacks=[seen])
    assert seen.sums == alone[1]
    # Shards that are written anew take the place of what the cache holds.
    write_shards([home / "p.safetensors"], tmp_path / "again", tile=104, overlap=64, chunk_mb=0.1)
    upload(bucket, tmp_path / "again")
    found = Shards("s3://photos/shards", tmp_path / "cache", endpoint=bucket).digest
    assert found == Shards(tmp_path / "again").digest != Shards(home / "shards").digest
    # One that would lead out of the cache is refused before litdata follows it.
    (tmp_path / "bad").mkdir()
    index = json.loads((tmp_path / "again/index.json").read_text()) | {"updated_at": "../../../x"}
    (tmp_path / "bad/index.json").write_text(json.dumps(index))
    upload(bucket, tmp_path / "bad")
    with pytest.raises(InputError, match=r"updated_at='\.\./\.\./\.\./x'"):
        Shards("s3://photos/shards", tmp_path / "cache", endpoint=bucket)
    assert not list(tmp_path.rglob("x"))


def upload(address, shards):
    import boto3

    client = boto3.client("s3", endpoint_url=address)
    for path in shards.iterdir():
        client.upload_file(str(path), "photos", f"shards/{path.name}")


@pytest.fixture
def bucket(home, monkeypatch):
    """The address of a server that has the shards in the bucket "photos"."""
    import boto3

    for key, value in CREDENTIALS.items():
        monkeypatch.setenv(key, value)
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    boto3.client("s3", endpoint_url=address).create_bucket(Bucket="photos")
    upload(address, home / "shards")
    yield address
    server.stop()
