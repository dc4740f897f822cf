"""One visitor's photo, and what the page says where something does not fit."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from html import escape
from typing import ParamSpec, TypeVar, final

import gradio as gr
from torch import Tensor

from esrgan_lightning.errors import InputError
from esrgan_lightning.ui.view import Part, Picture

P = ParamSpec("P")
R = TypeVar("R")


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
class Limits:
    """What a visitor may ask for."""

    photo_pixels: int = 24_000_000
    pixels: int = 4_000_000  # that are enlarged as a whole
    upload_bytes: int = 32 * 2**20  # of a file
    quota_bytes: int = 2 * 2**30  # of all uploads and results; above it the oldest go
    waiting: int = 20  # requests of all visitors that wait for their turn; one more is refused
    visitors: int = 16  # whose pictures are kept; of more, the oldest is forgotten


@final
@dataclass(frozen=True)
class Visit:
    """What lies before a visitor; ``folder`` holds the last result, and goes with the visit.

    ``small`` is made once: to shrink a large photo takes longer than to enlarge a part of it.
    """

    photo: Tensor
    name: str
    picture: Picture
    small: Tensor
    part: Part
    folder: tempfile.TemporaryDirectory[str]
