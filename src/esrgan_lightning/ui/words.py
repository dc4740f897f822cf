"""How the page says what went wrong."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import gradio as gr

from esrgan_lightning.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")


def spoken(function: Callable[P, R]) -> Callable[P, R]:
    """Wraps an answer of the page: what a visitor got wrong is shown in words, and stays until closed."""

    @wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except InputError as error:
            raise gr.Error(str(error), duration=None, print_exception=False) from error

    return inner
