"""Archives of a stranger: only wanted images come out, under names of our own, or nothing is kept."""

import gzip
import hashlib
import io
import re
import stat
import tarfile
import warnings
import zipfile

import pytest

from esrgan_lightning.data.catalog import archives
from esrgan_lightning.data.catalog.archives import check_archive, unpack
from esrgan_lightning.errors import InputError

IMAGES = {"Set/HR/a.png": b"a" * 5000, "Set/HR/b.png": bytes(range(256)) * 30}


def want(path):
    found = re.fullmatch(r"(?:[^/]+/)*HR/(\w+)\.png", path)
    return found and f"HR/{found[1]}.png"


def make_zip(path, files, packing=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", packing) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's own: a name twice
        for name, data in files:
            archive.writestr(name, data)
    return path


def make_tar(path, files, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, data in files:
            entry = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def make(path, files):
    if path.suffix == ".zip":
        return make_zip(path, files)
    return make_tar(path, files, "w" if path.suffix == ".tar" else "w:gz")


@pytest.fixture(params=["a.zip", "a.tar.gz", "a.tar"])
def file(tmp_path, request):
    return tmp_path / request.param


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_only_what_is_wanted_comes_out(file, tmp_path):
    make(
        file, [("README.txt", b"x"), *IMAGES.items(), ("Set/LR/a.png", b"small"), ("__MACOSX/._a.png", b"x")]
    )
    written = list(unpack(file, tmp_path / "out", want))
    assert files_below(tmp_path / "out") == ["HR/a.png", "HR/b.png"]
    for item, (name, data) in zip(written, IMAGES.items(), strict=True):
        assert item.path == name.removeprefix("Set/")
        assert (item.bytes, item.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert (tmp_path / "out" / item.path).read_bytes() == data


def test_the_name_of_the_archive_is_part_of_the_path(file, tmp_path):
    """Some archives hold their images without a folder, and some a folder of the same name as others."""
    make(file, [("HR/a.png", b"x")])
    paths = []
    assert not list(unpack(file, tmp_path / "out", lambda path: paths.append(path)))
    assert paths == ["a/HR/a.png"]


@pytest.mark.parametrize(
    "name", ["/HR/a.png", "../HR/a.png", "x/../../HR/a.png", "C:/HR/a.png", "..\\HR\\a.png"]
)
def test_a_path_that_leads_out_is_refused(file, tmp_path, name):
    make(file, [(name, b"x")])
    with pytest.raises(InputError, match=r"leads out of its folder|outside the destination|absolute path"):
        list(unpack(file, tmp_path / "out", want))
    assert files_below(tmp_path) == [file.name]


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE],
    ids=["symlink", "hardlink", "device", "pipe"],
)
def test_links_and_devices_of_a_tar_are_refused(tmp_path, kind):
    entry = tarfile.TarInfo("HR/a.png")
    entry.type, entry.linkname = kind, "/etc/passwd"
    file = make_tar(tmp_path / "a.tar", [(entry, b"")], "w")
    with pytest.raises(InputError, match=r"no plain file|is a special file|link to"):
        list(unpack(file, tmp_path / "out", want))
    assert files_below(tmp_path) == ["a.tar"]


def test_links_of_a_zip_and_encrypted_members_are_refused(tmp_path):
    entry = zipfile.ZipInfo("HR/a.png")
    entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    file = make_zip(tmp_path / "a.zip", [(entry, b"/etc/passwd")])
    with pytest.raises(InputError, match="no plain file"):
        list(unpack(file, tmp_path / "out", want))
    data = bytearray(make_zip(tmp_path / "b.zip", [("HR/a.png", b"x")]).read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "b.zip").write_bytes(data)
    with pytest.raises(InputError, match="encrypted"):
        list(unpack(tmp_path / "b.zip", tmp_path / "out", want))


def test_a_file_full_of_holes_is_refused(tmp_path):
    """A sparse member of a tar takes no bytes in the archive and any number outside."""
    entry = tarfile.TarInfo("HR/a.png")
    entry.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(10**12)}
    file = make_tar(tmp_path / "a.tar", [(entry, b"0\n".ljust(512, b"\0"))], "w")
    with pytest.raises(InputError, match="no plain file"):
        list(unpack(file, tmp_path / "out", want))


@pytest.mark.parametrize("second", ["Set/HR/a.png", "SET/HR/A.png", "Other/HR/a.png"])
def test_two_files_of_one_name_are_refused(file, tmp_path, second):
    """In two cases of letters they are one file elsewhere; the second would replace what was checked."""
    make(file, [("Set/HR/a.png", b"x"), (second, b"y")])
    with pytest.raises(InputError, match="two files"):
        list(unpack(file, tmp_path / "out", want))


@pytest.mark.parametrize("name", ["HR/a.png", "padding"])
def test_a_bomb_is_stopped_while_it_unpacks(file, tmp_path, monkeypatch, name):
    """A tar.gz is unpacked from end to end, whatever is wanted of it."""
    monkeypatch.setattr(archives, "_SMALL", 1000)
    if file.suffix == ".tar":
        monkeypatch.setattr(archives, "MAX_RATIO", 0.5)  # a plain tar has no ratio
    make(file, [(name, bytes(5_000_000)), ("HR/b.png", b"x")])
    with pytest.raises(InputError, match="times its size"):
        list(unpack(file, tmp_path / "out", want))
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file()) < 3_000_000


@pytest.mark.parametrize("keep", [0.3, 0.8, 0.999])
def test_a_truncated_archive_is_damaged(file, tmp_path, keep):
    """Of a plain tar the end is padding: there the number of images tells what is missing."""
    make(file, [(f"HR/a{i}.png", bytes(range(256)) * 200) for i in range(4)])
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * keep)])
    if file.suffix == ".tar" and keep == 0.999:
        assert len(list(unpack(file, tmp_path / "out", want))) == 4
        return
    with pytest.raises(InputError, match="damaged"):
        list(unpack(file, tmp_path / "out", want))


def test_a_changed_byte_is_found_by_the_checksum(tmp_path):
    file = make_zip(tmp_path / "a.zip", IMAGES.items(), zipfile.ZIP_STORED)
    file.write_bytes(file.read_bytes().replace(b"aaaa", b"aaab", 1))
    with pytest.raises(InputError, match="damaged"):
        list(unpack(file, tmp_path / "out", want))


def test_the_checksum_of_a_gzip_is_read_though_the_tar_ends_before_it(tmp_path):
    file = make_tar(tmp_path / "a.tar.gz", IMAGES.items())
    plain = gzip.decompress(file.read_bytes())
    packed = bytearray(gzip.compress(plain))
    packed[-8] ^= 1  # the CRC-32 in the trailer (RFC 1952, section 2.3.1)
    file.write_bytes(packed)
    with pytest.raises(InputError, match="damaged"):
        list(unpack(file, tmp_path / "out", want))


def test_what_is_no_archive_is_told_by_its_first_bytes(file, tmp_path):
    check_archive(make(file, IMAGES.items()))
    page = tmp_path / "page"
    for content, kind in (
        (b"\n<!doctype html><title>Sign in</title>", "a web page"),
        (b"", "else"),
        (b"RIFF", "else"),
    ):
        page.write_bytes(content)
        with pytest.raises(InputError, match=kind):
            check_archive(page)
