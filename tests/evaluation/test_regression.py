"""Against earlier results: what moved to the worse side, and what is gone."""

import copy
import io
import json
import math

import pytest
from rich.console import Console

from esrgan_lightning.errors import InputError
from esrgan_lightning.evaluation import compare, print_comparison, read_results, write_json

NET = {
    "psnr_y": 30.0,
    "niqe": 5.0,
    "images": {"a": {"psnr_y": 31.0, "niqe": 5.0}, "b": {"psnr_y": 29.0, "niqe": 5.0}},
}
EARLIER = {"set5": {"net": NET}}
TOLERANCES = {"psnr_y": 0.01, "niqe": 0.01}


def changed(*path, value):
    results = copy.deepcopy(EARLIER)
    place = results["set5"]["net"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return results


def printed(comparison):
    text = io.StringIO()
    print_comparison(comparison, console=Console(file=text, width=120))
    return text.getvalue()


@pytest.mark.parametrize(
    ("path", "value", "moved", "failed"),
    [
        (("images", "a", "psnr_y"), 30.995, False, False),
        (("images", "a", "psnr_y"), 30.98, True, True),
        (("images", "a", "psnr_y"), 31.02, True, False),  # better: told, and no failure
        (("images", "b", "niqe"), 5.02, True, True),  # lower is better
        (("images", "b", "niqe"), 4.9, True, False),
        (("psnr_y",), 29.9, True, True),
        (("images", "b", "niqe"), math.nan, True, True),
        (("images", "b", "psnr_y"), math.inf, True, True),  # in a file it cannot be told from NaN
    ],
)
def test_worse_by_more_than_is_tolerated_fails(path, value, moved, failed):
    comparison = compare(changed(*path, value=value), EARLIER, TOLERANCES)
    assert (len(comparison.changes), comparison.failed) == (moved, failed)
    if moved:
        image = path[1] if len(path) > 1 else "mean"
        assert comparison.changes[0].place == ("set5", "net", image, path[-1])
        assert ("worse" if failed else "better") in printed(comparison)
        assert "set5" in printed(comparison)
    else:
        assert "nothing moved" in printed(comparison)


def test_without_a_tolerance_nothing_may_be_worse():
    more = {"set14": EARLIER["set5"], "set5": {"bicubic": NET, "net": NET}}  # what is new passes
    assert not compare(more, EARLIER, {}).failed
    assert compare(changed("psnr_y", value=30.0 - 1e-9), EARLIER, {}).failed


@pytest.mark.parametrize(
    ("results", "missing"),
    [
        ({}, "set set5"),
        ({"set5": {"other": NET}}, "model net on set5"),
        (changed("images", value={"a": {"psnr_y": 31.0, "niqe": 5.0}}), "image b of net on set5"),
        (
            {"set5": {"net": {"psnr_y": 30.0, "images": {"a": {"psnr_y": 31.0}, "b": {"psnr_y": 29.0}}}}},
            "metric niqe of net on set5",
        ),
    ],
)
def test_what_is_gone_is_named_once_and_fails(results, missing):
    """A figure that is no longer computed must not count as one that did not move."""
    comparison = compare(results, EARLIER, TOLERANCES)
    assert comparison.missing == (missing,)
    assert comparison.failed
    assert f"missing: {missing}" in printed(comparison)


def test_a_written_file_is_read_again(tmp_path):
    """Infinite figures are null in it."""
    results = changed("psnr_y", value=math.inf)
    write_json(tmp_path / "r.json", results)
    earlier = read_results(tmp_path / "r.json")
    assert earlier["set5"]["net"]["psnr_y"] is None
    assert not compare(results, earlier, {}).failed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        json.dumps({"set5": {"net": {"images": 3}}}),
        json.dumps({"set5": {"net": {"psnr_y": 1.0}}}),
        json.dumps({"set5": {"net": {"psnr_y": "a", "images": {}}}}),
        json.dumps({"set5": {"net": {"psnr_y": 10**400, "images": {}}}}),
        "[" * 100_000,
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, text):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(InputError, match=r"against=.*r\.json is no file of results"):
        read_results(tmp_path / "r.json")
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_results(tmp_path / "gone.json")
