"""Gradients of the dense block's parameters on a GPU; see ``_dense_convolve.py`` for X, D and the layout."""

import triton
import triton.language as tl

from esrgan_lightning.networks.dense.convolve import first


@triton.jit
def weight_gradients(
    behind, maps, parts, P, height, width, share,
    GC: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    """Σ_p D[p − tap, m] · X[p, c] over a share of the pixels, for a row of taps and 2·GC of D's channels.

    Grid: (3 rows of taps × 3 parts of D, shares); NF = 2·GC. ``parts``: [share][tap][m][c] in fp32.
    """
    ALL: tl.constexpr = 6 * GC
    tile = tl.program_id(0) % 3
    down = tl.program_id(0) // 3
    part = tl.program_id(1)
    m = tile * 2 * GC + tl.arange(0, 2 * GC)
    low = tl.arange(0, 4 * GC)
    high = 4 * GC + tl.arange(0, 2 * GC)
    low0 = tl.zeros((2 * GC, 4 * GC), tl.float32)
    low1 = tl.zeros((2 * GC, 4 * GC), tl.float32)
    low2 = tl.zeros((2 * GC, 4 * GC), tl.float32)
    high0 = tl.zeros((2 * GC, 2 * GC), tl.float32)
    high1 = tl.zeros((2 * GC, 2 * GC), tl.float32)
    high2 = tl.zeros((2 * GC, 2 * GC), tl.float32)
    for start in range(part * share, min(part * share + share, P), BP):
        pixel = start + tl.arange(0, BP)
        x = pixel % width
        y = (pixel // width) % height + 1 - down
        inside = pixel < P
        valid = inside & (y >= 0) & (y < height)
        near = behind + (pixel + (1 - down) * width)[:, None] * ALL + m[None, :]
        a = tl.load(maps + pixel[:, None] * ALL + low[None, :], mask=inside[:, None], other=0.0)
        b = tl.load(maps + pixel[:, None] * ALL + high[None, :], mask=inside[:, None], other=0.0)
        d0 = tl.trans(tl.load(near + ALL, mask=(valid & (x < width - 1))[:, None], other=0.0))
        d1 = tl.trans(tl.load(near, mask=valid[:, None], other=0.0))
        d2 = tl.trans(tl.load(near - ALL, mask=(valid & (x > 0))[:, None], other=0.0))
        low0 = tl.dot(d0, a, low0)
        high0 = tl.dot(d0, b, high0)
        low1 = tl.dot(d1, a, low1)
        high1 = tl.dot(d1, b, high1)
        low2 = tl.dot(d2, a, low2)
        high2 = tl.dot(d2, b, high2)
    out = parts + ((part * 9 + down * 3) * ALL + m[:, None]) * ALL
    tl.store(out + low[None, :], low0)
    tl.store(out + ALL * ALL + low[None, :], low1)
    tl.store(out + 2 * ALL * ALL + low[None, :], low2)
    if tile < 2:  # the first two convolutions do not see the last maps
        tl.store(out + high[None, :], high0)
        tl.store(out + ALL * ALL + high[None, :], high1)
        tl.store(out + 2 * ALL * ALL + high[None, :], high2)


@triton.jit
def sum_parts(
    parts, sums, weights, biases, beta, ROWS,
    PARTS: tl.constexpr, NF: tl.constexpr, GC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Adds up the shares, in their order: gradients of the weights, [O][3·3][C] by turns, and of biases.

    Grid: (blocks, 5 stages).
    """
    ALL: tl.constexpr = NF + 4 * GC
    stage = tl.program_id(1)
    channels = NF + stage * GC
    outputs = tl.where(stage == 4, NF, GC)
    column = tl.where(stage == 4, 0, NF + (3 - stage) * GC)
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    within = at < outputs * channels * 9
    c = at % channels
    tap = (at // channels) % 9
    o = at // (channels * 9)
    total = tl.zeros((BLOCK,), tl.float32)
    for part in tl.static_range(PARTS):
        total += tl.load(parts + ((part * 9 + tap) * ALL + column + o) * ALL + c, mask=within, other=0.0)
    # The buffer holds ∂L/∂out without β.
    tl.store(weights + first(stage, NF, GC) + at, total * tl.where(stage == 4, beta, 1.0), mask=within)
    if tl.program_id(0) == 0:
        n = tl.arange(0, NF)
        line = tl.arange(0, 32)
        several = tl.zeros((32, NF), tl.float32)
        for start in range(0, ROWS, 32):
            own = ((start + line) < ROWS)[:, None] & (n < outputs)[None, :]
            several += tl.load(
                sums + (start + line)[:, None] * ALL + (column + n)[None, :], mask=own, other=0.0
            )
        tl.store(biases + stage * GC + n, tl.sum(several, 0), mask=n < outputs)
