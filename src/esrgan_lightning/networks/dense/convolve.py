"""Kernels of the dense block for GPUs, in Triton: nothing is concatenated, cast or activated apart.

Pictures are rows here: P = B·h·w pixels, each with its channels beside one another (channels_last). One
buffer X of NF + 4·GC channels takes [x, x1, x2, x3, x4], and convolution k reads its first channels in place.
Backward has the same shape: with D = [β·∂L/∂out, g4, g3, g2, g1], where gk is the gradient before activation
k, each gk and at last ∂L/∂x − ∂L/∂out is a 3×3 convolution of D's first channels, by the weights turned
round. So one kernel serves both directions. All sums are in fp32, of values in half precision.

Convolutions of so few channels wait for the L2 cache: what counts is how often a pixel is read. Each is read
once for a row of three taps. The program sums up what every pixel gives to its left, to itself and to its
right neighbour, and moves the outer sums by one pixel at the end.
"""

import triton
import triton.language as tl

SLOPE = tl.constexpr(0.2)


@triton.jit
def first(stage, NF: tl.constexpr, GC: tl.constexpr):
    """Where the weights of convolution ``stage`` (from 0) begin among all of them, in elements."""
    return 9 * GC * (stage * NF + GC * (stage * (stage - 1) // 2))


@triton.jit
def _of_convolution(
    w, k: tl.constexpr, back, stage, o, tap, c, within,
    NF: tl.constexpr, GC: tl.constexpr, LAST: tl.constexpr,
):  # fmt: skip
    """What convolution k has of a stage's weights [o][tap][c], elsewhere 0."""
    C: tl.constexpr = NF + k * GC
    # Backward c counts D's channels: those of the last convolution's output, then of the ones before.
    owner = tl.where(back, tl.where(c < NF, 4, 3 - (c - NF) // GC), stage)
    row = tl.where(back, tl.where(c < NF, c, (c - NF) % GC), o)
    column = tl.where(back, tl.where(stage == 4, 0, NF + (3 - stage) * GC) + o, c)
    turned = tl.where(back, 8 - tap, tap)
    place = (row * 9 + turned) * C + column if LAST else (row * C + column) * 9 + turned
    return tl.load(w + place, mask=within & (owner == k), other=0.0).to(tl.float32)


@triton.jit
def pack(
    w0, w1, w2, w3, w4, packed, turned, beta,
    NF: tl.constexpr, GC: tl.constexpr, LAST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The five weights (O,C,3,3) in half precision, each as [O][3·3][C], and as backward reads them.

    Grid: (blocks, 5 stages, 2 directions). Backward stage k turns D's first NF + k·GC channels into the
    gradient of map 4 − k, the last convolution's weights times β.
    """
    stage = tl.program_id(1)
    back = tl.program_id(2) == 1
    channels = NF + stage * GC
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    within = at < tl.where(stage == 4, NF, GC) * channels * 9
    c = at % channels
    tap = (at // channels) % 9
    o = at // (channels * 9)
    value = _of_convolution(w0, 0, back, stage, o, tap, c, within, NF, GC, LAST)
    value += _of_convolution(w1, 1, back, stage, o, tap, c, within, NF, GC, LAST)
    value += _of_convolution(w2, 2, back, stage, o, tap, c, within, NF, GC, LAST)
    value += _of_convolution(w3, 3, back, stage, o, tap, c, within, NF, GC, LAST)
    value += _of_convolution(w4, 4, back, stage, o, tap, c, within, NF, GC, LAST)
    value = tl.where(back & (c < NF), value * beta, value)
    value = value.to(packed.dtype.element_ty)
    if back:
        tl.store(turned + first(stage, NF, GC) + at, value, mask=within)
    else:
        tl.store(packed + first(stage, NF, GC) + at, value, mask=within)


@triton.jit
def _row_of_taps(
    source, weight, pixel, valid, row, width, down, channel, left, middle, right,
    C: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    """Adds what some channels of the row above, here or below give to the three neighbours."""
    n = tl.arange(0, N)
    seen = source + (pixel + (down - 1) * width)[:, None] * row + channel[None, :]
    a = tl.load(seen, mask=valid[:, None], other=0.0)
    b = weight + (n * 9 + down * 3)[None, :] * C + channel[:, None]
    left = tl.dot(a, tl.load(b), left)
    middle = tl.dot(a, tl.load(b + C), middle)
    right = tl.dot(a, tl.load(b + 2 * C), right)
    return left, middle, right


@triton.jit
def convolve(
    source, row, buffer, weight, bias, maps, out, sums, beta, P, height, width,
    C: tl.constexpr, N: tl.constexpr, NF: tl.constexpr, GC: tl.constexpr,
    BACK: tl.constexpr, BM: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """One 3×3 convolution of the first C channels of ``source`` to N channels, and what follows it.

    Forward stages end in xk = LeakyReLU(· + bias), the last in out = x + β·(· + bias); backward's in
    gk = · times the slope at xk, the last in ∂L/∂x = ∂L/∂out + ·. The first stage, C = NF, reads what the
    block was given and copies it into the buffer. Each program has BM pixels and writes BM − 2.

    ``source`` has P rows, ``row`` elements apart; ``buffer`` is X or D; ``weight`` is [N][9][C]. Forward
    alone reads ``bias``, N, and backward ``maps``, which is X, for the slopes. The last stage writes ``out``,
    P rows of NF. Backward leaves in ``sums`` a row of NF + 4·GC for each program, its part of the biases'
    gradients.
    """
    ALL: tl.constexpr = NF + 4 * GC
    line = tl.arange(0, BM)
    pixel = tl.program_id(0) * (BM - 2) - 1 + line
    x = pixel % width
    y = (pixel // width) % height
    inside = (pixel >= 0) & (pixel < P)
    left = tl.zeros((BM, N), tl.float32)
    middle = tl.zeros((BM, N), tl.float32)
    right = tl.zeros((BM, N), tl.float32)
    for step in range(3 * (C // BK)):
        down = step // (C // BK)
        valid = inside & (y + down >= 1) & (y + down <= height)
        channel = (step % (C // BK)) * BK + tl.arange(0, BK)
        left, middle, right = _row_of_taps(
            source, weight, pixel, valid, row, width, down, channel, left, middle, right, C, N
        )
    if C % BK:
        channel = C // BK * BK + tl.arange(0, C % BK)
        for down in range(3):
            valid = inside & (y + down >= 1) & (y + down <= height)
            left, middle, right = _row_of_taps(
                source, weight, pixel, valid, row, width, down, channel, left, middle, right, C, N
            )
    zero = tl.zeros((BM, N), tl.int32)
    before = tl.gather(left, zero + tl.maximum(line - 1, 0)[:, None], 0)
    after = tl.gather(right, zero + tl.minimum(line + 1, BM - 1)[:, None], 0)
    total = middle + tl.where((x > 0)[:, None], before, 0.0)
    total += tl.where((x < width - 1)[:, None], after, 0.0)
    whole = (inside & (line > 0) & (line < BM - 1))[:, None]
    total = tl.where(whole, total, 0.0)

    n = tl.arange(0, N)
    kept = buffer + pixel[:, None] * ALL
    if not BACK:
        total += tl.load(bias + n).to(tl.float32)[None, :]
    if C == ALL:
        given = tl.load(kept + n[None, :], mask=whole, other=0.0).to(tl.float32)
        total = given + (total if BACK else beta * total)
        tl.store(out + pixel[:, None] * NF + n[None, :], total.to(out.dtype.element_ty), mask=whole)
    else:
        if BACK:  # a map has its argument's sign, which is all that the slope depends on
            sign = tl.load(
                maps + pixel[:, None] * ALL + (ALL - GC - (C - NF) + n)[None, :], mask=whole, other=0.0
            )
        else:
            sign = total
        total = tl.where(sign > 0, total, total * SLOPE)
        tl.store(kept + (C + n)[None, :], total.to(buffer.dtype.element_ty), mask=whole)
        if BACK:
            tl.store(sums + tl.program_id(0) * ALL + C + n, tl.sum(total, 0))
    if C == NF:
        c = tl.arange(0, NF)
        given = tl.load(source + pixel[:, None] * row + c[None, :], mask=whole, other=0.0)
        tl.store(kept + c[None, :], given, mask=whole)
        if BACK:
            tl.store(sums + tl.program_id(0) * ALL + c, tl.sum(given.to(tl.float32), 0) * beta)


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
