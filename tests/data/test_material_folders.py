"""Layouts of materials: what is found in them, what is held out, and one clear error for each fault."""

import shutil

import pytest
from textures import CLASSES, write_minc, write_textures

from esrgan_lightning.data import materials
from esrgan_lightning.data.material_folders import class_folders, minc_folder
from esrgan_lightning.errors import InputError


@pytest.fixture(scope="module")
def minc_at(tmp_path_factory):
    return write_minc(tmp_path_factory.mktemp("minc-2500"))


@pytest.fixture
def minc(minc_at, tmp_path):
    return shutil.copytree(minc_at, tmp_path / "minc")


@pytest.fixture
def plain(tmp_path):
    return write_textures(tmp_path / "plain", 5)


@pytest.mark.parametrize("split", [1, 5])
def test_minc_is_read_by_its_lists(minc_at, split):
    """Breaks if a part is read for another, a split for another, or a label does not fit its folder."""
    found = minc_folder(minc_at, split)
    assert found.classes == CLASSES
    parts = {"train": found.train, "validate": found.val, "test": found.test}
    for part, images in parts.items():
        lines = (minc_at / f"labels/{part}{split}.txt").read_text().splitlines()
        assert [name for name, _ in images] == lines
        assert all(name.split("/")[1] == CLASSES[label] for name, label in images)
    assert [len(images) for images in parts.values()] == [16, 4, 4]


def test_some_of_each_class_are_held_out_wherever_the_folder_lies(plain, tmp_path):
    """Breaks if the choice depends on the place or the order of the files, or leaves a class without any."""
    found = class_folders(plain, val_share=0.4)
    assert found.classes == CLASSES
    assert [label for _, label in found.val] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert len(found.train) == 12
    assert not set(found.train) & set(found.val)
    moved = class_folders(plain.rename(tmp_path / "moved"), val_share=0.4)
    assert (moved.train, moved.val) == (found.train, found.val)
    assert class_folders(moved.root, val_share=0.4, seed=1).val != found.val
    assert len(class_folders(moved.root, val_share=0.01).val) == 4


def test_given_parts_are_taken_as_they_are(tmp_path):
    for part, first in (("train", 0), ("val", 3), ("test", 5)):
        write_textures(tmp_path / part, 2, first=first)
    found = class_folders(tmp_path)
    assert found.classes == CLASSES
    assert found.val[0] == ("val/checks/checks_000003.jpg", 0)
    assert [len(part) for part in (found.train, found.val, found.test)] == [8, 8, 8]


def test_the_hash_is_of_names_classes_and_sizes(plain):
    """Breaks if a resumed run does not notice that its images are others."""
    before = class_folders(plain).digest()
    assert class_folders(plain).digest() == before
    found = class_folders(plain)
    with (plain / found.train[0][0]).open("ab") as file:
        file.write(b"\0")
    assert class_folders(plain).digest() != before


def one_class(root):
    for name in CLASSES[1:]:
        shutil.rmtree(root / name)


def one_image(root):
    for path in sorted((root / "noise").iterdir())[1:]:
        path.unlink()


def alone(root):
    shutil.copytree(root / "dots", root / "train/dots")


def unlike(root):
    shutil.copytree(root / "dots", root / "train/dots")
    shutil.copytree(root / "noise", root / "val/noise")


def as_minc(root):
    for name in ("images", "labels"):
        (root / name).mkdir()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (one_class, r"has one class alone \(checks\)"),
        (one_image, "no image for training of the class noise"),
        (alone, "has train alone: give both train and val, or neither"),
        (unlike, "train and val differ in the class dots, noise"),
        (as_minc, "give data=minc"),
        (shutil.rmtree, r"plain is no folder: give one that has a folder for each class"),
        (lambda root: [shutil.rmtree(path) for path in root.iterdir()], "plain has no folder inside"),
    ],
)
def test_a_wrong_folder_is_told(plain, fault, words):
    fault(plain)
    with pytest.raises(InputError, match=words):
        class_folders(plain)


def added(name, line):
    def fault(root):
        with (root / name).open("a") as file:
            file.write(f"{line}\n")

    return fault


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda root: (root / "labels/train1.txt").unlink(), r"train1\.txt is missing; give the folder"),
        (lambda root: (root / "labels/validate1.txt").write_text(""), "no image for validation of the class"),
        (added("labels/train1.txt", "images/dots/dots_000001.jpg"), "listed twice: images/dots/dots_000001"),
        (added("labels/train1.txt", "images/dots/gone.jpg"), r"1 of 25 listed images are missing: .*gone"),
        (added("labels/test1.txt", "images/../../secret.jpg"), r"is not images/CLASS/FILE"),
        (added("labels/test1.txt", "images/dots/a\\..\\b.jpg"), r"is not images/CLASS/FILE"),
    ],
)  # fmt: skip
def test_a_wrong_minc_is_told(minc, fault, words):
    """Breaks if a list can lead out of the folder, or validation sees training images."""
    fault(minc)
    with pytest.raises(InputError, match=words):
        minc_folder(minc)


@pytest.mark.parametrize("split", [0, 6, "1"])
def test_an_unknown_split_is_refused(minc_at, split):
    with pytest.raises(InputError, match=f"data.split={split} must be"):
        minc_folder(minc_at, split)


def test_a_broken_image_is_named_and_whole_ones_are_read_once(plain, tmp_path, monkeypatch):
    """Breaks if training meets a truncated file, a mended one is not looked at, or each start reads all."""
    broken = plain / "dots/dots_000002.jpg"
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    for _ in range(2):  # what was found broken is not noted as whole
        with pytest.raises(InputError, match=r"1 of 20 images cannot be read: .*dots_000002\.jpg"):
            materials(plain, cache_dir=tmp_path / "cache")
    broken.write_bytes(whole)
    materials(plain, cache_dir=tmp_path / "cache")
    monkeypatch.setattr("esrgan_lightning.data.material_folders.read_rgb", None)
    materials(plain, cache_dir=tmp_path / "cache")
