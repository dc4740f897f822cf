"""Test sets on disk, and others' pictures of them: found, paired and checked before anything is computed."""

import pytest
import torch

from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation import Pictures, TestPair, evaluate, find_set, load_models
from esrgan_lightning.ops import imresize, modcrop, read_image, write_image


def noise(channels, height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (channels, height, width), generator=generator, dtype=torch.uint8)


@pytest.fixture
def root(tmp_path):
    """Two images with their LR at scale 2, in folders of mixed case."""
    for seed, name in enumerate(("b", "a")):
        hr = noise(3, 21, 24, seed)
        write_image(tmp_path / f"MySet/hr/{name}.png", hr)
        write_image(tmp_path / f"MySet/LRbicX2/{name}.png", imresize(modcrop(hr, 2), 0.5))
    return tmp_path


@pytest.mark.parametrize("name", ["MySet", "myset", "MYSET"])
def test_sets_are_found_without_regard_to_case_and_sorted(root, name):
    pairs = find_set(root, name, 2)
    assert [pair.name for pair in pairs] == ["a", "b"]
    assert [pair.lr.parent.name for pair in pairs] == ["LRbicX2"] * 2
    assert [pair.size(2) for pair in pairs] == [(20, 24)] * 2
    assert [pair.lr for pair in find_set(root, name, 4)] == [None, None]  # given at x2 only


def test_of_two_folders_that_differ_in_case_the_exact_one_counts(root):
    write_image(root / "myset/HR/c.png", noise(3, 8, 8))
    if len(list(root.iterdir())) == 1:
        pytest.skip("this file system does not tell the two names apart")
    assert [pair.name for pair in find_set(root, "myset", 2)] == ["c"]
    assert [pair.name for pair in find_set(root, "MySet", 2)] == ["a", "b"]


def test_images_in_subfolders_are_told_apart(root):
    """By the stem alone one would take the other's place in the results."""
    write_image(root / "T/HR/x/1.png", noise(3, 8, 8))
    write_image(root / "T/HR/y/1.png", noise(3, 8, 8))
    assert [pair.name for pair in find_set(root, "T", 2)] == ["x/1", "y/1"]
    write_image(root / "T/HR/y/1.bmp", noise(3, 8, 8))
    files = ["x/1.png", "y/1.bmp", "y/1.png"]
    for name in files:
        write_image(root / "T/LRbicx2" / name, noise(3, 4, 4))
    pairs = find_set(root, "T", 2)
    assert [pair.name for pair in pairs] == ["x/1", "y/1.bmp", "y/1.png"]
    assert [pair.lr.relative_to(root / "T/LRbicx2").as_posix() for pair in pairs] == files


def test_alpha_and_depth_play_no_part(tmp_path):
    image = noise(4, 8, 8).to(torch.int32)
    write_image(tmp_path / "deep.png", (image * 257).to(torch.uint16))
    lr, hr = TestPair(tmp_path / "deep.png").load(2)
    assert hr.dtype is lr.dtype is torch.uint8
    assert torch.equal(hr, image[:3].to(torch.uint8))
    write_image(tmp_path / "gray.png", noise(2, 8, 8))
    assert TestPair(tmp_path / "gray.png").load(2)[1].shape[0] == 1


def test_a_gray_image_whose_lr_is_stored_in_colour(tmp_path):
    hr = noise(1, 8, 8)
    write_image(tmp_path / "hr.png", hr)
    write_image(tmp_path / "lr.png", imresize(hr, 0.5).expand(3, -1, -1))
    write_image(tmp_path / "color.png", noise(3, 4, 4))
    write_image(tmp_path / "large.png", noise(3, 8, 8))
    write_image(tmp_path / "gray.png", noise(1, 4, 4))
    lr, _ = TestPair(tmp_path / "hr.png", tmp_path / "lr.png").load(2)
    assert torch.equal(lr, imresize(hr, 0.5))
    for large, small in (("hr", "color"), ("large", "gray")):
        with pytest.raises(InputError, match="no pair"):
            TestPair(tmp_path / f"{large}.png", tmp_path / f"{small}.png").load(2)


def test_what_is_missing_is_named(root):
    (root / "Empty/HR").mkdir(parents=True)
    (root / "MySet/LRbicX2/b.png").unlink()
    for folder, name, message in (
        (root, "set5", r"no folder 'set5'; it holds Empty, MySet$"),
        (root / "nowhere", "set5", "is not a folder"),
        (root.parent, root.name, "no folder HR/"),
        (root, "empty", "holds no image"),
        (root / "Empty/HR", "x", "no folder 'x'; it holds no folder"),
        (root, "myset", r"b\.png has no partner in .*LRbicX2"),
    ):
        with pytest.raises(InputError, match=message):
            find_set(folder, name, 2)


def test_sizes_are_checked_from_the_headers(root):
    """An LR of another scale under the right name: seen once in a public copy of Urban100."""
    hr = read_image(root / "MySet/hr/b.png")
    write_image(root / "MySet/LRbicX2/b.png", imresize(modcrop(hr, 4), 0.25))
    with pytest.raises(InputError, match=r"b\.png is 5×6 .* asks for 10×12"):
        find_set(root, "myset", 2)
    with pytest.raises(InputError, match="too small for scale 30"):
        find_set(root, "myset", 30)


def test_an_lr_of_the_uncut_hr_is_cut_with_it(tmp_path):
    """MATLAB makes 7×6 of 13×11: what the HR's last row and column became belongs to no pair."""
    hr = torch.randint(0, 256, (3, 13, 11), dtype=torch.uint8)
    write_image(tmp_path / "hr.png", hr)
    lr = torch.randint(0, 256, (3, 7, 6), dtype=torch.uint8)
    write_image(tmp_path / "lr.png", lr)
    small, large = TestPair(tmp_path / "hr.png", tmp_path / "lr.png").load(2)
    assert torch.equal(small, lr[:, :6, :5])
    assert torch.equal(large, hr[:, :12, :10])


@pytest.fixture
def sets(tmp_path):
    """Two sets, whose images have the same names, one of them gray."""
    for folder, channels in (("A", 3), ("B", 1)):
        for name in ("1", "10"):
            write_image(tmp_path / f"sets/{folder}/HR/{name}.png", noise(channels, 25, 32, int(name)))
    return {name: find_set(tmp_path / "sets", name, 2) for name in ("a", "b")}


def write(folder, pairs, ending="", change=lambda sr: sr):
    for pair in pairs:
        write_image(folder / f"{pair.name}{ending}.png", change(imresize(pair.load(2)[0], 2)))


@pytest.mark.parametrize("ending", ["", "_x4", "0_out"])
def test_pictures_have_the_figures_of_the_model_that_made_them(tmp_path, sets, ending):
    """Breaks where "10" is taken for "1" with an ending."""
    write(tmp_path / "theirs/a", sets["a"], ending)
    write(tmp_path / "theirs/B", sets["b"], ending)
    models = load_models(["bicubic", str(tmp_path / "theirs")], 2)
    results = evaluate(models, sets, scale=2, metrics=["psnr_y", "psnr_rgb"])
    for rows in results.values():
        assert rows["theirs"] == rows["bicubic"]


def test_of_one_set_they_may_lie_in_the_folder_itself(tmp_path, sets):
    write(tmp_path / "theirs", sets["a"], change=lambda sr: 255 - sr)
    rows = evaluate(load_models([str(tmp_path / "theirs")], 2), {"a": sets["a"]}, scale=2)["a"]
    assert rows["theirs"]["psnr_y"] < 15


def test_a_gray_image_may_have_been_enlarged_in_colour(tmp_path, sets):
    """A network of colour makes three channels that are not quite alike: their mean counts."""

    def colored(sr):
        return torch.cat([sr.clamp(10, 245) + 6, sr.clamp(10, 245), sr.clamp(10, 245) - 6])

    write(tmp_path / "theirs", sets["b"], change=colored)
    pictures = Pictures(tmp_path / "theirs")
    pictures.find("b", sets["b"], 2)
    sr = imresize(sets["b"][0].load(2)[0], 2)
    assert torch.equal(pictures.read("b", sets["b"][0].name, 1), sr.clamp(10, 245))


def test_what_is_missing_or_ambiguous_is_named_before_anything_runs(tmp_path, sets):
    def refused(message):
        with pytest.raises(InputError, match=message):
            evaluate({"p": Pictures(tmp_path / "p")}, {"a": sets["a"]}, scale=2)

    with pytest.raises(InputError, match="not a folder of pictures"):
        Pictures(tmp_path / "p")
    (tmp_path / "p").mkdir()
    refused("holds no image")
    write(tmp_path / "p", sets["a"][:1])
    refused(r"lacks 1 pictures of a, .*: 10$")
    write(tmp_path / "p", sets["a"], "_x")
    write(tmp_path / "p", sets["a"], "_y")
    refused("ending in _x, _y")
    write(tmp_path / "p", sets["a"])
    evaluate({"p": Pictures(tmp_path / "p")}, {"a": sets["a"]}, scale=2)  # the exact names go first
    write_image(tmp_path / "p/10.png", torch.zeros(3, 26, 32, dtype=torch.uint8))
    refused(r"10\.png is 26×32 .* at scale 2 is 24×32")


def test_a_picture_of_the_uncut_hr_is_cut_as_the_hr_is(tmp_path):
    whole = torch.randint(0, 256, (3, 13, 11), dtype=torch.uint8)
    for folder in ("hr", "p"):
        write_image(tmp_path / folder / "1.png", whole)
    pictures = Pictures(tmp_path / "p")
    pictures.find("a", [TestPair(tmp_path / "hr/1.png", name="1")], 4)
    assert torch.equal(pictures.read("a", "1", 3), whole[:, :12, :8])
