"""`metrics.csv`: one row per logged update, whatever is logged when, through stops and resumes."""

import csv

import pytest

from esrgan_lightning.run.metrics_csv import MetricsCSV


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_new_columns_are_filled_up_and_rows_of_one_update_are_one(tmp_path):
    """Breaks if a validation's columns shift the numbers of earlier rows, or make a second row.

    Or if a row waits for the next one: a killed run would lose what it had logged.
    """
    path = tmp_path / "deep" / "metrics.csv"
    log = MetricsCSV(path)
    log.log_metrics({"train/loss": 0.5}, step=10)
    log.log_metrics({"train/loss": 0.25}, step=20)
    log.log_metrics({"val/psnr_y": 28.5}, step=20)
    log.log_metrics({"train/loss": 0.125}, step=30)
    assert rows(path) == [
        {"step": "10", "train/loss": "0.5", "val/psnr_y": ""},
        {"step": "20", "train/loss": "0.25", "val/psnr_y": "28.5"},
        {"step": "30", "train/loss": "0.125", "val/psnr_y": ""},
    ]
    assert [path.name for path in path.parent.iterdir()] == ["metrics.csv"]


def test_resume_keeps_earlier_rows_and_drops_what_it_will_repeat(tmp_path):
    """Breaks if a resumed run begins a new file, or leaves updates in it twice."""
    path = tmp_path / "metrics.csv"
    first = MetricsCSV(path)
    for step in (1, 2, 3, 4):
        first.log_metrics({"a": float(step), **({"b": 7.5} if step == 2 else {})}, step=step)
    resumed = MetricsCSV(path, keep_until=2)
    assert len(rows(path)) == 4  # a run that fails before its first update has destroyed nothing
    resumed.log_metrics({"a": 33.0, "c": 1.0}, step=3)
    assert rows(path) == [
        {"step": "1", "a": "1.0", "b": "", "c": ""},
        {"step": "2", "a": "2.0", "b": "7.5", "c": ""},
        {"step": "3", "a": "33.0", "b": "", "c": "1.0"},
    ]


@pytest.mark.parametrize(
    ("damage", "kept"),
    [
        ((b"\n2,", b"\n\xb2,"), ["1", "3", "9"]),  # a step that is no number
        ((b"\n2,", b"\n2,5,5,"), ["1", "3", "9"]),  # too many cells
        ((b"\n2,", b"\n\x00\xff,"), ["1", "3", "9"]),
        ((b"\n2,", b'\n"2,'), ["1", "3", "9"]),
        ((b"\n2,", b"\n" + b"2" * 200_000 + b","), ["1", "3", "9"]),  # more than csv reads
        ((b"step", b"\xf3tep"), ["1", "2", "3", "9"]),
    ],
)
def test_a_damaged_line_costs_that_line(tmp_path, damage, kept):
    """Breaks if one flipped bit in the figures ends a resumed run, or takes the other rows with it."""
    path = tmp_path / "metrics.csv"
    for step in (1, 2, 3):
        (first := MetricsCSV(path, keep_until=step)).log_metrics({"a": float(step)}, step=step)
    assert first.path == path
    path.write_bytes(path.read_bytes().replace(*damage, 1))
    MetricsCSV(path, keep_until=5).log_metrics({"a": 9.0}, step=9)
    assert [row["step"] for row in rows(path)] == kept


def test_resume_without_a_file_and_a_new_start(tmp_path):
    """Breaks if a missing file stops a resume, or a new run keeps an old run's rows."""
    path = tmp_path / "metrics.csv"
    MetricsCSV(path, keep_until=5).log_metrics({"a": 1.0}, step=6)
    assert len(rows(path)) == 1
    MetricsCSV(path).log_metrics({"a": 2.0}, step=1)
    assert [row["a"] for row in rows(path)] == ["2.0"]


def test_rewriting_replaces_the_file_whole(tmp_path, monkeypatch):
    """Breaks if a kill while a column is added leaves half a file."""
    path = tmp_path / "metrics.csv"
    log = MetricsCSV(path)
    log.log_metrics({"a": 1.0}, step=1)
    before = path.read_text()

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(csv.DictWriter, "writerows", killed)
    with pytest.raises(KeyboardInterrupt):
        log.log_metrics({"b": 1.0}, step=2)
    assert path.read_text() == before


def test_the_same_value_logged_twice_for_an_update_is_two_rows(tmp_path):
    """Breaks if a later value overwrites an earlier one without a trace."""
    log = MetricsCSV(tmp_path / "metrics.csv")
    log.log_metrics({"a": 1.0}, step=1)
    log.log_metrics({"a": 2.0}, step=1)
    assert [row["a"] for row in rows(log.path)] == ["1.0", "2.0"]
