"""Names of an RRDB network's tensors in the files of several tools: one table, read in both directions.

Today's names are those of ``RRDBNet``, which BasicSR, Real-ESRGAN and mmagic share.
"""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple, final

from torch import Tensor


@final
class Layout(NamedTuple):
    """How the convolutions are called, with {n}, {m}, {k} for RRDB n (from 0), dense block m, convolution k.

    {s} is the upsampling step from 1; {blocks} and {steps} are their numbers.
    """

    conv_first: str
    block: str
    conv_body: str
    conv_up: str
    conv_hr: str
    conv_last: str

    def names(self, blocks: int, steps: int) -> Iterator[str]:
        """Every convolution's name, in the same order in all layouts."""
        yield self.conv_first
        for n in range(blocks):
            for m in (1, 2, 3):
                for k in range(1, 6):
                    yield self.block.format(n=n, m=m, k=k)
        yield self.conv_body.format(blocks=blocks)
        for s in range(1, steps + 1):
            yield self.conv_up.format(s=s, triple=3 * s)
        yield self.conv_hr.format(index=3 * steps + 2)
        yield self.conv_last.format(index=3 * steps + 4)


TODAY = Layout("conv_first", "body.{n}.rdb{m}.conv{k}", "conv_body", "conv_up{s}", "conv_hr", "conv_last")

#: The ESRGAN authors' two releases. That of 2018 is a Sequential: after the body, at 1, each step takes three
#: places (enlargement, convolution, activation), conv_hr and its activation two.
LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "esrgan2018": Layout(
            "model.0",
            "model.1.sub.{n}.RDB{m}.conv{k}.0",
            "model.1.sub.{blocks}",
            "model.{triple}",
            "model.{index}",
            "model.{index}",
        ),
        "esrgan2019": Layout(
            "conv_first", "RRDB_trunk.{n}.RDB{m}.conv{k}", "trunk_conv", "upconv{s}", "HRconv", "conv_last"
        ),
    }
)
_BLOCK = {
    "esrgan2018": re.compile(r"model\.1\.sub\.(\d{1,6})\.RDB"),
    "esrgan2019": re.compile(r"RRDB_trunk\.(\d{1,6})\."),
}
_TODAYS_BLOCK = re.compile(r"body\.(\d{1,6})\.")


def layout_of(state: Mapping[str, Tensor]) -> str:
    """``esrgan2018``, ``esrgan2019``, or ``today`` for today's names and everything else."""
    if "model.0.weight" in state:
        return "esrgan2018"
    return "esrgan2019" if "trunk_conv.weight" in state else "today"


def count_blocks(state: Mapping[str, Tensor]) -> int:
    """How many RRDBs the names speak of, in any layout."""
    pattern = _BLOCK.get(layout_of(state), _TODAYS_BLOCK)
    return len({match[1] for name in state if (match := pattern.match(name))})


def count_steps(state: Mapping[str, Tensor]) -> int:
    """How many convolutions after an enlargement the names speak of, in any layout."""
    if layout_of(state) == "esrgan2018":  # conv_first, the steps, conv_hr, conv_last
        outer = {name for name in state if re.fullmatch(r"model\.\d+\.weight", name)}
        return max(0, len(outer) - 3)
    return sum(re.fullmatch(r"(conv_up|upconv)\d\.weight", name) is not None for name in state)


def to_today(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Today's names for a state dict of any layout.

    Names that the layout does not have stay, for the comparison with the network to tell.
    """
    layout = LAYOUTS.get(layout_of(state))
    if layout is None:
        return dict(state)
    sizes = count_blocks(state), count_steps(state)
    todays = dict(zip(layout.names(*sizes), TODAY.names(*sizes), strict=True))
    return {_renamed(name, todays): tensor for name, tensor in state.items()}


def from_today(state: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
    """The names of :data:`LAYOUTS` for today's; nothing but the names changes."""
    sizes = count_blocks(state), count_steps(state)
    theirs = dict(zip(TODAY.names(*sizes), LAYOUTS[layout].names(*sizes), strict=True))
    return {_renamed(name, theirs): tensor for name, tensor in state.items()}


def _renamed(name: str, names: Mapping[str, str]) -> str:
    module, _, kind = name.rpartition(".")
    return f"{names.get(module, module)}.{kind}" if module else name
