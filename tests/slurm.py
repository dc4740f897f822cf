"""A SLURM of one node on this machine, out of Debian's packages slurm-wlm and munge, for a test."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "sinfo")
PATH = os.environ["PATH"] + ":/usr/sbin"  # where the daemons lie, also for those whose PATH lacks it

_CONFIGURATION = """\
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller}
SlurmdPort={daemon}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
JobAcctGatherType=jobacct_gather/none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=10 State=UP
"""


def missing() -> list[str]:
    """The programs that would be needed and are not there."""
    return [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def one_node() -> Iterator[dict[str, str]]:
    """Starts the daemons, gives the environment in which ``sbatch`` finds them, and ends them."""
    # munge asks that everybody may enter the folders above its socket: pytest's own are closed.
    with tempfile.TemporaryDirectory(prefix="slurm-") as name:
        folder, host = Path(name), socket.gethostname().partition(".")[0]
        folder.chmod(0o755)
        for part in ("state", "spool"):
            (folder / part).mkdir()
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        (folder / "slurm.conf").write_text(
            _CONFIGURATION.format(
                folder=folder,
                host=host,
                user=subprocess.run(["id", "-un"], text=True, capture_output=True, check=True).stdout.strip(),
                controller=_free_port(),
                daemon=_free_port(),
                cores=os.cpu_count(),
            )
        )
        found = {"PATH": PATH, "SLURM_CONF": str(folder / "slurm.conf")}
        files = {kind: folder / f"munge.{kind}" for kind in ("socket", "seed", "pid", "log")}
        munge = [
            f"--{option}={files[kind]}"
            for option, kind in zip(("socket", "seed-file", "pid-file", "log-file"), files, strict=True)
        ]
        commands = (
            ["munged", "--foreground", "--num-threads=10", f"--key-file={key}", *munge],
            ["slurmctld", "-D", "-f", folder / "slurm.conf"],
            ["slurmd", "-D", "-f", folder / "slurm.conf", "-N", host],
        )
        running = []
        try:
            for command in commands:
                with (folder / f"{command[0]}.out").open("wb") as out:
                    running.append(
                        subprocess.Popen(
                            command, env=os.environ | found, stdout=out, stderr=subprocess.STDOUT
                        )
                    )
                time.sleep(0.5)
            _wait_for_node(folder, os.environ | found)
            yield found
        finally:
            for process in reversed(running):
                process.terminate()
                process.wait(timeout=30)


def _wait_for_node(folder: Path, environment: dict[str, str]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        told = subprocess.run(["sinfo", "-h", "-o", "%t"], env=environment, text=True, capture_output=True)
        if told.stdout.strip() == "idle":
            return
        time.sleep(0.5)
    logs = "\n".join(f"{path.name}: {path.read_text()[-800:]}" for path in folder.glob("*.out"))
    raise RuntimeError(f"SLURM has not come up: {told.stderr}\n{logs}")
