r"""One frame of a ``bandwise`` network as machine code: for streams of 10 ms blocks.

onnxruntime runs a graph of a hundred small operators for a frame, and each costs more than its arithmetic. Compiled as
one function (numba, extra ``[live]`` or ``[kalman]``; see :mod:`..compiling`) the same frame takes less than half the
time. It computes what ``unmuffle.train.nets.bandwise`` says, from the weights in the network file, one channel and one
frame at a time; files, many channels and many streams side by side stay with the graph, and so does everything where
numba is not installed.

That it is the same is not taken for granted: a network is run both ways when it is loaded, and the graph is kept if
they differ by more than :data:`TOLERANCE`.

Products of matrices are left to BLAS. Exponentials and powers are polynomials here, as those of the C library cannot be
vectorised: :math:`e^x = 2^m e^r` with a whole :math:`m`, set as bits of the exponent, and a Taylor series for
:math:`|r| \le \ln(2) / 2` (relative error of a sigmoid below 1e-6 for :math:`|x| < 12`); :math:`\log_2` by the bits of
its exponent and the series of the inverse hyperbolic tangent for what is left.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import compiling
from .model import Model, State
from .weights import initialisers

Floats = NDArray[np.float32]
Bits = NDArray[np.int32]

TOLERANCE = 2e-5
"""Largest difference from the graph, as a share of the output's peak."""

BINS, PATCH, PATCHES, FEW, USUAL = 161, 4, 40, 4, 3
KERNEL = 2 * PATCH
_PROOF_FRAMES = 120

_f = np.float32
_EPS, _EPS2, _FLOOR, _POWER = _f(1e-12), _f(1e-24), _f(0.01), _f(-0.425)
_LOG2_E, _LN_2 = _f(1.442695041), _f(0.6931471806)
_E2, _E3, _E4, _E5, _E6 = _f(1 / 2), _f(1 / 6), _f(1 / 24), _f(1 / 120), _f(1 / 720)
# 2 / ln 2 times 1, 1/3, 1/5, 1/7, 1/9.
_L1, _L3, _L5, _L7, _L9 = _f(2.885390082), _f(0.961796694), _f(0.577078016), _f(0.412198583), _f(0.320598898)
_ROOT_2 = _f(1.41421356)
_0, _1, _2, _HALF = _f(0.0), _f(1.0), _f(2.0), _f(0.5)
_MOST, _MOST_2 = _f(87.0), _f(125.0)
_MANTISSA, _ONE_BITS, _BIAS, _SHIFT = np.int32(0x7FFFFF), np.int32(0x3F800000), np.int32(127), np.int32(23)


def _fast(function: Any) -> Any:
    return compiling.compiled(function, reorder=True)


@_fast
def _exp2(v: Any) -> Any:
    """``2 ** v`` as a number from 0.7 to 1.42 and, as bits, the whole power of two by which to multiply it."""
    m = np.floor(v + _HALF)
    r = (v - m) * _LN_2
    return _1 + r * (_1 + r * (_E2 + r * (_E3 + r * (_E4 + r * (_E5 + r * _E6))))), (np.int32(m) + _BIAS) << _SHIFT


@_fast
def _sigmoids(x: Floats, y: Floats, bits: Bits) -> None:
    """``x`` becomes ``1 / (1 + exp(-x))``; ``y`` and ``bits`` are the same scratch."""
    for i in range(x.size):
        x[i], bits[i] = _exp2(min(max(-x[i], -_MOST), _MOST) * _LOG2_E)
    for i in range(x.size):
        x[i] = _1 / (_1 + x[i] * y[i])


@_fast
def _powers(x: Floats, y: Floats, bits: Bits, power: Any) -> None:
    """``x`` becomes ``x ** power``; it must be above 1.2e-38. ``y`` and ``bits`` are the same scratch."""
    for i in range(x.size):
        y[i] = x[i]
    for i in range(x.size):
        b = bits[i]
        x[i] = _f((b >> _SHIFT) - _BIAS)
        bits[i] = (b & _MANTISSA) | _ONE_BITS
    for i in range(x.size):
        high = y[i] > _ROOT_2
        s = y[i] * _HALF if high else y[i]
        e = x[i] + _1 if high else x[i]
        t = (s - _1) / (s + _1)
        q = t * t
        v = (e + t * (_L1 + q * (_L3 + q * (_L5 + q * (_L7 + q * _L9))))) * power
        x[i], bits[i] = _exp2(min(max(v, -_MOST_2), _MOST_2))
    for i in range(x.size):
        x[i] = x[i] * y[i]


@_fast
def _remember(
    g: Floats, c_in: Floats, c_out: Floats, h_out: Floats, rows: int, units: int, y: Floats, bits: Bits
) -> None:
    """The rest of an LSTM: ``g`` (rows, 4 * units) holds what goes into gates i, f, twice that of g, and o."""
    _sigmoids(g.reshape(rows * 4 * units), y, bits)
    # tanh(x) = 2 sigmoid(2 x) - 1.
    for r in range(rows):
        gates = g[r]
        for u in range(units):
            at = r * units + u
            c = gates[units + u] * c_in[at] + gates[u] * (_2 * gates[2 * units + u] - _1)
            c_out[at] = c
            h_out[at] = _2 * c
    _sigmoids(h_out, y, bits)
    for r in range(rows):
        gates = g[r]
        for u in range(units):
            at = r * units + u
            h_out[at] = gates[3 * units + u] * (_2 * h_out[at] - _1)


@_fast
def _rows(lags: int, steady: int) -> int:
    """Numbers that are seen of a bin."""
    return 3 + 2 * lags + (USUAL if steady > 0 else 0)


@_fast
def _frame(
    x: Floats,
    out: Floats,
    before: Floats,
    after: Floats,
    w: Floats,
    s: Floats,
    bits: Bits,
    bands: int,
    width: int,
    blocks: int,
    units: int,
    memory: int,
    taps: int,
    lags: int,
    steady: int,
) -> None:
    """From a frame ``x`` (2, bins) and the state ``before`` to ``out`` and the state ``after``.

    ``w`` holds the weights as :func:`_packed` lays them out, in the order in which they are used here; ``s`` and
    ``bits`` are the same scratch.
    """
    n = bands * width
    levels = 2 * (memory - 1)
    kept = max(taps - 1, lags)
    frame = 2 * BINS
    past = before[levels : levels + kept * frame].reshape(kept, 2, BINS)  # the last one is the latest
    turn = w[: kept * frame].reshape(kept, 2, BINS)
    at = kept * frame
    lagged = s[: kept * frame].reshape(kept, 2, BINS)  # the first one is the latest
    o = kept * frame
    rows, pairs = _rows(lags, steady), 2 + lags
    clues = s[o : o + rows * BINS].reshape(rows, BINS)
    o += rows * BINS
    flat = s[o : o + pairs * BINS]
    norm = flat.reshape(pairs, BINS)
    o += pairs * BINS
    m = max(4 * n, 4 * units, pairs * BINS)  # for polynomials of as many numbers
    room, room_bits = s[o : o + m], bits[o : o + m]
    o += m

    # What is heard: products with the frames before and the bin below, compressed.
    re, im = x[0], x[1]
    for lag in range(1, kept + 1):
        old, cos, sin, turned = past[kept - lag], turn[lag - 1, 0], turn[lag - 1, 1], lagged[lag - 1]
        for k in range(BINS):
            turned[0, k] = cos[k] * old[0, k] - sin[k] * old[1, k]
            turned[1, k] = cos[k] * old[1, k] + sin[k] * old[0, k]
    m = (kept - 1) * frame
    for i in range(m):
        after[levels + i] = before[levels + frame + i]
    for i in range(2):
        for k in range(BINS):
            after[levels + m + i * BINS + k] = x[i, k]
    for k in range(1, BINS):
        a, b, c, d = re[k], im[k], re[k - 1], im[k - 1]
        size = a * a + b * b + _EPS
        fre, fim = a * c + b * d, b * c - a * d
        clues[0, k], clues[3, k], clues[4, k] = size, fre, fim
        norm[0, k] = size * size
        norm[2, k] = fre * fre + fim * fim + _EPS2
    for lag in range(1, lags + 1):
        r, q = (1, 1) if lag == 1 else (1 + 2 * lag, 1 + lag)
        pre, pim = lagged[lag - 1, 0], lagged[lag - 1, 1]
        for k in range(1, BINS):
            tre, tim = re[k] * pre[k] + im[k] * pim[k], im[k] * pre[k] - re[k] * pim[k]
            clues[r, k], clues[r + 1, k] = tre, tim
            norm[q, k] = tre * tre + tim * tim + _EPS2
    for q in range(pairs):
        norm[q, 0] = _1
    _powers(flat, room, room_bits, _POWER)
    mean = _0
    for k in range(2, 81):
        mean += clues[0, k] * norm[0, k]
    mean = mean / _f(79.0) + _FLOOR
    total, known = mean, _1
    for i in range(memory - 1):
        total += before[2 * i]
        known += before[2 * i + 1]
    for i in range(levels - 2):
        after[i] = before[i + 2]
    after[levels - 2], after[levels - 1] = mean, _1
    scale = known / total
    state = levels + kept * frame
    if steady > 0:
        # What is usual in each bin: leaky means, and the mean of ones by which they are divided.
        fresh = _1 / _f(steady)
        m = state + USUAL * BINS
        after[m] = before[m] + fresh * (_1 - before[m])
        weight = scale / after[m]
        for r in range(USUAL):
            gain, now, mean_of = norm[(r + 1) // 2], clues[r], clues[rows - USUAL + r]
            old = before[state + r * BINS : state + (r + 1) * BINS]
            new = after[state + r * BINS : state + (r + 1) * BINS]
            for k in range(1, BINS):
                new[k] = old[k] + fresh * (now[k] * gain[k] - old[k])
                mean_of[k] = new[k] * weight
        state = m + 1
    for k in range(1, BINS):
        clues[0, k] *= norm[0, k] * scale
    for q in range(1, pairs):
        one, other, gain = clues[2 * q - 1], clues[2 * q], norm[q]
        for k in range(1, BINS):
            one[k] *= gain[k] * scale
            other[k] *= gain[k] * scale

    # Patches, and bands of them.
    seen = s[o : o + PATCHES * rows * KERNEL].reshape(PATCHES, rows * KERNEL)
    o += PATCHES * rows * KERNEL
    for j in range(PATCHES):
        for r in range(rows):
            for q in range(KERNEL):
                k = PATCH * j - 1 + q
                seen[j, r * KERNEL + q] = clues[r, k] if 1 <= k < BINS else _0
    patches = s[o : o + PATCHES * width].reshape(PATCHES, width)
    o += PATCHES * width
    m = rows * KERNEL * width
    np.dot(seen, w[at : at + m].reshape(rows * KERNEL, width), patches)
    at += m
    bias = w[at : at + width]
    at += width
    for j in range(PATCHES):
        for u in range(width):
            patches[j, u] = max(patches[j, u] + bias[u], _0)
    y = s[o : o + n].reshape(bands, width)
    whole = s[o : o + n]
    o += n
    z = s[o : o + n].reshape(bands, width)
    o += n
    np.dot(w[at : at + bands * PATCHES].reshape(bands, PATCHES), patches, y)
    at += bands * PATCHES
    for i in range(n):
        whole[i] += w[at + i]
    at += n

    gates = s[o : o + 4 * n].reshape(bands, 4 * width)
    o += 4 * n
    others = s[o : o + 4 * n].reshape(bands, 4 * width)
    more = s[o : o + n].reshape(bands, width)
    added = s[o : o + n]
    o += 4 * n
    for block in range(blocks):
        # The recurrence that all bands share.
        h_in, c_in = before[state : state + n], before[state + n : state + 2 * n]
        h_out, c_out = after[state : state + n], after[state + n : state + 2 * n]
        state += 2 * n
        m = 4 * width * width
        np.dot(y, w[at : at + m].reshape(width, 4 * width), gates)
        at += m
        np.dot(h_in.reshape(bands, width), w[at : at + m].reshape(width, 4 * width), others)
        at += m
        bias = w[at : at + 4 * width]
        at += 4 * width
        for r in range(bands):
            for u in range(4 * width):
                gates[r, u] += others[r, u] + bias[u]
        _remember(gates, c_in, c_out, h_out, bands, width, room, room_bits)
        for i in range(n):
            whole[i] += h_out[i]
        # The mix over bands for each feature, and the one over features.
        across = w[at : at + bands * n].reshape(bands, bands, width)
        at += bands * n
        shift = w[at : at + n].reshape(bands, width)
        at += n
        for r in range(bands):
            mixed = z[r]
            for u in range(width):
                mixed[u] = shift[r, u]
            for q in range(bands):
                one, other = y[q], across[r, q]
                for u in range(width):
                    mixed[u] += one[u] * other[u]
            for u in range(width):
                mixed[u] = max(mixed[u], _0)
        np.dot(z, w[at : at + width * width].reshape(width, width), more)
        at += width * width
        for i in range(n):
            whole[i] += added[i]
        if block == 0 and units > 0:
            # The recurrence that sees all bands at once.
            few = bands * FEW
            heard = s[o : o + few]
            give = s[o + few : o + 2 * few]
            wide_gates = s[o + 2 * few : o + 2 * few + 4 * units].reshape(1, 4 * units)
            wide_others = s[o + 2 * few + 4 * units : o + 2 * few + 8 * units].reshape(1, 4 * units)
            np.dot(y, w[at : at + width * FEW].reshape(width, FEW), heard.reshape(bands, FEW))
            at += width * FEW
            last = before.size - 2 * units
            h_in, c_in = before[last : last + units], before[last + units : last + 2 * units]
            h_out, c_out = after[last : last + units], after[last + units : last + 2 * units]
            np.dot(heard.reshape(1, few), w[at : at + few * 4 * units].reshape(few, 4 * units), wide_gates)
            at += few * 4 * units
            np.dot(h_in.reshape(1, units), w[at : at + 4 * units * units].reshape(units, 4 * units), wide_others)
            at += 4 * units * units
            for u in range(4 * units):
                wide_gates[0, u] += wide_others[0, u] + w[at + u]
            at += 4 * units
            _remember(wide_gates, c_in, c_out, h_out, 1, units, room, room_bits)
            np.dot(h_out.reshape(1, units), w[at : at + units * few].reshape(units, few), give.reshape(1, few))
            at += units * few
            for i in range(few):
                give[i] = max(give[i] + w[at + i], _0)
            at += few
            np.dot(give.reshape(bands, FEW), w[at : at + FEW * width].reshape(FEW, width), more)
            at += FEW * width
            for i in range(n):
                whole[i] += added[i]

    # From bands to patches, and to the taps of each bin.
    wide = s[o : o + PATCHES * width].reshape(PATCHES, width)
    o += PATCHES * width
    np.dot(w[at : at + PATCHES * bands].reshape(PATCHES, bands), y, wide)
    at += PATCHES * bands
    end = w[at : at + PATCHES * width].reshape(PATCHES, width)
    at += PATCHES * width
    for j in range(PATCHES):
        for u in range(width):
            wide[j, u] = max(wide[j, u] + patches[j, u] + end[j, u], _0)
    # What each patch gives to the taps of the next one, its own, and the one before.
    count = 2 * taps * PATCH
    parts = s[o : o + PATCHES * 3 * count].reshape(PATCHES, 3 * count)
    np.dot(wide, w[at : at + width * 3 * count].reshape(width, 3 * count), parts)
    at += width * 3 * count
    for k in range(BINS):
        # The last bin, half a bin wide, goes with the one below.
        j, p = divmod(min(k, BINS - 2), PATCH)
        re_sum, im_sum = _0, _0
        for lag in range(taps):
            i = 2 * lag * PATCH + p
            a, b = w[at + i], w[at + i + PATCH]
            for way in range(max(0, 1 - j), min(3, PATCHES + 1 - j)):
                a += parts[j - 1 + way, way * count + i]
                b += parts[j - 1 + way, way * count + i + PATCH]
            c, d = (re[k], im[k]) if lag == 0 else (lagged[lag - 1, 0, k], lagged[lag - 1, 1, k])
            re_sum += a * c - b * d
            im_sum += a * d + b * c
        out[0, k] = re_sum
        out[1, k] = im_sum


class Native:
    """One stream's way through a network, a frame at a time: what :class:`.model.Lane` is for the graph.

    Made by :func:`native`.

    Attributes:
        given, answer: ``(1, 1, 2, bins)``, as those of a lane.
    """

    def __init__(self, model: Model, code: Code) -> None:
        self.given = np.zeros((1, 1, 2, BINS), np.float32)
        self.answer = np.zeros((1, 1, 2, BINS), np.float32)
        zeros = model.initial(1)
        size = sum(a.size for a in zeros.values())
        self._flat = np.zeros(size, np.float32), np.zeros(size, np.float32)
        self._sets = _views(self._flat[0], zeros), _views(self._flat[1], zeros)
        scratch = np.zeros(code.scratch, np.float32)
        self._rest = (code.weights, scratch, scratch.view(np.int32), *code.sizes)
        self._ends = self.given[0, 0], self.answer[0, 0]

    def run(self, state: State) -> State:
        """From :attr:`given` to :attr:`answer`; see :meth:`.model.Lane.run`."""
        turn = 1 if state is self._sets[1] else 0
        if state is not self._sets[turn]:
            for name, array in self._sets[turn].items():
                array[...] = state[name]
        _frame(*self._ends, self._flat[turn], self._flat[1 - turn], *self._rest)
        return self._sets[1 - turn]


class Code:
    """What the machine code needs of a network: its weights in one row, its sizes, and how much scratch.

    Attributes:
        wanted, state, scratch: numbers that :func:`_frame` reads or writes: of weights, of the state, of the rest.
    """

    def __init__(self, weights: Floats, sizes: tuple[int, int, int, int, int, int, int, int]) -> None:
        self.weights = weights
        self.sizes = sizes
        bands, width, blocks, units, memory, taps, lags, steady = sizes
        n, few = bands * width, bands * FEW
        past, rows = 2 * BINS * max(taps - 1, lags), _rows(lags, steady)
        self.state = 2 * (memory - 1) + past + 2 * blocks * n + 2 * units + (USUAL * BINS + 1 if steady else 0)
        self.wanted = past + (rows * KERNEL + 1) * width + bands * PATCHES + n
        self.wanted += blocks * (9 * width * width + 4 * width + bands * n + n)
        if units:
            self.wanted += 2 * width * FEW + 4 * units * (few + units + 1) + (units + 1) * few
        self.wanted += PATCHES * (bands + width) + (3 * width + 1) * 2 * taps * PATCH
        # In the order in which the frame takes it; the context's part is used again by what follows it.
        self.scratch = past + BINS * (rows + 2 + lags) + max(4 * n, 4 * units, (2 + lags) * BINS)
        self.scratch += PATCHES * (rows * KERNEL + width)
        self.scratch += 10 * n + 2 * bands * FEW + 8 * units + PATCHES * (width + 6 * taps * PATCH)


def native(model: Model) -> Native | None:
    """A lane of machine code; ``None`` if the network is another one, or numba is told not to compile.

    The first call on a machine may take some seconds, in which another interpreter compiles.
    """
    if not compiling.available():
        return None
    code = _found(model)
    return None if code is None else Native(model, code)


@lru_cache(maxsize=8)
def _found(model: Model) -> Code | None:
    """The code of a network, tried out."""
    code = _code(model)
    if code is None:
        return None
    if not compiling.running():
        from .live import Live

        compiling.warm(Live())
    try:
        return code if _proven(model, code) else None
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
    held = sum(a.size for a in model.initial(1).values())
    return code if (code.weights.size, held) == (code.wanted, code.state) else None


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
        put(across.transpose(2, 1, 0), p[f"{name}.shift"] + (owed[:, None] * across.sum(1)).T)
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


def _proven(model: Model, code: Code) -> bool:
    """Does the code do what the graph does, on noise whose level swings by 60 dB?"""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, _PROOF_FRAMES, 2, BINS)).astype(np.float32)
    x *= (10.0 ** (-1.5 + 1.5 * np.sin(np.arange(_PROOF_FRAMES) / 13.0))).astype(np.float32)[:, None, None]
    x[:, 40:60] = 0.0
    wanted, after = model.run(x, model.initial(1))
    lane, state = Native(model, code), model.initial(1)
    got = np.empty_like(x)
    for i in range(_PROOF_FRAMES):
        lane.given[...] = x[:, i : i + 1]
        state = lane.run(state)
        got[:, i : i + 1] = lane.answer
    near = float(np.max(np.abs(got - wanted))) <= TOLERANCE * float(np.max(np.abs(wanted)))
    return near and all(np.allclose(state[name], value, atol=1e-3) for name, value in after.items())


def _views(flat: Floats, like: State) -> State:
    """The arrays of a state, side by side in one."""
    out, at = {}, 0
    for name, array in like.items():
        out[name] = flat[at : at + array.size].reshape(array.shape)
        at += array.size
    return out
