"""The tab that enlarges a photo."""

import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import wraps
from html import escape
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, final

import gradio as gr
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.inference import NetworkPair
from esrgan_lightning.ops import READABLE, write_image
from esrgan_lightning.ops.picture import pillow
from esrgan_lightning.ui import view
from esrgan_lightning.ui.view import Part, Picture

P = ParamSpec("P")
R = TypeVar("R")

_SCREEN = 768  # pixels of a compared part on the screen
_LARGE = 2048  # of the whole result; the file has them all
_MAP = 360  # of the small picture on which a part is chosen
_PROGRESS = gr.Progress()  # as a default it makes Gradio show what it is told
_FIGURES = "PSNR, SSIM: close to the original (higher is better). NIQE: looks natural (lower is better)."
_SIDES = (32, 64, 128, 256)
_PHOTO_PIXELS = 24_000_000  # that a photo may have
_WHOLE_PIXELS = 4_000_000  # that are enlarged as a whole


def show_errors(function: Callable[P, R]) -> Callable[P, R]:
    """Wraps an answer of the page: what a visitor got wrong is shown in words, and stays until closed."""

    @wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except InputError as error:
            # Gradio shows markup in it, and a file may be called anything.
            raise gr.Error(escape(str(error)), duration=None, print_exception=False) from error

    return inner


@final
@dataclass(frozen=True)
class Visit:
    """A visitor's photo; ``folder`` holds the last result, and goes with the visit."""

    photo: Tensor
    name: str
    picture: Picture
    small: Tensor  # made once: to shrink a large photo takes longer than to enlarge a part of it
    part: Part
    folder: tempfile.TemporaryDirectory[str]


@final
class EnlargeTab:
    """Drop a photo or take an example, look at a part of it, move α, take the whole home."""

    def __init__(self, pair: NetworkPair, examples: Mapping[str, Path]) -> None:
        self.pair, self.examples = pair, examples
        self._pace: float | None = None  # seconds for an LR pixel, the last time

    @show_errors
    def upload(self, path: str, side: int) -> tuple[Visit, bool, None]:
        """Opens a visitor's file, which is then deleted: its pixels stay for as long as the visit."""
        file = Path(path)
        try:
            photo = view.read_photo(file, _PHOTO_PIXELS)
        finally:
            file.unlink(missing_ok=True)
        return self._visit(photo, file.stem, False, side), False, None

    @show_errors
    def example(self, name: str, side: int) -> tuple[Visit, bool, None]:
        """Opens one of ours, as an original to measure against."""
        photo = view.read_photo(self.examples[name], _PHOTO_PIXELS)
        return self._visit(photo, self.examples[name].stem, True, side), True, None

    def _visit(self, photo: Tensor, name: str, is_hr: bool, side: int) -> Visit:
        picture = view.as_picture(photo, is_hr=is_hr, scale=self.pair.scale)
        folder = tempfile.TemporaryDirectory(prefix="result_")
        small = view.shown(picture.lr, _MAP)
        return Visit(photo, name, picture, small, view.part_at(picture, 0.5, 0.5, side), folder)

    @show_errors
    def reopen(self, visit: Visit | None, is_hr: bool, side: int) -> Visit | None:
        """The same photo, as an original or as what is enlarged."""
        return visit and self._visit(visit.photo, visit.name, is_hr, side)

    @show_errors
    def resize(self, visit: Visit | None, side: int) -> Visit | None:
        """A part of another size in the same place."""
        if visit is None:
            return None
        height, width = visit.picture.lr.shape[-2:]
        middle = visit.part.side / 2
        x, y = (visit.part.left + middle) / width, (visit.part.top + middle) / height
        return replace(visit, part=view.part_at(visit.picture, x, y, side))

    @show_errors
    def move(self, visit: Visit | None, side: int, event: gr.SelectData) -> Visit | None:
        """A part around the place that was clicked."""
        if visit is None:
            return None
        height, width = visit.small.shape[-2:]
        x, y = event.index[0] / width, event.index[1] / height
        return replace(visit, part=view.part_at(visit.picture, x, y, side))

    @show_errors
    def show(self, visit: Visit | None, alpha: float) -> tuple[Any, ...]:
        """Map, the part under the divider, its figures, the button."""
        if visit is None:
            return None, None, gr.update(visible=False), gr.update(interactive=False)
        begin = time.monotonic()
        bicubic, sr = view.compare(visit.picture, visit.part, self.pair, alpha)
        self._pace = (time.monotonic() - begin) / visit.part.side**2
        hr = view.part_of_hr(visit.picture, visit.part, self.pair.scale)
        small = pillow(view.framed(visit.small, visit.picture, visit.part))
        both = tuple(pillow(view.shown(each, _SCREEN)) for each in (bicubic, sr))
        return small, both, self._table(bicubic, sr, hr, alpha, "part"), gr.update(interactive=True)

    @show_errors
    def whole(self, visit: Visit | None, alpha: float, progress: gr.Progress = _PROGRESS) -> tuple[Any, ...]:
        """The whole under the divider, its file, its figures; meanwhile how long it will take."""
        if visit is None:
            return gr.skip(), gr.skip(), gr.skip()
        height, width = visit.picture.lr.shape[-2:]
        begin, likely = time.monotonic(), max((self._pace or 0) * height * width, 1)
        with ThreadPoolExecutor(1) as pool:
            work = pool.submit(view.enlarge, visit.picture, self.pair, alpha, _WHOLE_PIXELS)
            while not wait([work], timeout=0.5).done:
                passed = time.monotonic() - begin
                told = f"{width}×{height} pixels: {passed:.0f} s of about {max(likely, passed):.0f} s"
                progress(min(passed / likely, 0.99), desc=told)
        bicubic, sr = work.result()
        for earlier in Path(visit.folder.name).iterdir():
            earlier.unlink()
        file = Path(visit.folder.name) / f"{visit.name}_x{self.pair.scale}_alpha{alpha:g}.png"
        write_image(file, sr)
        both = tuple(pillow(view.shown(each, _LARGE)) for each in (bicubic, sr))
        table = self._table(bicubic, sr, visit.picture.hr, alpha, "whole photo")
        return gr.update(value=both, visible=True), gr.update(value=str(file), visible=True), table

    def _table(self, bicubic: Tensor, sr: Tensor, hr: Tensor | None, alpha: float, of: str) -> Any:
        if hr is None:
            return gr.update(visible=False)
        rows = view.figures({f"bicubic, {of}": bicubic, f"α = {alpha:g}, {of}": sr}, hr, self.pair.scale)
        return gr.update(value=rows, visible=True)

    def build(self, page: gr.Blocks) -> None:
        """Lays the tab out, within a page."""
        # A visitor's picture is forgotten an hour after the last request.
        visit = gr.State(None, time_to_live=3600)
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                types = list(READABLE)
                file = gr.File(label="Drop a photo here", file_types=types, height=160, elem_id="photo")
                names = list(self.examples)
                example = gr.Dropdown(names, value=names[0], label="or an example", elem_id="example")
                shrink = f"It is the original: shrink it ×{self.pair.scale} first"
                is_hr = gr.Checkbox(True, label=shrink, elem_id="is-hr")
                alpha = gr.Slider(0, 1, value=1, step=0.05, label="α: PSNR (0) to GAN (1)", elem_id="alpha")
                side = gr.Dropdown(
                    list(_SIDES), value=128, label="Part, in pixels before enlarging", elem_id="side"
                )
                small = gr.Image(
                    label="Click where to look", interactive=False, format="png", buttons=[], elem_id="map"
                )
            with gr.Column(scale=3, min_width=400):
                part = gr.ImageSlider(
                    label="bicubic | network",
                    format="png",
                    max_height=_SCREEN,
                    interactive=False,
                    elem_id="part",
                )
                table = gr.Dataframe(
                    headers=["", "PSNR-Y, dB ↑", "SSIM-Y ↑", "NIQE ↓"],
                    label=_FIGURES,
                    show_label=True,
                    interactive=False,
                    visible=False,
                    elem_id="figures",
                )
                button = gr.Button("Enlarge the whole photo", variant="primary", elem_id="whole")
                result = gr.ImageSlider(
                    label="bicubic | network, whole photo",
                    format="png",
                    interactive=False,
                    visible=False,
                    elem_id="result",
                )
                download = gr.DownloadButton("Download at full size", visible=False, elem_id="download")

        # One picture at a time goes through the networks, and of one visitor's wishes the last one counts.
        alone = {"concurrency_id": "networks", "concurrency_limit": 1}
        asked: dict[str, Any] = {**alone, "api_visibility": "private", "show_progress": "minimal"}
        last: dict[str, Any] = {**asked, "trigger_mode": "always_last"}
        shown = (self.show, [visit, alpha], [small, part, table, button])
        opened = [
            # The name of the photo before goes: of an example, of a file.
            file.upload(self.upload, [file, side], [visit, is_hr, example], **asked),
            example.input(self.example, [example, side], [visit, is_hr, file], **asked),
            is_hr.input(self.reopen, [visit, is_hr, side], visit, **asked),
            page.load(self.example, [example, side], [visit, is_hr, file], **asked),
        ]
        for event in opened:
            event.success(
                lambda: (gr.update(visible=False), gr.update(visible=False)),
                None,
                [result, download],
                api_visibility="private",
            ).then(*shown, **last)
        moved = [
            side.input(self.resize, [visit, side], visit, **last),
            small.select(self.move, [visit, side], visit, **last),
        ]
        for event in moved:
            event.success(*shown, **last)
        alpha.input(*shown, **last)
        # Progress stands in the result's place, which is seen from the click on.
        shown_from_now = button.click(lambda: gr.update(visible=True), None, result, api_visibility="private")
        shown_from_now.then(
            self.whole, [visit, alpha], [result, download, table], **{**asked, "show_progress": "full"}
        ).failure(lambda: gr.update(visible=False), None, result, api_visibility="private")
