"""What a person sees: a bar in a terminal, lines in a file."""

import io
import re
import sys

from by_hand import batches, fit, gan_stage, psnr_stage
from pytorch_lightning.callbacks import ProgressBar

from esrgan_lightning.run.callbacks import Throughput
from esrgan_lightning.run.progress import ProgressLines, Tolerant, UpdateProgressBar, progress


def test_lines_say_update_losses_rate_and_time_left(capsys):
    """Breaks if a log file shows batches of an epoch instead of updates of the run."""
    fit(gan_stage(accumulate=2), batches(6), callbacks=[Throughput(2), ProgressLines(0.0)])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("update")]
    assert [line.split(" ")[1] for line in lines][-1] == "3/3"
    for value in (r"loss_g \d", r"loss_d \d", r"images_per_second \d", r"\d+ \w+ left$"):
        assert re.search(value, lines[-1])


def test_lines_are_as_rare_as_asked_and_the_last_update_is_told(capsys):
    """Breaks if a day's log grows by a line per update, or the end is silent."""
    fit(psnr_stage(), batches(4), callbacks=[ProgressLines(3600.0)])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("update")]
    assert len(lines) == 1
    assert lines[0].startswith("update 4/4 · loss ")


def test_the_bar_is_for_terminals_only(monkeypatch):
    """Breaks if a pipe is filled with control characters."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert isinstance(progress(), ProgressLines)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert isinstance(progress(), ProgressBar)


def test_the_bar_shows_losses_by_their_plain_names():
    """Breaks if the bar hides the losses or shows Lightning's version number."""
    bar = UpdateProgressBar()
    seen = {}
    bar.on_train_end = lambda trainer, stage: seen.update(bar.get_metrics(trainer, stage))
    fit(psnr_stage(), batches(1), callbacks=[bar], enable_progress_bar=True)
    assert set(seen) == {"loss"}


def test_the_bar_counts_the_updates_that_it_does_not_look_at(monkeypatch):
    """Breaks if it looks at each of a hundred updates a second, or counts its looks."""
    bar, looks, counts = UpdateProgressBar(), [], []
    monkeypatch.setattr(bar, "_update_metrics", lambda *_: looks.append(1))
    bar.on_train_end = lambda trainer, stage: counts.append(
        bar.progress.tasks[bar.train_progress_bar_id].completed
    )
    monkeypatch.setattr("esrgan_lightning.run.progress.time.monotonic", lambda: 1.0)
    fit(psnr_stage(), batches(5), callbacks=[bar], enable_progress_bar=True)
    assert counts == [5]
    assert len(looks) == 3  # the first, the last, and the end of the run


def test_a_run_outlives_its_terminal():
    """Breaks if a closed terminal, or a log's full disk, ends a run, or is told as the run's own."""

    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    print("update 1", file=Tolerant(Full()), flush=True)
