r"""A ``bandwise`` network as machine code: for streams of 10 ms blocks, and for long files.

onnxruntime runs a graph of a hundred small operators for a frame, and each costs more than its arithmetic. Compiled as
one function (numba, extra ``[live]`` or ``[kalman]``; see :mod:`..compiling`) the same frame takes less than half the
time, and one of many frames four fifths of it. It computes what ``unmuffle.train.nets.bandwise`` says, from the
weights in the network file, for any number of channels; short files and many streams side by side stay with the graph,
and so does everything where numba is not installed.

That it is the same is not taken for granted: a network is run both ways when it is loaded, and the graph is kept if
they differ by more than :data:`TOLERANCE`.

Products of matrices are left to BLAS. Exponentials and powers are polynomials here, as those of the C library cannot be
vectorised: :math:`e^x = 2^m e^r` with a whole :math:`m`, set as bits of the exponent, and a Taylor series for
:math:`|r| \le 1/2` (relative error below 3e-7); :math:`\log_2` by the bits of its exponent and the series of the
inverse hyperbolic tangent for what is left.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...signal.compiled import release
from .. import compiling, registry
from .model import Model, State
from .weights import initialisers

Floats = NDArray[np.float32]

TOLERANCE = 2e-5
"""Largest difference from the graph, as a share of the output's peak."""

BINS, PATCH, PATCHES, FEW, USUAL = 161, 4, 40, 4, 3
KERNEL = 2 * PATCH
WIDE = PATCH * (PATCHES + 1)

AHEAD = 2
"""Frames that are mixed over bands at once, in rows of as many widths: two of 48 are whole vectors."""

_SMALL = 900_000
"""Products that a matrix product may take: OpenBLAS does up to a million without rearranging, a quarter faster."""

_PROOF_FRAMES = 120

_f = np.float32
_EPS, _EPS2, _FLOOR, _POWER = _f(1e-12), _f(1e-24), _f(0.01), _f(-0.425)
_LOG2_E, _LN_2 = _f(1.442695041), _f(0.6931471806)
_LN_2_HIGH, _LN_2_LOW = _f(0.693359375), _f(-2.12194440e-4)
_E2, _E3, _E4, _E5, _E6, _E7 = _f(1 / 2), _f(1 / 6), _f(1 / 24), _f(1 / 120), _f(1 / 720), _f(1 / 5040)
# 2 / ln 2 times 1, 1/3, 1/5, 1/7, 1/9.
_L1, _L3, _L5, _L7, _L9 = _f(2.885390082), _f(0.961796694), _f(0.577078016), _f(0.412198583), _f(0.320598898)
_ROOT_2 = _f(1.41421356)
_0, _1, _2, _HALF = _f(0.0), _f(1.0), _f(2.0), _f(0.5)
_MOST, _MOST_2 = _f(25.0), _f(125.0)
_MANTISSA, _ONE_BITS, _BIAS, _SHIFT = np.int32(0x7FFFFF), np.int32(0x3F800000), np.int32(127), np.int32(23)


def _fast(function: Any) -> Any:
    return compiling.compiled(function, reorder=True)


def _exact(function: Any) -> Any:
    """For sums in which digits would be lost in another order."""
    return compiling.compiled(function)


@_fast
def _raised(r: Any, m: Any) -> Any:
    """``exp(r) * 2 ** m`` for ``r`` within a half and a whole ``m`` from -126 to 127."""
    whole = np.int32((np.int32(m) + _BIAS) << _SHIFT).view(np.float32)
    return (_1 + r * (_1 + r * (_E2 + r * (_E3 + r * (_E4 + r * (_E5 + r * (_E6 + r * _E7))))))) * whole


@_exact
def _falling(x: Any) -> Any:
    """``exp(-x)``; of what lies beyond +-25, that of 25: three of them can be multiplied."""
    v = min(max(-x, -_MOST), _MOST)
    m = np.floor(v * _LOG2_E + _HALF)
    r = (v - m * _LN_2_HIGH) - m * _LN_2_LOW  # in two parts, of which the first loses no digit
    return _raised(r, m)


@_exact
def _power(x: Any, power: Any) -> Any:
    """``x ** power``; ``x`` must be above 1.2e-38."""
    b = np.float32(x).view(np.int32)
    e = _f((b >> _SHIFT) - _BIAS)
    s = np.int32((b & _MANTISSA) | _ONE_BITS).view(np.float32)
    high = s > _ROOT_2
    s = s * _HALF if high else s
    e = e + _1 if high else e
    t = (s - _1) / (s + _1)
    q = t * t
    v = t * (_L1 + q * (_L3 + q * (_L5 + q * (_L7 + q * _L9)))) * power
    # Whole powers of two are taken apart, so that what is left keeps its digits.
    m = np.floor(e * power + _HALF)
    coarse = np.floor(power * _f(1024.0)) * _f(1.0 / 1024.0)
    r = ((e * coarse - m) + (e * (power - coarse) + v)) * _LN_2
    return _raised(r, min(max(m, -_MOST_2), _MOST_2))


@_fast
def _remember(g: Floats, cell: Floats, h: Floats) -> None:
    """The rest of an LSTM: ``g`` holds what goes into all gates i, then all f, twice that of all g, and all o.

    With e for :func:`_falling`, sigmoid(x) = 1 / (1 + e(x)) and tanh(x) = (1 - e(2 x)) / (1 + e(2 x)): each sum of
    products is put over one denominator, as a division takes the time of a dozen products.
    """
    n = cell.size
    gate_i, gate_f, gate_g, gate_o = g[:n], g[n : 2 * n], g[2 * n : 3 * n], g[3 * n : 4 * n]
    for u in range(n):
        a, b, e = _1 + _falling(gate_i[u]), _1 + _falling(gate_f[u]), _falling(gate_g[u])
        d = _1 + e
        c = (cell[u] * (a * d) + b * (_1 - e)) / (a * b * d)
        cell[u] = c
        e = _falling(_2 * c)
        h[u] = (_1 - e) / ((_1 + e) * (_1 + _falling(gate_o[u])))


@_fast
def _multiply(a: Floats, b: Floats, out: Floats) -> None:
    """``out = a b``, some rows at a time: as many as BLAS multiplies without rearranging the matrices first."""
    rows = max(1, _SMALL // (b.shape[0] * b.shape[1]))
    for i in range(0, a.shape[0], rows):
        np.dot(a[i : i + rows], b, out[i : i + rows])


@_fast
def _rows(lags: int, steady: int) -> int:
    """Numbers that are seen of a bin."""
    return 3 + 2 * lags + (USUAL if steady > 0 else 0)


@_fast
def _frames(
    x: Floats,
    out: Floats,
    count: int,
    before: Floats,
    after: Floats,
    w: Floats,
    s: Floats,
    bands: int,
    width: int,
    blocks: int,
    units: int,
    memory: int,
    taps: int,
    lags: int,
    steady: int,
) -> None:
    """From the first ``count`` frames of ``x`` (channels, frames, 2, bins) and ``before`` to ``out`` and ``after``.

    ``before`` and ``after`` are states. ``w`` holds the weights as :func:`_packed` lays them out, in the order in which
    they are used here; ``s`` is scratch. What has no memory is one product for all frames: rows lie as (patch or band,
    frame), so that what mixes patches or bands is one product too.
    """
    channels = x.shape[0]
    n = bands * width
    levels = 2 * (memory - 1)
    kept = max(taps - 1, lags)
    frame = 2 * BINS
    rows, pairs = _rows(lags, steady), 2 + lags
    turn = w[: kept * frame].reshape(kept, 2, BINS)
    at = kept * frame

    # The frames before and these, as they are; and, for each lag, turned by what steps lack.
    past, span = kept * frame, (kept + count) * frame
    o = channels * span
    heard = s[:o].reshape(channels, kept + count, 2, BINS)
    lagged = s[o : o + channels * count * past].reshape(channels, kept, count, 2, BINS)
    o += channels * count * past
    for ch in range(channels):
        for i in range(past):
            s[ch * span + i] = before[levels + ch * past + i]
        for t in range(count):
            for i in range(2):
                for k in range(BINS):
                    heard[ch, kept + t, i, k] = x[ch, t, i, k]
        for i in range(past):
            after[levels + ch * past + i] = s[ch * span + count * frame + i]
        for lag in range(1, kept + 1):
            cos, sin = turn[lag - 1, 0], turn[lag - 1, 1]
            for t in range(count):
                old, turned = heard[ch, kept + t - lag], lagged[ch, lag - 1, t]
                for k in range(BINS):
                    turned[0, k] = cos[k] * old[0, k] - sin[k] * old[1, k]
                    turned[1, k] = cos[k] * old[1, k] + sin[k] * old[0, k]

    means, knowns = s[o : o + memory - 1 + count], s[o + memory - 1 + count : o + 2 * (memory - 1 + count)]
    o += 2 * (memory - 1 + count)
    for i in range(memory - 1):
        means[i] = before[2 * i]
        knowns[i] = before[2 * i + 1]
    state = levels + channels * past
    if steady > 0:
        for i in range(USUAL * BINS + 1):
            after[state + i] = before[state + i]
    clues = s[o : o + rows * WIDE].reshape(rows, WIDE)  # of bin -1, 0, ... 162: what is no bin, and bin 0, stay zero
    for i in range(rows * WIDE):
        s[o + i] = _0
    o += rows * WIDE
    flat = s[o : o + pairs * BINS]
    norm = flat.reshape(pairs, BINS)
    o += pairs * BINS
    seen = s[o : o + PATCHES * count * rows * KERNEL].reshape(PATCHES * count, rows * KERNEL)
    o += PATCHES * count * rows * KERNEL
    share = _1 / _f(channels)
    for t in range(count):
        # What is heard: products with the frames before and the bin below, means over the channels, compressed.
        for r in range(1 + 2 * (pairs - 1)):
            for k in range(1, BINS):
                clues[r, k + 1] = _0
        for ch in range(channels):
            re, im = heard[ch, kept + t, 0], heard[ch, kept + t, 1]
            for k in range(1, BINS):
                a, b, c, d = re[k], im[k], re[k - 1], im[k - 1]
                clues[0, k + 1] += share * (a * a + b * b)
                clues[3, k + 1] += share * (a * c + b * d)
                clues[4, k + 1] += share * (b * c - a * d)
            for lag in range(1, lags + 1):
                r = 1 if lag == 1 else 1 + 2 * lag
                pre, pim = lagged[ch, lag - 1, t, 0], lagged[ch, lag - 1, t, 1]
                for k in range(1, BINS):
                    clues[r, k + 1] += share * (re[k] * pre[k] + im[k] * pim[k])
                    clues[r + 1, k + 1] += share * (im[k] * pre[k] - re[k] * pim[k])
        for k in range(1, BINS):
            size = clues[0, k + 1] + _EPS
            clues[0, k + 1], norm[0, k] = size, size * size
        for q in range(1, pairs):
            one, other = clues[2 * q - 1], clues[2 * q]
            for k in range(1, BINS):
                norm[q, k] = one[k + 1] * one[k + 1] + other[k + 1] * other[k + 1] + _EPS2
        for q in range(pairs):
            norm[q, 0] = _1
        for i in range(flat.size):
            flat[i] = _power(flat[i], _POWER)
        mean = _0
        for k in range(2, 81):
            mean += clues[0, k + 1] * norm[0, k]
        means[memory - 1 + t], knowns[memory - 1 + t] = mean / _f(79.0) + _FLOOR, _1
        total, known = _0, _0
        for i in range(t, t + memory):
            total += means[i]
            known += knowns[i]
        scale = known / total
        if steady > 0:
            # What is usual in each bin: leaky means, and the mean of ones by which they are divided.
            fresh = _1 / _f(steady)
            m = state + USUAL * BINS
            after[m] += fresh * (_1 - after[m])
            weight = scale / after[m]
            for r in range(USUAL):
                gain, now, mean_of = norm[(r + 1) // 2], clues[r], clues[rows - USUAL + r]
                leaky = after[state + r * BINS : state + (r + 1) * BINS]
                for k in range(1, BINS):
                    leaky[k] += fresh * (now[k + 1] * gain[k] - leaky[k])
                    mean_of[k + 1] = leaky[k] * weight
        for k in range(1, BINS):
            clues[0, k + 1] *= norm[0, k] * scale
        for q in range(1, pairs):
            one, other, gain = clues[2 * q - 1], clues[2 * q], norm[q]
            for k in range(1, BINS):
                one[k + 1] *= gain[k] * scale
                other[k + 1] *= gain[k] * scale
        for j in range(PATCHES):
            row = seen[j * count + t]
            for r in range(rows):
                clue = clues[r]
                for q in range(KERNEL):
                    row[r * KERNEL + q] = clue[PATCH * j + q]
    for i in range(memory - 1):
        after[2 * i], after[2 * i + 1] = means[count + i], knowns[count + i]
    if steady > 0:
        state += USUAL * BINS + 1

    # Patches, and bands of them.
    patches = s[o : o + PATCHES * count * width].reshape(PATCHES * count, width)
    o += PATCHES * count * width
    m = rows * KERNEL * width
    _multiply(seen, w[at : at + m].reshape(rows * KERNEL, width), patches)
    at += m
    bias = w[at : at + width]
    at += width
    for j in range(PATCHES * count):
        row = patches[j]
        for u in range(width):
            row[u] = max(row[u] + bias[u], _0)
    whole = s[o : o + n * count]
    y = whole.reshape(bands * count, width)
    o += n * count
    mixed = s[o : o + n * count]
    z = mixed.reshape(bands * count, width)
    o += n * count
    m = bands * PATCHES
    np.dot(
        w[at : at + m].reshape(bands, PATCHES),
        patches.reshape(PATCHES, count * width),
        whole.reshape(bands, count * width),
    )
    at += m
    for r in range(bands):
        bias = w[at : at + width]
        at += width
        for t in range(count):
            row = y[r * count + t]
            for u in range(width):
                row[u] += bias[u]

    gates = s[o : o + 4 * n * count].reshape(bands * count, 4 * width)
    more = s[o : o + n * count].reshape(bands * count, width)  # after the recurrence is done with the gates
    added = s[o : o + n * count]
    o += 4 * n * count
    others, gathered = s[o : o + 4 * n].reshape(bands, 4 * width), s[o + 4 * n : o + 8 * n]
    o += 8 * n
    for block in range(blocks):
        # The recurrence that all bands share.
        h, c = after[state : state + n], after[state + n : state + 2 * n]
        for i in range(2 * n):
            after[state + i] = before[state + i]
        state += 2 * n
        m = 4 * width * width
        _multiply(y, w[at : at + m].reshape(width, 4 * width), gates)
        at += m
        own = w[at : at + m].reshape(width, 4 * width)
        at += m
        bias = w[at : at + 4 * width]
        at += 4 * width
        for t in range(count):
            np.dot(h.reshape(bands, width), own, others)
            for r in range(bands):
                one, other = others[r], gates[r * count + t]
                for v in range(4):
                    gate = gathered[v * n + r * width : v * n + (r + 1) * width]
                    for u in range(width):
                        gate[u] = one[v * width + u] + other[v * width + u] + bias[v * width + u]
            _remember(gathered, c, h)
            for r in range(bands):
                row = y[r * count + t]
                for u in range(width):
                    row[u] += h[r * width + u]
        # The mix over bands for each feature, and the one over features.
        # Some frames that lie side by side are taken at once, and so are four bands.
        across, long, k = at, AHEAD * width, count * width
        at += AHEAD * bands * n
        shift = w[at : at + n].reshape(bands, width)
        at += n
        t = 0
        while t < count:
            m = long if count - t >= AHEAD else width
            for r in range(bands):
                i = (r * count + t) * width
                for v in range(i, i + m, width):
                    part, begin = mixed[v : v + width], shift[r]
                    for u in range(width):
                        part[u] = begin[u]
                into = mixed[i : i + m]
                for q in range(0, bands - 3, 4):
                    a, j = across + (r * bands + q) * long, (q * count + t) * width
                    y0, y1 = whole[j : j + m], whole[j + k : j + k + m]
                    y2, y3 = whole[j + 2 * k : j + 2 * k + m], whole[j + 3 * k : j + 3 * k + m]
                    a0, a1 = w[a : a + m], w[a + long : a + long + m]
                    a2, a3 = w[a + 2 * long : a + 2 * long + m], w[a + 3 * long : a + 3 * long + m]
                    for u in range(m):
                        into[u] += y0[u] * a0[u] + y1[u] * a1[u] + y2[u] * a2[u] + y3[u] * a3[u]
                for q in range(bands - bands % 4, bands):
                    a, j = across + (r * bands + q) * long, (q * count + t) * width
                    y0, a0 = whole[j : j + m], w[a : a + m]
                    for u in range(m):
                        into[u] += y0[u] * a0[u]
                for u in range(m):
                    into[u] = max(into[u], _0)
            t += m // width
        _multiply(z, w[at : at + width * width].reshape(width, width), more)
        at += width * width
        for i in range(n * count):
            whole[i] += added[i]
        if block == 0 and units > 0:
            # The recurrence that sees all bands at once.
            few = bands * FEW
            taken = s[o : o + few * count].reshape(bands * count, FEW)
            p = o + few * count
            given = s[p : p + few * count].reshape(count, few)
            p += few * count
            found = s[p : p + units * count].reshape(count, units)
            p += units * count
            wide_gates = s[p : p + 4 * units * count].reshape(count, 4 * units)
            p += 4 * units * count
            wide_others = s[p : p + 4 * units]
            np.dot(y, w[at : at + width * FEW].reshape(width, FEW), taken)
            at += width * FEW
            for r in range(bands):
                for t in range(count):
                    for u in range(FEW):
                        given[t, r * FEW + u] = taken[r * count + t, u]
            last = before.size - 2 * units
            h, c = after[last : last + units], after[last + units : last + 2 * units]
            for i in range(2 * units):
                after[last + i] = before[last + i]
            np.dot(given, w[at : at + few * 4 * units].reshape(few, 4 * units), wide_gates)
            at += few * 4 * units
            own = w[at : at + 4 * units * units].reshape(units, 4 * units)
            at += 4 * units * units
            bias = w[at : at + 4 * units]
            at += 4 * units
            for t in range(count):
                np.dot(h, own, wide_others)
                other = wide_gates[t]
                for u in range(4 * units):
                    wide_others[u] += other[u] + bias[u]
                _remember(wide_others, c, h)
                for u in range(units):
                    found[t, u] = h[u]
            np.dot(found, w[at : at + units * few].reshape(units, few), given)
            at += units * few
            for r in range(bands):
                for t in range(count):
                    for u in range(FEW):
                        taken[r * count + t, u] = max(given[t, r * FEW + u] + w[at + r * FEW + u], _0)
            at += few
            np.dot(taken, w[at : at + FEW * width].reshape(FEW, width), more)
            at += FEW * width
            for i in range(n * count):
                whole[i] += added[i]

    # From bands to patches, and to the taps of each bin.
    wide = s[o : o + PATCHES * count * width].reshape(PATCHES * count, width)
    o += PATCHES * count * width
    np.dot(
        w[at : at + PATCHES * bands].reshape(PATCHES, bands),
        whole.reshape(bands, count * width),
        wide.reshape(PATCHES, count * width),
    )
    at += PATCHES * bands
    for j in range(PATCHES):
        bias = w[at : at + width]
        at += width
        for t in range(count):
            row, other = wide[j * count + t], patches[j * count + t]
            for u in range(width):
                row[u] = max(row[u] + other[u] + bias[u], _0)
    # What each patch gives to the taps of the next one, its own, and the one before.
    each = 2 * taps * PATCH
    parts = s[o : o + PATCHES * count * 3 * each].reshape(PATCHES * count, 3 * each)
    o += PATCHES * count * 3 * each
    _multiply(wide, w[at : at + width * 3 * each].reshape(width, 3 * each), parts)
    at += width * 3 * each
    bias = w[at : at + each]
    tap = s[o : o + 2 * taps * BINS].reshape(2 * taps, BINS)
    for t in range(count):
        for j in range(PATCHES):
            own = parts[j * count + t]
            left, right = parts[max(j - 1, 0) * count + t], parts[min(j + 1, PATCHES - 1) * count + t]
            first, last = (_1 if j > 0 else _0), (_1 if j < PATCHES - 1 else _0)
            for i in range(2 * taps):
                for p in range(PATCH):
                    q = i * PATCH + p
                    tap[i, j * PATCH + p] = bias[q] + own[each + q] + first * left[q] + last * right[2 * each + q]
        for i in range(2 * taps):
            tap[i, BINS - 1] = tap[i, BINS - 2]  # the last bin, half a bin wide, goes with the one below
        for ch in range(channels):
            re, im = heard[ch, kept + t, 0], heard[ch, kept + t, 1]
            out_re, out_im = out[ch, t, 0], out[ch, t, 1]
            for k in range(BINS):
                out_re[k] = tap[0, k] * re[k] - tap[1, k] * im[k]
                out_im[k] = tap[0, k] * im[k] + tap[1, k] * re[k]
            for lag in range(1, taps):
                a, b = tap[2 * lag], tap[2 * lag + 1]
                pre, pim = lagged[ch, lag - 1, t, 0], lagged[ch, lag - 1, t, 1]
                for k in range(BINS):
                    out_re[k] += a[k] * pre[k] - b[k] * pim[k]
                    out_im[k] += a[k] * pim[k] + b[k] * pre[k]


class Native:
    """One stream's way through a network, some frames at a time: what :class:`.model.Lane` is for the graph.

    Made by :func:`native`.

    Attributes:
        frames: of a call, at most.
        given, answer: ``(channels, frames, 2, bins)``, as those of a lane.
    """

    def __init__(self, model: Model, code: Code, frames: int, channels: int = 1) -> None:
        self.frames = frames
        self.given = np.zeros((channels, frames, 2, BINS), np.float32)
        self.answer = np.zeros((channels, frames, 2, BINS), np.float32)
        zeros = model.initial(channels)
        size = sum(a.size for a in zeros.values())
        self._flat = np.zeros(size, np.float32), np.zeros(size, np.float32)
        self._sets = _views(self._flat[0], zeros), _views(self._flat[1], zeros)
        self._rest = (code.weights, np.zeros(code.scratch(frames, channels), np.float32), *code.sizes)

    def run(self, state: State, count: int = 1) -> State:
        """The first ``count`` frames from :attr:`given` to :attr:`answer`; see :meth:`.model.Lane.run`."""
        turn = 1 if state is self._sets[1] else 0
        if state is not self._sets[turn]:
            for name, array in self._sets[turn].items():
                array[...] = state[name]
        _frames(self.given, self.answer, count, self._flat[turn], self._flat[1 - turn], *self._rest)
        return self._sets[1 - turn]


class Code:
    """What the machine code needs of a network: its weights in one row, its sizes, and how much scratch.

    Attributes:
        wanted: numbers that :func:`_frames` reads of weights.
        kept: past frames that a state holds.
    """

    def __init__(self, weights: Floats, sizes: tuple[int, int, int, int, int, int, int, int]) -> None:
        self.weights = weights
        self.sizes = sizes
        bands, width, blocks, units, _, taps, lags, steady = sizes
        self.kept = max(taps - 1, lags)
        n, few, rows = bands * width, bands * FEW, _rows(lags, steady)
        self.wanted = 2 * BINS * self.kept + (rows * KERNEL + 1) * width + bands * PATCHES + n
        self.wanted += blocks * (9 * width * width + 4 * width + AHEAD * bands * n + n)
        if units:
            self.wanted += 2 * width * FEW + 4 * units * (few + units + 1) + (units + 1) * few
        self.wanted += PATCHES * (bands + width) + (3 * width + 1) * 2 * taps * PATCH

    def state(self, channels: int) -> int:
        """Numbers that :func:`_frames` reads and writes of a state."""
        bands, width, blocks, units, memory, _, _, steady = self.sizes
        usual = USUAL * BINS + 1 if steady else 0
        return 2 * (memory - 1 + channels * BINS * self.kept + blocks * bands * width + units) + usual

    def scratch(self, frames: int, channels: int) -> int:
        """Numbers of scratch for so many frames, in the order in which :func:`_frames` takes them."""
        bands, width, _, units, memory, taps, lags, steady = self.sizes
        n, kept, rows, pairs = bands * width, self.kept, _rows(lags, steady), 2 + lags
        once = channels * 2 * BINS * kept + 2 * (memory - 1) + rows * WIDE + pairs * BINS
        each = channels * 2 * BINS * (1 + kept) + 2 + PATCHES * (rows * KERNEL + width) + 6 * n
        # The context's part is used again by what follows it.
        once += 8 * n + 4 * units + 2 * taps * BINS
        each += 2 * bands * FEW + 5 * units + PATCHES * (width + 6 * taps * PATCH)
        return once + each * frames


def native(model: Model, frames: int = 1, channels: int = 1) -> Native | None:
    """A lane of machine code for so many frames a call, of so many channels.

    ``None`` if the network is another one, or numba is told not to compile.

    The first call on a machine may take some seconds, in which another interpreter compiles.
    """
    if not compiling.available():
        return None
    code = _found(model)
    return None if code is None else Native(model, code, frames, channels)


@lru_cache(maxsize=8)
def _found(model: Model) -> Code | None:
    """The code of a network, tried out."""
    code = _code(model)  # the first call of a compiled function: numba makes itself ready, and takes 70 MB for it
    if code is None:
        return None
    release()
    if not compiling.running():
        compiling.warm(registry.load("live"))
    try:
        return code if all(_proven(model, code, channels) for channels in (1, 2)) else None
    except Exception:  # a version of numba that cannot compile this, a machine without memory for it
        if compiling.running():
            raise  # to those who are trying
        return None


def _code(model: Model) -> Code | None:
    """The weights of a network of ours."""
    recipe = model.facts.recipe if isinstance(model.facts.recipe, dict) else {}
    if recipe.get("net") not in ("bandwise", "bandwise-low") or not isinstance(recipe.get("sizes"), dict):
        return None
    try:
        found = {k.removeprefix("net."): v for k, v in initialisers(model.content).items()}
        shapes = dict(model.facts.state)
        bands, width = (int(n) for n in found["place"].shape)
        blocks = sum(1 for name in found if name.endswith(".across"))
        units = int(found["context.time.weight_hh_l0"].shape[1]) if "context.time.weight_hh_l0" in found else 0
        memory = int(shapes["level"][2]) + 1
        steady = int(recipe["sizes"].get("steady", 0)) if "usual" in shapes else 0
        taps = found["taps.weight"].shape[0] // (2 * PATCH)
        lags = (found["patch.weight"].shape[1] - _rows(0, steady)) // 2
        packed = _packed(found, model, blocks, int(shapes["past"][1]))
        code = Code(packed, (bands, width, blocks, units, memory, taps, lags, steady))
    except (KeyError, ValueError, IndexError, TypeError):  # eight-bit weights, or a form of another version
        return None
    # Machine code does not look where its arrays end.
    held = [sum(a.size for a in model.initial(channels).values()) for channels in (1, 2)]
    fits = code.weights.size == code.wanted and held == [code.state(1), code.state(2)]
    return code if fits else None


def _packed(p: dict[str, Floats], model: Model, blocks: int, kept: int) -> Floats:
    """All weights in one row, in the order of their use; products that never change are taken here, once."""
    parts: list[Floats] = []

    def put(*arrays: NDArray[Any]) -> None:
        parts.extend(np.ascontiguousarray(a, np.float32).reshape(-1) for a in arrays)

    def gates(matrix: NDArray[Any]) -> NDArray[np.float64]:
        """Rows of four gates; those of the third twice as large, as its tanh is made of a sigmoid."""
        out = np.array(matrix, np.float64)
        units = len(out) // 4
        out[2 * units : 3 * units] *= 2.0
        return out

    def recurrence(name: str, lack: NDArray[Any]) -> None:
        w_in, w_own = p[f"{name}.weight_ih_l0"], p[f"{name}.weight_hh_l0"]
        put(gates(w_in).T, gates(w_own).T, gates(p[f"{name}.bias_ih_l0"] + p[f"{name}.bias_hh_l0"] + w_in @ lack))

    bands, width = p["place"].shape
    spec = model.facts.spec
    # From frame to frame a tone in the middle of a bin is to turn by half a turn for each bin; what lacks is added.
    lag = np.arange(1, kept + 1)[:, None]
    angle = 2.0 * np.pi * np.remainder((spec.hop_ms / spec.window_ms - 0.5) * lag * np.arange(BINS), 1.0)
    put(np.stack((np.cos(angle), np.sin(angle)), 1))
    put(p["patch.weight"].reshape(width, -1).T, p["patch.bias"])
    put(p["gather.weight"], p["gather.bias"][:, None] + p["place"])
    owed = np.zeros(width)  # what the features of every band still lack: biases that are taken care of later
    for i in range(blocks):
        name = f"blocks.{i}"
        recurrence(f"{name}.time", owed)
        across = p[f"{name}.across"]  # (feature, from, to)
        put(np.tile(across.transpose(2, 1, 0), AHEAD), p[f"{name}.shift"] + (owed[:, None] * across.sum(1)).T)
        put(p[f"{name}.blend.weight"].T)
        owed = owed + p[f"{name}.blend.bias"]
        if i == 0 and "context.take.weight" in p:
            put(p["context.take.weight"].T)
            recurrence("context.time", np.tile(p["context.take.bias"] + p["context.take.weight"] @ owed, bands))
            put(p["context.give.weight"].T, p["context.give.bias"], p["context.widen.weight"].T)
            owed = owed + p["context.widen.bias"]
    put(p["spread.weight"], p["spread.bias"][:, None] + p["spread.weight"].sum(1)[:, None] * owed)
    # Columns: to the taps of the patch after, of the patch itself, of the one before.
    put(np.concatenate([p["taps.weight"][:, :, i].T for i in range(3)], axis=1), p["taps.bias"])
    return np.concatenate(parts)


def _proven(model: Model, code: Code, channels: int) -> bool:
    """Does the code do what the graph does, on noise whose level swings by 60 dB?"""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((channels, _PROOF_FRAMES, 2, BINS)).astype(np.float32)
    x *= (10.0 ** (-1.5 + 1.5 * np.sin(np.arange(_PROOF_FRAMES) / 13.0))).astype(np.float32)[:, None, None]
    x[:, 40:60] = 0.0
    wanted, after = model.run(x, model.initial(channels))
    lane, state = Native(model, code, 8, channels), model.initial(channels)
    got, at = np.empty_like(x), 0
    for count in (*range(1, 9), *[1] * 20, *[8] * 8):
        lane.given[:, :count] = x[:, at : at + count]
        state = lane.run(state, count)
        got[:, at : at + count] = lane.answer[:, :count]
        at += count
    assert at == _PROOF_FRAMES
    near = float(np.max(np.abs(got - wanted))) <= TOLERANCE * float(np.max(np.abs(wanted)))
    return near and all(np.allclose(state[name], value, atol=1e-3) for name, value in after.items())


def _views(flat: Floats, like: State) -> State:
    """The arrays of a state, side by side in one."""
    out, at = {}, 0
    for name, array in like.items():
        out[name] = flat[at : at + array.size].reshape(array.shape)
        at += array.size
    return out
