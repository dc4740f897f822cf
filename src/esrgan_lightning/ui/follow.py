"""The tab that follows a run while it trains: its folder's files, nothing else."""

from pathlib import Path
from typing import Any, final

import gradio as gr

from esrgan_lightning.errors import InputError
from esrgan_lightning.report.page import chart
from esrgan_lightning.report.runs import Run, read_run, read_sample, sample_pictures
from esrgan_lightning.ui.enlarge import show_errors

_RUNS = 500
_SECONDS = 5.0  # between two looks
_FIRST = ("train/loss", "train/perceptual", "train/pixel")
_NEWEST = "newest"


def run_names(runs: Path) -> list[str]:
    """The runs below a folder, newest first; a sweep's as SWEEP/JOB."""
    if not runs.is_dir():
        return []
    folders = {
        path.parent for pattern in ("*", "*/*", "*/*/*") for path in runs.glob(f"{pattern}/config.yaml")
    }
    folders = {path for path in folders if "checkpoints" not in path.parts}
    newest = sorted(folders, key=lambda folder: (folder / "config.yaml").stat().st_mtime, reverse=True)
    return [folder.relative_to(runs).as_posix() for folder in newest[:_RUNS]]


def look(runs: Path, name: str) -> Run:
    """What a run has left so far; an InputError where there is none of that name, whatever it points to."""
    if name not in run_names(runs):
        raise InputError(f"there is no run {name}")
    return read_run(runs / name, name)


def status(run: Run) -> str:
    """A line: how it stands, how far it is, the last figures."""
    words = [f"{run.name}: {run.state}", f"update {run.updates:,}"]
    if run.images_per_second is not None:
        words.append(f"{run.images_per_second:.1f} images/s")
    words += [f"{name} {value:.4g}" for name, value in run.metrics.items()]
    if run.error:
        words.append(run.error)
    return " · ".join(words)


@final
class FollowTab:
    """Curves and grids of crops of a run below a folder, looked at anew every five seconds."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs

    def names(self) -> Any:
        """The runs to choose from."""
        names = run_names(self.runs)
        return gr.update(choices=names, value=names[0] if names else None)

    @show_errors
    def look(self, name: str | None, left: str | None, right: str | None, sample: str) -> tuple[Any, ...]:
        """Status, two curves with what they may show, a grid with the updates that have one."""
        if not name:
            return (f"No run below {self.runs.name}/ yet: esrgan-train makes one.", *[gr.skip()] * 6)
        try:
            run = look(self.runs, name)
            pictures = {
                f"{update:,}": path for update, path in sorted(sample_pictures(run.folder).items())[::-1]
            }
            chosen = pictures.get(sample, run.samples)
            pixels = None if chosen is None else read_sample(chosen).permute(1, 2, 0).numpy()
        except InputError as error:  # a file may be half written: the next look is in five seconds
            return (str(error), *[gr.skip()] * 6)
        curves = sorted(run.curves)
        first = left if left in curves else next((each for each in _FIRST if each in curves), None)
        second = (
            right if right in curves else next((each for each in curves if each.startswith("val/")), None)
        )
        return (
            status(run),
            gr.update(choices=curves, value=first),
            chart(first, [run]) if first else None,
            gr.update(choices=curves, value=second),
            chart(second, [run]) if second else None,
            gr.update(choices=[_NEWEST, *pictures], value=sample if sample in pictures else _NEWEST),
            pixels,  # Gradio gives out no file that lies outside of the folder that it was started in
        )

    def build(self, page: gr.Blocks) -> None:
        """Lays the tab out, within a page."""
        with gr.Row():
            name = gr.Dropdown([], label="Run", scale=4, elem_id="run")
            again = gr.Button("Look for runs", scale=1)
        # What a run has left is text, and no Markdown: its pictures would be fetched from anywhere.
        told = gr.Textbox(show_label=False, container=False, interactive=False, max_lines=6, elem_id="status")
        with gr.Row():
            with gr.Column():
                left = gr.Dropdown([], label="Curve", elem_id="left")
                plot = gr.Plot(show_label=False, elem_id="plot-left")
            with gr.Column():
                right = gr.Dropdown([], label="Curve", elem_id="right")
                other = gr.Plot(show_label=False, elem_id="plot-right")
        sample = gr.Dropdown([_NEWEST], value=_NEWEST, label="Samples after update", elem_id="update")
        picture = gr.Image(
            label="LR | bicubic | SR | HR",
            buttons=["fullscreen", "download"],
            interactive=False,
            format="png",
            elem_id="samples",
        )
        timer = gr.Timer(_SECONDS)
        quiet: dict[str, Any] = {
            "api_visibility": "private",
            "show_progress": "hidden",
            "trigger_mode": "always_last",
        }
        asked = (self.look, [name, left, right, sample], [told, left, plot, right, other, sample, picture])
        gr.on([page.load, again.click], self.names, None, name, **quiet).then(*asked, **quiet)
        gr.on([name.input, left.input, right.input, sample.input, timer.tick], *asked, **quiet)
