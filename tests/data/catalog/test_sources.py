"""The table of sources: what is packaged is sound, and a user's mistake is told by file and key."""

import re

import pytest

from esrgan_lightning.data.catalog.sources import Member, find_source, read_table, sources
from esrgan_lightning.errors import InputError

MINE = """
[mine]
title = "Mine"
folder = "Mine"
purpose = "test"
images = 2
licence = "CC0"
citation = "me"
page = "https://example.org"
members = [{ to = "HR", match = '.*/(\\w+)\\.png', name = '\\1.png' }]
offers = [{ archives = [{ file = "mine.zip", urls = ["https://example.org/mine.zip"] }] }]
"""


@pytest.fixture
def table(tmp_path):
    def write(text):
        path = tmp_path / "table.toml"
        path.write_text(text)
        return path

    return write


def test_the_packaged_sources_are_those_of_the_literature():
    """Number of images: as published with each set."""
    counts = (
        "div2k_train 800, div2k_valid 100, flickr2k 2650, ost_train 10324, ost300 300, set5 5, set14 14, "
        "bsd100 100, urban100 100, manga109 109, pirm_valid 100, pirm_test 100, general100 100, t91 91"
    )
    assert ", ".join(f"{name} {source.images}" for name, source in sources().items()) == counts


def test_each_packaged_source_can_be_had_or_says_how():
    folders = [source.folder.lower() for source in sources().values()]
    assert len(set(folders)) == len(folders)
    for source in sources().values():
        assert source.by_hand or all(offer.automatic for offer in source.offers), source.name
        assert source.licence
        assert re.search(r"\d{4}", source.citation), f"{source.name}: a citation has a year"


@pytest.mark.parametrize(
    ("name", "path", "place"),
    [
        ("div2k_train", "DIV2K_train_HR/DIV2K_train_HR/0001.png", "HR/0001.png"),
        ("flickr2k", "Flickr2K/Flickr2K/Flickr2K_HR/000001.png", "HR/000001.png"),
        ("flickr2k", "Flickr2K/Flickr2K/Flickr2K_LR_bicubic/X2/000001x2.png", None),
        ("ost_train", "sky/OutdoorSceneTrain_v2/sky/1.png", "HR/sky_1.png"),
        ("set5", "Set5_SR/Set5/image_SRF_2/img_001_SRF_2_HR.png", "HR/img_001.png"),
        ("set5", "Set5_SR/Set5/image_SRF_4/img_001_SRF_4_LR.png", "LRbicx4/img_001.png"),
        ("set5", "Set5_SR/Set5/image_SRF_4/img_001_SRF_4_HR.png", None),  # cropped to a multiple of 4
        ("set5", "SelfExSR/SelfExSR-8f6dd8c/data/Set14/image_SRF_2/img_001_SRF_2_HR.png", None),
        ("set14", "SelfExSR/SelfExSR-8f6dd8c/data/Set14/image_SRF_2/img_001_SRF_2_HR.png", "HR/img_001.png"),
        ("set5", "benchmark/benchmark/Set5/LR_bicubic/X4/babyx4.png", "LRbicx4/baby.png"),
        ("bsd100", "BSD100_SR/image_SRF_3/img_001_SRF_3_HR.png", "HR/img_001.png"),  # no folder of its own
        ("urban100", "Urban100_SR/image_SRF_2/img_001_SRF_2_HR.png", None),  # of half the size
        ("urban100", "Urban100_SR/image_SRF_4/img_001_SRF_4_HR.png", "HR/img_001.png"),
        ("t91", "SR_training_datasets/T91/t1.png", "HR/t1.png"),
        ("general100", "SR_training_datasets/__MACOSX/General100/._im_1.png", None),
    ],
)
def test_members_of_the_archives_find_their_place(name, path, place):
    assert find_source(name, sources()).target(path) == place


def test_a_table_of_ones_own_is_added_and_takes_precedence(table):
    known = sources(table(MINE + MINE.replace("[mine]", "[set5]")))
    assert known["mine"].images == known["set5"].images == 2
    assert known["set14"] == sources()["set14"]
    assert find_source("MINE", known) is known["mine"]


def test_an_unknown_source_is_answered_with_what_there_is():
    with pytest.raises(InputError, match=r"'sett5'.*set14, set5"):
        find_source("sett5", sources())


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("images = 2", "images = 'two'", "mine.images"),
        ("images = 2", "images = 2\nimagse = 3", "mine.imagse"),
        ('"HR"', '"LRx4"', "mine.members.0.to = 'LRx4'"),
        ("(\\w+)", "(\\w+", "mine.members.0.match"),
        ('folder = "Mine"', 'folder = "../Mine"', "mine.folder = '../Mine'"),
        ('"mine.zip"', '"a/mine.zip"', "mine.offers.0.archives.0.file = 'a/mine.zip'"),
        ("https://example.org/mine.zip", "file:///etc/passwd", "file:///etc/passwd"),
        ("[mine]", "[Mine]", "Mine.name"),
        ("[mine]", "[mine", "no TOML"),
    ],
)
def test_a_mistake_in_a_table_names_file_and_key(table, old, new, told):
    path = table(MINE.replace(old, new))
    with pytest.raises(InputError) as caught:
        read_table(path)
    assert str(path) in str(caught.value)
    assert told in str(caught.value)


def test_a_missing_table_is_told(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_table(tmp_path / "none.toml")


def test_a_name_made_from_the_archive_cannot_leave_its_folder():
    member = Member("HR", "(?s:(.*))", r"\1")
    for path in ("../a.png", ".hidden.png", "a\nb.png", ""):
        with pytest.raises(InputError, match="no plain file name"):
            member.target(path)
