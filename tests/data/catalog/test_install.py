"""From a mirror to a folder of images: all of it or nothing, and what is there is known and looked after."""

import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from tiny_source import HR, LR, at, png, source, zipped

from esrgan_lightning.data.catalog import install as module
from esrgan_lightning.data.catalog.install import install, installed, require, verify
from esrgan_lightning.data.catalog.sources import Archive, Offer, sources
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops.download import Patience

HASTY = Patience(connect=2, stall=1, tries=1, pause=0.01)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


@pytest.fixture
def there(server, root):
    """A source that was installed."""
    tiny = source(at(server.serve("tiny.zip", zipped({**HR, **LR}))))
    install(tiny, root, patience=HASTY)
    return tiny


def below(root):
    return sorted(path.name for path in root.iterdir() if path.name not in ("archives", ".esrgan-data.lock"))


def test_images_and_a_record_of_them_are_there(server, root):
    data = zipped({**HR, **LR, "top/readme.txt": b"x"})
    url = server.serve("tiny.zip", data)
    tiny = source(at(url))
    assert install(tiny, root, patience=HASTY) == [root / "archives" / "tiny.zip"]
    assert installed(root, tiny) == root / "Tiny"
    for name, content in HR.items():
        assert (root / "Tiny/HR" / name.rpartition("/")[2]).read_bytes() == content
    assert len(list((root / "Tiny/LRbicx2").iterdir())) == 3
    record = json.loads((root / "Tiny/source.json").read_text())
    assert record["archives"] == [
        {"file": "tiny.zip", "url": url, "sha256": hashlib.sha256(data).hexdigest()}
    ]
    first = next(file for file in record["files"] if file["path"] == "HR/a.png")
    content = HR["top/hr/a.png"]
    assert first == {
        "path": "HR/a.png",
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    assert (record["licence"], record["citation"]) == ("CC0", "nobody 2000")


def test_several_archives_together_are_one_source(server, root):
    parts = [{name: data} for name, data in HR.items()]
    archives = tuple(
        Archive(f"part{i}.zip", (server.serve(f"part{i}.zip", zipped(part)),)) for i, part in enumerate(parts)
    )
    install(source(Offer(archives)), root, patience=HASTY)
    assert len(list((root / "Tiny/HR").iterdir())) == 3


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"readme": b"x"}, "0 images for HR, not 3"),
        (dict(list(HR.items())[:2]), "2 images for HR, not 3"),
        ({**HR, **dict(list(LR.items())[:2])}, "2 images for LRbicx2, not 3"),
        ({**HR, "top/hr/d.png": png(21, 31)}, "4 images for HR"),
        ({**HR, "top/hr/c.png": png(21, 99)}, "longer side is 99, not 30 to 35"),
        ({**HR, **LR, "top/lr/c.png": png(11, 15)}, r"its HR asks for \(10, 15\)"),
        ({**HR, "top/hr/c.png": b"no image"}, "not a readable image"),
    ],
    ids=["none", "few", "few-lr", "many", "size", "lr-size", "content"],
)
def test_an_archive_with_other_images_falls_over_and_leaves_nothing(server, root, files, told):
    wrong = at(server.serve("wrong.zip", zipped(files)), "wrong.zip")
    with pytest.raises(InputError, match=told):
        install(source(wrong), root, patience=HASTY)
    assert below(root) == []
    assert not list((root / "archives").iterdir()), "the wrong archive would be found by the next attempt"
    right = at(server.serve("tiny.zip", zipped(HR)))
    install(source(wrong, right), root, patience=HASTY)
    assert below(root) == ["Tiny"]


def test_a_web_page_in_place_of_an_archive_is_the_mirrors_fault(server, root):
    page, good = server.serve("page", b"<html>"), server.serve("tiny.zip", zipped(HR))
    install(source(Offer((Archive("tiny.zip", (page, good)),))), root, patience=HASTY)
    assert json.loads((root / "Tiny/source.json").read_text())["archives"][0]["url"] == good


def test_when_nothing_delivers_the_message_says_what_to_put_where(server, root):
    tiny = source(at(server.url("gone")), by_hand="write to the authors")
    with pytest.raises(InputError) as caught:
        install(tiny, root, patience=HASTY)
    for part in (
        server.url("gone"),
        "HTTP 404",
        "https://example.org",
        "write to the authors",
        "tiny.zip",
        str(root / "archives"),
    ):
        assert part in str(caught.value)


def test_an_archive_put_there_by_hand_is_taken(root):
    (root / "archives").mkdir(parents=True)
    (root / "archives/tiny.zip").write_bytes(zipped(HR))
    assert install(source(), root) == [], "what a user brought is not ours to take away"
    assert installed(root, source()) == root / "Tiny"


def test_a_folder_of_the_users_own_is_not_touched(root):
    (root / "tiny/HR").mkdir(parents=True)
    (root / "tiny/HR/a.png").write_bytes(png(21, 31))
    with pytest.raises(InputError, match="move it away"):
        install(source(), root)
    for name in "bc":
        (root / f"tiny/HR/{name}.png").write_bytes(png(21, 31))
    assert installed(root, source()) == root / "tiny", "the whole of it counts as there"
    assert verify(source(), root / "tiny") == []


def test_a_disk_too_small_to_unpack_is_told(root, monkeypatch):
    (root / "archives").mkdir(parents=True)
    (root / "archives/tiny.zip").write_bytes(zipped(HR))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10))
    with pytest.raises(InputError, match="make room"):
        install(source(), root)
    assert below(root) == []


def test_two_at_once_do_not_mix_their_files(root):
    """Breaks if the second process unpacks, too, or takes the folder of the first for a stranger's."""
    (root / "archives").mkdir(parents=True)
    (root / "archives/tiny.zip").write_bytes(zipped(HR))
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: install(source(), root), range(2))) == [[], []]
    assert verify(source(), root / "Tiny") == []


def test_what_a_broken_unpacking_left_plays_no_part(root, monkeypatch):
    """Breaks if anything stands under the final name before it is whole, or is taken over from the break."""
    (root / "archives").mkdir(parents=True)
    (root / "archives/tiny.zip").write_bytes(zipped(HR))

    @contextmanager
    def bars():
        def power_cut(what, done, total, unit):
            if unit == "images" and done == 2:
                raise KeyboardInterrupt

        yield power_cut

    with monkeypatch.context() as patched:
        patched.setattr(module, "bars", bars)
        with pytest.raises(KeyboardInterrupt):
            install(source(), root)
    assert below(root) == [".Tiny.unpacking"]
    assert installed(root, source()) is None
    (root / ".Tiny.unpacking/HR/old.png").write_bytes(png(21, 31))
    install(source(), root)
    assert below(root) == ["Tiny"]
    assert verify(source(), root / "Tiny") == []


def test_verify_names_each_broken_file(there, root):
    assert verify(there, root / "Tiny") == []
    (root / "Tiny/HR/a.png").unlink()
    (root / "Tiny/HR/b.png").write_bytes(png(21, 31, 7)[:-1] + b"x")
    (root / "Tiny/LRbicx2/c.png").write_bytes(b"")
    (root / "Tiny/HR/more.png").write_bytes(png(21, 31))
    faults = verify(there, root / "Tiny")
    assert len(faults) == 4
    for fault, told in zip(
        faults,
        ["a.png is missing", "b.png", "more.png did not come", "c.png has another content"],
        strict=True,
    ):
        assert told in fault


def test_verify_reads_the_pixels_where_no_hash_is_known(root):
    """A truncated PNG has a sound header."""
    (root / "Tiny/HR").mkdir(parents=True)
    for name in "abc":
        (root / f"Tiny/HR/{name}.png").write_bytes(png(21, 31))
    (root / "Tiny/HR/b.png").write_bytes(png(21, 31)[:700])
    faults = verify(source(), root / "Tiny")
    assert len(faults) == 1
    assert "b.png is not a readable image" in faults[0]


def test_what_is_not_whole_is_not_installed(there, root):
    assert installed(root, there) == root / "Tiny"
    (root / "Tiny/HR/a.png").write_bytes(b"short")
    assert installed(root, there) is None
    (root / "Tiny/source.json").write_text('{"files": [{"path": "../../etc/passwd"}]}')
    with pytest.raises(InputError, match=r"source.json is damaged"):
        installed(root, there)
    assert "damaged" in verify(there, root / "Tiny")[0]


def test_records_with_further_facts_are_read(there, root):
    """Breaks if sets that an earlier version installed, whose records tell of heights, are got again."""
    record = root / "Tiny/source.json"
    content = json.loads(record.read_text("utf-8"))
    content["files"] = [{**file, "height": 21, "width": 31} for file in content["files"]]
    record.write_text(json.dumps(content))
    assert installed(root, there) == root / "Tiny"
    assert verify(there, root / "Tiny") == []


def test_require_gives_the_folders_in_order_or_the_command(there, root, server, monkeypatch):
    other = source(
        at(server.serve("o.zip", zipped(HR)), "o.zip"), name="other", title="Other", folder="Other"
    )
    monkeypatch.setattr(module, "sources", lambda: {"tiny": there, "other": other})
    assert require(root, ["tiny"]) == [root / "Tiny/HR"]
    with pytest.raises(InputError, match=f"Other.*esrgan data get other --root {root}$"):
        require(root, ["other", "tiny"])
    assert require(root, ["other", "tiny"], download=True) == [root / "Other/HR", root / "Tiny/HR"]
    with pytest.raises(InputError, match="there are"):
        require(root, ["nothing"])


def test_nothing_is_installed_where_there_is_no_root(tmp_path):
    assert all(installed(tmp_path / "none", source) is None for source in sources().values())
