"""Runs are found and read, and the table says what differs, how each ended and what came out."""

import csv
import io
import json
import os
import re

import pytest
import torch
import yaml
from typer.testing import CliRunner

from esrgan_lightning.cli.app import app
from esrgan_lightning.errors import InputError
from esrgan_lightning.ops import write_image
from esrgan_lightning.ops.picture import comparison
from esrgan_lightning.report import csv_table, find_runs, markdown_table, report_page
from esrgan_lightning.report.runs import labels

LABELS = ("LR", "bicubic", "SR", "HR")


def tiles(seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8, generator=generator) for _ in LABELS]


def make(folder, *, rate=1e-4, state="finished", error=None, rows=(), overrides=None, row=None):
    folder.mkdir(parents=True)
    config = {"name": folder.name, "optimizer": {"lr": rate}, "loss": {"weights": {"pixel": 1.0}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    outcome = {"state": state, "seconds": 12.5} | ({"error": error} if error else {})
    (folder / "outcome.json").write_text(json.dumps(outcome))
    if rows:
        (folder / "metrics.csv").write_text(
            "step,images_per_second,train/loss,val/psnr_y\n" + "\n".join(rows)
        )
    if overrides:
        (folder / "overrides.yaml").write_text(yaml.safe_dump(overrides))
    if row is not None:
        write_image(folder / "samples/update_0000001.png", comparison([tiles(99)], LABELS))
        write_image(folder / "samples/update_0000002.png", comparison([row], LABELS))
    return folder


def table(runs):
    return list(csv.DictReader(io.StringIO(csv_table(runs))))


def test_the_table_has_what_each_run_left(tmp_path):
    """Breaks if a figure is of another update than the last validation, or a run is left out."""
    make(tmp_path / "s/2", rows=["10,4.0,0.5,", "20,8.0,0.25,30.5", "30,6.0,0.125,"])
    make(tmp_path / "s/10", rate=2e-4, state="diverged", error="not finite", rows=["10,1.0,9.0,"])
    runs = find_runs([tmp_path / "s"])
    first, second = table(runs)
    assert first == {
        "run": "2", "what differs": "optimizer.lr=0.0001", "state": "finished", "psnr_y": "30.5",
        "updates": "30", "seconds": "12.5", "images/s": "6.0", "error": "",
    }  # fmt: skip
    assert (second["state"], second["psnr_y"], second["error"]) == ("diverged", "", "not finite")
    assert runs[0].curves["train/loss"] == [(10, 0.5), (20, 0.25), (30, 0.125)]


def test_of_mixed_stages_only_what_matters_within_a_stage_is_said(tmp_path):
    """Breaks if each row repeats all that one stage has and the other lacks."""
    for name, stage, rate, workers in (("p", "psnr", 1, 0), ("q", "gan", 1, 2), ("r", "gan", 2, 4)):
        run = make(tmp_path / name)
        settings = {
            "stage": {"name": stage, "ema_decay": 0.9} if stage == "gan" else {"name": stage},
            "seed": rate,
            "data": {"seed": rate, "num_workers": workers},
            "trainer": {"log_interval": workers},
        }
        (run / "config.yaml").write_text(yaml.safe_dump(settings))
    assert [row["what differs"] for row in table(find_runs([tmp_path]))] == [
        "stage=psnr",
        "stage=gan seed=1",
        "stage=gan seed=2",
    ]


def test_a_sweeps_jobs_are_named_by_what_differs(tmp_path):
    """Breaks if what all jobs share is repeated in every row, or a legend says 0 and 1."""
    for number in range(2):
        make(tmp_path / f"s/{number}", overrides=["stage=gan", f"seed={number}"])
    assert [row["what differs"] for row in table(find_runs([tmp_path / "s"]))] == ["seed=0", "seed=1"]
    make(tmp_path / "s/other", overrides=["stage=psnr"])
    assert labels(find_runs([tmp_path / "s"])) == ["other", "0: stage=gan seed=0", "1: stage=gan seed=1"]


def test_one_run_and_runs_of_several_folders(tmp_path):
    """Breaks if a run's own folder is not taken, or two runs of one name cannot be told apart."""
    with pytest.raises(InputError, match="no run below"):
        find_runs([tmp_path])
    with pytest.raises(InputError, match="is no folder"):
        find_runs([tmp_path / "none"])
    one = make(tmp_path / "x/run")
    assert [run.name for run in find_runs([one])] == ["run"]
    other = make(tmp_path / "y/run")
    assert [run.name for run in find_runs([one, other, tmp_path / "x"])] == ["x/run", "y/run"]
    (tmp_path / "link").symlink_to(one)
    assert len(find_runs([one, tmp_path / "link"])) == 2  # as they were asked for, by one name


def test_markdown_keeps_its_columns(tmp_path):
    """Breaks if a bar or a line break in an error ends a cell."""
    make(tmp_path / "a", state="failed", error="one | two\nthree")
    lines = markdown_table(find_runs([tmp_path])).splitlines()
    assert len(lines) == 3
    assert r"one \| two three" in lines[2]


DEEP = "[" * 3000
BOMB = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9 if i else ['x'] * 9)}]" for i in range(12))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("outcome.json", "{"),
        ("outcome.json", '{"state": ["finished"]}'),
        ("outcome.json", '{"seconds": .nan}'),
        ("outcome.json", '{"seconds": 1' + "0" * 400 + "}"),
        ("overrides.yaml", "a: 1"),
        ("config.yaml", "!!python/object/apply:os.system [ls]"),
        ("config.yaml", BOMB),
        ("config.yaml", f"a: {DEEP}"),
        ("config.yaml", "a: 2026-01-01"),
        ("config.yaml", "? [1, 2]\n: 3"),
        ("config.yaml", f"a: {'1' * 9000}"),
        ("config.yaml", "a: '" + "x" * 70_000 + "'"),
        ("config.yaml", b"\xff\xfe"),
        ("metrics.csv", "step,val/psnr_y\nten,3\n"),
        ("metrics.csv", "update,val/psnr_y\n1,3\n"),
        ("metrics.csv", "step,a\n1,2,3\n"),
        ("metrics.csv", "step,a\n-1,2\n"),
        ("metrics.csv", f"step,a\n{10**30},2\n"),
        ("metrics.csv", "step" + ",a" * 300 + "\n1\n"),
        ("metrics.csv", "step,a\n1," + "1" * 200_000),
        ("metrics.csv", b"step,a\n1,\xff\n"),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_a_run_with_a_damaged_or_hostile_file_is_left_out_in_a_line(tmp_path, caplog, name, content):
    """Breaks if a foreign file runs code, ends in a traceback, fills the memory, or hides the other runs."""
    make(tmp_path / "a")
    (tmp_path / "a" / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match="none of 1 runs"):
        find_runs([tmp_path])
    make(tmp_path / "b")
    with (make(tmp_path / "c") / "metrics.csv").open("wb") as file:
        file.truncate(2**40)  # a terabyte that takes no room is not read
    caplog.clear()
    assert [run.name for run in find_runs([tmp_path])] == ["b"]
    (line, large) = caplog.messages
    assert "the run c is left out: " in large
    assert line.startswith("the run a is left out:")
    assert name in line
    assert line.isprintable()
    assert len(line) < 1200


@pytest.mark.filterwarnings("error")
def test_strange_texts_figures_and_pictures_are_shown_or_left_out(tmp_path, monkeypatch, caplog):
    """Breaks if a terminal obeys a run's text, a formula ends the page, or a picture ends it."""
    monkeypatch.chdir(tmp_path)
    run = make(tmp_path / "runs/a", state="\x1b[2Jodd", error="![x](http://evil.example/)<img src=http://e>")
    make(tmp_path / "runs/b")
    (run / "metrics.csv").write_text("step,val/$\\frac,val/large\n1,1,1e308\n9007199254740992,2,-1e308\n")
    (run / "samples").mkdir()
    (run / "samples/update_1.png").write_bytes(b"no picture")
    (run / "samples/update_x.png").write_bytes(b"")
    os.utime(run / "metrics.csv", (1e12, 1e12))
    for command in (["runs"], ["report", "runs"], ["report", "runs", "-o", "r.md"]):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        assert "\x1b" not in done.stdout
    assert "the crops of a are left out" in caplog.text
    text = (tmp_path / "r.md").read_text()
    assert r"!\[x\](http://evil.example/)\<img" in text


def test_the_page_holds_everything_and_nothing_foreign(tmp_path):
    """Breaks if a name is taken for markup, the page asks the network, or a run's crops are lost."""
    same = tiles(0)
    make(tmp_path / "a", rows=["1,1,1,20", "2,1,1,21"], row=same)
    make(tmp_path / "b", rows=["1,1,1,22", "2,1,1,23"], row=[*same[:2], tiles(1)[2], same[3]])
    make(tmp_path / "c", row=tiles(2))
    make(tmp_path / "d", state="failed", error="<script>alert(1)</script> $x")
    page = report_page(find_runs([tmp_path]), title="<b>")
    assert "<script>alert" not in page
    assert "<b>" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("<figure>") == 5 + 4, "LR, bicubic, two SR, HR; and those of other photos apart"
    assert page.count('<img class="chart"') == 2


def test_runs_are_listed_with_state_figures_time_and_size(tmp_path, monkeypatch):
    """Breaks if a column is another run's, or a run that has just begun has no line."""
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "runs/a", rows=["10,4.0,0.5,", "1200,8.0,0.25,30.5"])
    make(tmp_path / "runs/b", state="interrupted")
    (tmp_path / "runs/a/checkpoints").mkdir()
    (tmp_path / "runs/a/checkpoints/last.ckpt").write_bytes(bytes(3_000_000))
    done = CliRunner().invoke(app, ["runs"])
    assert done.exit_code == 0, done.output
    head, *lines = [re.split(r"  +", line) for line in done.stdout.splitlines()]
    assert head == ["run", "state", "updates", "psnr_y", "time", "disk", "last written"]
    assert [line[:-1] for line in lines] == [
        ["a", "finished", "1,200", "30.5000", "12 s", "3 MB"],
        ["b", "interrupted", "0", "–", "12 s", "0 MB"],
    ]
    assert CliRunner().invoke(app, ["runs", "nowhere"]).exit_code == 2
