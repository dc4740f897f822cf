"""What pyproject.toml cannot say: with SOURCE_DATE_EPOCH an sdist has the same bytes wherever it is built."""

import gzip
import os
import tarfile
from pathlib import Path
from typing import Any

from setuptools import setup
from setuptools.command.sdist import sdist


class ReproducibleSdist(sdist):
    """Files in the order of their names, with the time of SOURCE_DATE_EPOCH and nobody's name on them."""

    def make_archive(self, base_name: str, format: str, *args: Any, **kwargs: Any) -> str:
        """Writes ``base_name``.tar.gz of the folder ``base_dir``."""
        epoch = os.environ.get("SOURCE_DATE_EPOCH")
        if format != "gztar" or epoch is None:
            return super().make_archive(base_name, format, *args, **kwargs)

        def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
            member.mtime, member.uid, member.gid, member.uname, member.gname = int(epoch), 0, 0, "", ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            return member

        name = f"{base_name}.tar.gz"
        with (
            Path(name).open("wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=int(epoch)) as packed,
            tarfile.open(fileobj=packed, mode="w") as archive,
        ):
            for path in sorted(Path(kwargs["base_dir"]).rglob("*")):
                archive.add(path, recursive=False, filter=anonymous)
        return name


setup(cmdclass={"sdist": ReproducibleSdist})
