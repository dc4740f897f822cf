"""Results as a table and as strict JSON."""

import io
import json
import math
import stat

import pytest
from rich.console import Console

from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation import print_table, write_json
from esrgan_lightning.metrics import CONVENTION

RESULTS = {
    "set5": {
        "bicubic": {"psnr_y": 28.4167, "ssim_y": 0.81008, "images": {"a": {}, "b": {}}},
        "runs/[red]very-long-name-of-an-experiment/with-lambda-5e-3/generator": {
            "psnr_y": math.inf,
            "ssim_y": 1.0,
            "images": {"a": {}, "b": {}},
        },
    },
    "my[set]": {"bicubic": {"psnr_y": 1.0, "ssim_y": 0.5, "images": {"a": {}}}},
}


def printed(width):
    text = io.StringIO()
    print_table(RESULTS, ["psnr_y", "ssim_y"], scale=4, console=Console(file=text, width=width))
    return text.getvalue()


def test_the_table_states_what_its_figures_mean():
    text = printed(300)
    for part in ("set5 x4, mean of 2 images", "my[set] x4, 1 image", "28.42", "0.8101", "inf", CONVENTION):
        assert part in text
    assert text.index("0.8101") < text.index(CONVENTION)


def test_long_names_and_brackets_are_not_lost():
    """Cut short with an ellipsis two runs look alike; as markup a bracket vanishes."""
    text = printed(80)
    assert "…" not in text
    cells = [line.split("│")[1].strip() for line in text.splitlines() if line.startswith("│")]
    assert "[red]very-long-name-of-an-experiment/with-lambda-5e-3/generator" in "".join(cells)


def test_by_default_it_prints_to_the_screen(capsys):
    print_table(RESULTS, ["psnr_y"], scale=4)
    assert "28.42" in capsys.readouterr().out


def test_json_is_strict_and_keeps_every_digit(tmp_path):
    """NaN and Infinity are no JSON: other readers stop at them."""
    path = tmp_path / "new/folder/é.json"
    write_json(
        path, {"set5": {"m": {"psnr_y": math.inf, "niqe": math.nan, "n": 3, "x": 0.1 + 0.2, "é": [1.5]}}}
    )
    text = path.read_text(encoding="utf-8")
    read = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert read == {"set5": {"m": {"psnr_y": None, "niqe": None, "n": 3, "x": 0.1 + 0.2, "é": [1.5]}}}
    assert text.endswith("}\n")
    assert [file.name for file in path.parent.iterdir()] == ["é.json"]
    assert path.stat().st_mode & stat.S_IRGRP  # others may read it: no temporary file's rights


def test_an_existing_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "out.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]
    write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 2}


def test_a_place_where_nothing_can_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.json").mkdir()
    for path in (tmp_path / "file/out.json", tmp_path / "folder.json"):
        with pytest.raises(InputError, match=f"{path.name} cannot be written"):
            write_json(path, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.json"]
