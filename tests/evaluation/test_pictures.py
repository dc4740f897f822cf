"""Pictures of other programs in place of a model."""

import pytest
import torch

from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation import Pictures, TestPair, evaluate, find_set, load_models
from esrgan_lightning.ops import imresize, write_image


@pytest.fixture
def sets(tmp_path):
    """Two sets, whose images have the same names, one of them gray."""
    generator = torch.Generator().manual_seed(0)
    for folder, channels in (("A", 3), ("B", 1)):
        for name in ("1", "10"):
            image = torch.randint(0, 256, (channels, 25, 32), generator=generator, dtype=torch.uint8)
            write_image(tmp_path / f"sets/{folder}/HR/{name}.png", image)
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
