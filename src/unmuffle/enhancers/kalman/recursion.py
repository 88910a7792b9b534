r"""The compiled recursions behind every Kalman method of this folder.

The model
---------
Speech is an autoregressive (AR) process of order ``p`` and noise one of order ``q``,

.. math::
    s_t = \sum_{i=1}^{p} a_i s_{t-i} + w_t, \qquad
    v_t = \sum_{i=1}^{q} b_i v_{t-i} + u_t, \qquad
    y_t = s_t + v_t + r_t,

with white ``w, u, r`` of variance :math:`\sigma_w^2, \sigma_u^2, R`. ``q = 0`` means noise that is white:
then ``r`` is all of it. The state holds *samples*, the last ``p`` of the speech and the last ``q`` of
the noise; its transition is the companion matrix, which shifts them and forms the next one.

Order of the state
------------------
By age, oldest first, speech before noise: ``s[p-1] ... s[q]  s[q-1] v[q-1] ... s[0] v[0]`` (``x[k]`` is
``k`` samples old), which asks for ``q <= p``. A step in time then drops elements near the front and
appends one or two at the end, and the measurement sees only the last one or two. The joint filters put
the ``p`` coefficients in front of all that.

The covariance
--------------
is kept as a triangular root, :math:`P = S S^T`, never as ``P``: a sum of squares cannot become
indefinite, whatever the rounding does and however long the stream is. ``root[j, i]`` is ``S[i, j]``, so
that the columns of ``S``, which all the work is done on, lie in memory one after another.

- Appending an element ``f^T x + w`` appends the row :math:`(f^T S, \sigma_w)`: still triangular.
- Dropping an element leaves one column too many; it is rotated into the others (Givens), O(n^2).
- A scalar measurement is Carlson's update of the root, O(n^2), run from the newest element backwards
  so that ``S`` stays lower triangular.

Nothing here is compiled with ``fastmath``: results must not depend on how a signal is cut into blocks.

N. A. Carlson, "Fast triangular formulation of the square root filter", AIAA Journal 11(9), 1973.
B. D. O. Anderson, J. B. Moore, "Optimal Filtering", Prentice-Hall 1979, ch. 7 (fixed-lag smoothing).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..compiling import compiled

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

LEAST = 1e-18
"""Smallest variance (-180 dBFS): keeps the recursions regular in digital silence."""


# -- the state and its root ----------------------------------------------------------------------


@compiled
def speech_at(age: int, first: int, p: int, q: int) -> int:
    """Place in the state of the speech sample of an age (``first`` elements stand before the samples)."""
    if age >= q:
        return first + p - 1 - age
    return first + p - q + 2 * (q - 1 - age)


@compiled
def noise_at(age: int, first: int, p: int, q: int) -> int:
    """Place in the state of the noise sample of an age."""
    return first + p - q + 2 * (q - 1 - age) + 1


@compiled
def drop(root: Array, n: int, r: int, spare: Array) -> None:
    """Take element ``r`` out of a state of ``n``; the root stays triangular."""
    for i in range(r + 1, n):
        spare[i] = root[r, i]
    for j in range(r):
        for i in range(r, n - 1):
            root[j, i] = root[j, i + 1]
    for j in range(r + 1, n):
        here, more = root[j, j], spare[j]
        if more == 0.0:
            for i in range(j, n):
                root[j - 1, i - 1] = root[j, i]
            continue
        length = np.sqrt(here * here + more * more)
        if length == 0.0:  # squares below the smallest number: as good as nothing
            for i in range(j, n):
                root[j - 1, i - 1] = root[j, i]
            continue
        c, s = here / length, more / length
        for i in range(j, n):
            value, rest = root[j, i], spare[i]
            root[j - 1, i - 1] = c * value + s * rest
            spare[i] = c * rest - s * value


@compiled
def widen(root: Array, n: int, r: int, deviation: float, spare: Array) -> None:
    """Add independent noise of standard deviation ``deviation`` to element ``r`` of ``n``."""
    for i in range(r, n):
        spare[i] = 0.0
    spare[r] = deviation
    for j in range(r, n):
        here, more = root[j, j], spare[j]
        length = np.sqrt(here * here + more * more)
        if more == 0.0 or length == 0.0:
            continue
        c, s = here / length, more / length
        for i in range(j, n):
            value, rest = root[j, i], spare[i]
            root[j, i] = c * value + s * rest
            spare[i] = c * rest - s * value


@compiled
def measure(root: Array, n: int, f: Array, variance: float, k: Array) -> float:
    """Carlson's update for one scalar measurement ``h^T x + r``.

    Args:
        root: changed in place.
        n: elements of the state.
        f: ``S^T h``.
        variance: of ``r``, above zero.
        k: filled with ``P h``: the gain times the value that is returned.

    Returns:
        Variance of the innovation, ``h^T P h + variance``.
    """
    for i in range(n):
        k[i] = 0.0
    total = variance
    for j in range(n - 1, -1, -1):
        fj = f[j]
        if fj == 0.0:
            continue
        before = total
        total = before + fj * fj
        b = np.sqrt(before / total)
        c = fj * b / before
        for i in range(j, n):
            value = root[j, i]
            root[j, i] = b * value - c * k[i]
            k[i] += value * fj
    return total


@compiled
def covariance(root: Array, n: int) -> Array:
    """``P`` itself, for looking at."""
    out = np.zeros((n, n))
    for i in range(n):
        for k in range(i + 1):
            total = 0.0
            for j in range(k + 1):
                total += root[j, i] * root[j, k]
            out[i, k] = total
            out[k, i] = total
    return out


# -- variational Bayes ---------------------------------------------------------------------------


@compiled
def adapt(
    shape: float, scale: float, keep: float, pull: float, anchor: float, error: float, spread: float
) -> tuple[float, float, float]:
    r"""One step of the inverse-gamma belief about a noise variance (Särkkä & Nummenmaa 2009).

    The belief is IG(shape, scale), its variance ``scale / shape``. It is spread by ``keep`` (and drawn
    towards ``anchor`` with the weight ``pull``; 0 is the paper's model), then the fixed point

    .. math:: \beta = \beta^- + \tfrac12 \left[(y - H m)^2 + H P H^T\right]

    is iterated. Only one scalar of the filter takes part, so the filter itself runs once.

    Args:
        shape, scale: of the belief.
        keep: 0..1 per sample.
        pull: pseudo-observations (in units of ``shape``) that each step draws from ``anchor``.
        anchor: variance that the belief is drawn to.
        error: innovation, ``y`` minus its prediction.
        spread: variance of the innovation without the noise in question.

    Returns:
        New shape and scale, and the variance.
    """
    shape = keep * shape + pull
    prior = keep * scale + pull * anchor
    shape += 0.5
    prior = max(prior, LEAST * shape)  # a variance of zero would stay zero
    scale = prior
    for _ in range(4):
        variance = scale / shape
        total = spread + variance
        left = error * variance / total
        scale = prior + 0.5 * (left * left + spread * variance / total)
    return shape, scale, scale / shape


# -- the linear filter ---------------------------------------------------------------------------


@compiled
def run_linear(
    y: Array,
    out: Array,
    p: int,
    q: int,
    lag: int,
    a: Array,
    b: Array,
    speech: Array,
    noise: Array,
    white: Array,
    settle: int,
    mean: Array,
    root: Array,
    gain: Array,
    late_mean: Array,
    late_cov: Array,
    where: Array,
    belief: Array,
    moments: Array,
) -> None:
    """Filter one channel, with parameters that change from hop to hop.

    Args:
        y: ``(hops, hop)`` noisy samples.
        out: of the same shape, filled with the estimates of the samples ``lag`` older.
        p, q: orders; ``q <= p``.
        lag: of smoothing. Up to ``p - 1`` the estimate is in the state anyway; beyond it older samples
            are carried along by their covariance with the state alone, at O(n) each.
        a, b: ``(hops, p)`` and ``(hops, q)`` coefficients.
        speech, noise, white: ``(hops,)`` variances of ``w``, ``u`` and ``r``.
        settle: samples of each hop after which the gain is frozen (0: never).
        mean: ``(n + 2,)`` state, ``n = p + q``.
        root: ``(n + 2, n + 2)`` its root.
        gain: ``(n + 2,)`` the frozen gain.
        late_mean: ``(max(lag - p + 1, 0),)`` older samples.
        late_cov: their covariance with the state, ``(.., n)``.
        where: ``(1,)`` place of the newest of them.
        belief: ``(5,)`` shape, scale, keep, pull of :func:`adapt` and the variance found last;
            ``keep = 0`` switches it off, and else ``noise`` (``white`` when ``q = 0``) is the anchor.
        moments: ``(2, p)`` or empty: adds the covariance of the oldest sample with each younger one
            (for re-estimation), and in ``[1, 0]`` the number of samples added.
    """
    hops, hop = y.shape
    n = p + q
    late = late_mean.shape[0]
    at_s = np.empty(p, np.int64)
    at_v = np.empty(max(q, 1), np.int64)
    for i in range(p):
        at_s[i] = speech_at(i, 0, p, q)
    for i in range(q):
        at_v[i] = noise_at(i, 0, p, q)
    spare = np.empty(n + 2)
    f = np.empty(n + 2)
    k = np.empty(n + 2)
    tapped = speech_at(min(lag, p - 1), 0, p, q)
    total = 1.0
    second = p - q  # place of the oldest noise sample once the oldest speech sample is gone
    for l in range(hops):
        dev_s, dev_v, variance = np.sqrt(speech[l]), np.sqrt(noise[l]), white[l]
        for t in range(hop):
            frozen = 0 < settle <= t
            next_s = 0.0
            for i in range(p):
                next_s += a[l, i] * mean[at_s[i]]
            next_v = 0.0
            for i in range(q):
                next_v += b[l, i] * mean[at_v[i]]
            error = y[l, t] - next_s - next_v
            if late:
                head = (where[0] - 1) % late
                where[0] = head
                late_mean[head] = mean[0]
                for i in range(n):
                    late_cov[head, i] = root[0, 0] * root[0, i]
                for m in range(late):
                    to_s = 0.0
                    for i in range(p):
                        to_s += a[l, i] * late_cov[m, at_s[i]]
                    to_v = 0.0
                    for i in range(q):
                        to_v += b[l, i] * late_cov[m, at_v[i]]
                    for i in range(second):
                        late_cov[m, i] = late_cov[m, i + 1]
                    if q:
                        for i in range(second, n - 2):
                            late_cov[m, i] = late_cov[m, i + 2]
                        late_cov[m, n - 2] = to_s
                        late_cov[m, n - 1] = to_v
                    else:
                        late_cov[m, n - 1] = to_s
            # mean: drop the oldest, append the newest
            for i in range(second):
                mean[i] = mean[i + 1]
            if q:
                for i in range(second, n - 2):
                    mean[i] = mean[i + 2]
                mean[n - 2] = next_s
                mean[n - 1] = next_v
            else:
                mean[n - 1] = next_s
            if not frozen:
                # root: append the rows of the new samples, then drop the oldest ones
                spread = 0.0
                for j in range(n):
                    row = 0.0
                    for i in range(p):
                        if at_s[i] < j:
                            break
                        row += a[l, i] * root[j, at_s[i]]
                    root[j, n] = row
                    if q:
                        other = 0.0
                        for i in range(q):
                            if at_v[i] < j:
                                break
                            other += b[l, i] * root[j, at_v[i]]
                        root[j, n + 1] = other
                        row += other
                    spread += row * row
                spread += dev_s * dev_s
                if belief[2] > 0.0:
                    if q:
                        shape, scale, found = adapt(
                            belief[0], belief[1], belief[2], belief[3], noise[l], error, spread + variance
                        )
                        dev_v = np.sqrt(found)
                    else:
                        shape, scale, found = adapt(belief[0], belief[1], belief[2], belief[3], white[l], error, spread)
                        variance = found
                    belief[0] = shape
                    belief[1] = scale
                    belief[4] = found
                root[n, n] = dev_s
                if q:
                    root[n, n + 1] = 0.0
                    root[n + 1, n + 1] = dev_v
                    drop(root, n + 2, 0, spare)
                    drop(root, n + 1, second, spare)
                    for j in range(n):
                        f[j] = root[j, n - 1]
                        if j < n - 1:
                            f[j] += root[j, n - 2]
                else:
                    drop(root, n + 1, 0, spare)
                    for j in range(n):
                        f[j] = root[j, n - 1]
                total = measure(root, n, f, variance, k)
                for i in range(n):
                    gain[i] = k[i] / total
            for i in range(n):
                mean[i] += gain[i] * error
            if late:
                for m in range(late):
                    seen = late_cov[m, n - 1]
                    if q:
                        seen += late_cov[m, n - 2]
                    late_mean[m] += seen / total * error
                    for i in range(n):
                        late_cov[m, i] -= seen * gain[i]
                out[l, t] = late_mean[(where[0] - 1) % late]
            else:
                out[l, t] = mean[tapped]
            if moments.shape[0]:
                for i in range(p):
                    moments[0, i] += root[0, 0] * root[0, at_s[p - 1 - i]]
                moments[1, 0] += 1.0


# -- joint filters -------------------------------------------------------------------------------


@compiled
def run_joint(
    y: Array,
    out: Array,
    p: int,
    q: int,
    lag: int,
    unscented: bool,
    drawn: Array,
    doubt: Array,
    walk: float,
    b: Array,
    speech: Array,
    noise: Array,
    white: Array,
    mean: Array,
    root: Array,
    clock: Array,
) -> None:
    r"""Filter one channel and find the AR coefficients of its speech at the same time.

    The state is ``(a_1 .. a_p, samples)``, the coefficients a random walk. One element of the step in
    time is not linear, :math:`s_t = \sum_i a_i s_{t-i} + w_t`; all others only move. So both filters
    need one row of the root for it, and differ in nothing else:

    - extended: the row is the gradient :math:`(s_{t-i}, a_i)` at the mean, times ``S``;
    - unscented: the ``2 n`` sigma points :math:`m \pm \sqrt n\, S e_j` are put through the product; their
      mean, their covariance with the state (which, divided by ``S``, is the row) and what is left of
      their variance take the place of the linearised ones. The mean thereby gains the covariance of
      coefficients and samples that linearising loses.

    Args:
        y: ``(hops, hop)`` noisy samples.
        out: filled with the estimates of the samples ``lag`` (at most ``p - 1``) older.
        p, q: orders.
        lag: see above.
        unscented: which filter.
        drawn: ``(hops, p)`` coefficients from the frame, taken as a measurement at the start of a hop.
        doubt: ``(hops, p)`` variance of that measurement; ``inf`` leaves it out.
        walk: variance that the random walk adds to each coefficient per sample. It is added to one
            coefficient after another, ``p`` times as much, which saves most of the work.
        b, speech, noise, white: as in :func:`run_linear`.
        mean: ``(2 p + q + 2,)``.
        root: its root.
        clock: ``(1,)`` the coefficient whose turn it is.
    """
    hops, hop = y.shape
    n = 2 * p + q
    at_s = np.empty(p, np.int64)
    at_v = np.empty(max(q, 1), np.int64)
    for i in range(p):
        at_s[i] = speech_at(i, p, p, q)
    for i in range(q):
        at_v[i] = noise_at(i, p, p, q)
    spare = np.empty(n + 2)
    f = np.empty(n + 2)
    k = np.empty(n + 2)
    step = np.sqrt(walk * p)
    radius = np.sqrt(float(n))
    tapped = speech_at(lag, p, p, q)
    second = p + p - q
    for l in range(hops):
        dev_v = np.sqrt(noise[l])
        for i in range(p):
            if np.isinf(doubt[l, i]):
                continue
            for j in range(n):
                f[j] = root[j, i] if j <= i else 0.0
            error = drawn[l, i] - mean[i]
            total = measure(root, n, f, doubt[l, i], k)
            for j in range(n):
                mean[j] += k[j] / total * error
        for t in range(hop):
            if step > 0.0:
                widen(root, n, clock[0], step, spare)
                clock[0] = (clock[0] + 1) % p
            next_s = 0.0
            for i in range(p):
                next_s += mean[i] * mean[at_s[i]]
            next_v = 0.0
            for i in range(q):
                next_v += b[l, i] * mean[at_v[i]]
            left = speech[l]  # variance of the new sample that is not explained by the row
            shift = 0.0
            if unscented:
                squares = 0.0
                linear = 0.0
                for j in range(n):
                    plus = 0.0
                    minus = 0.0
                    for i in range(p):
                        da = radius * root[j, i] if j <= i else 0.0
                        ds = radius * root[j, at_s[i]] if j <= at_s[i] else 0.0
                        first_order = mean[i] * ds + da * mean[at_s[i]]
                        plus += first_order + da * ds
                        minus += da * ds - first_order
                    root[j, n] = (plus - minus) / (2.0 * radius)
                    shift += plus + minus
                    squares += plus * plus + minus * minus
                    linear += root[j, n] * root[j, n]
                shift /= 2.0 * n
                left += max(squares / (2.0 * n) - shift * shift - linear, 0.0)
            else:
                for j in range(n):
                    row = 0.0
                    for i in range(p):
                        if j <= i:
                            row += mean[at_s[i]] * root[j, i]
                        if j <= at_s[i]:
                            row += mean[i] * root[j, at_s[i]]
                    root[j, n] = row
            for j in range(n):
                other = 0.0
                for i in range(q):
                    if at_v[i] < j:
                        break
                    other += b[l, i] * root[j, at_v[i]]
                root[j, n + 1] = other
            next_s += shift
            for i in range(p, second):
                mean[i] = mean[i + 1]
            root[n, n] = np.sqrt(left)
            if q:
                for i in range(second, n - 2):
                    mean[i] = mean[i + 2]
                mean[n - 2] = next_s
                mean[n - 1] = next_v
                root[n, n + 1] = 0.0
                root[n + 1, n + 1] = dev_v
                drop(root, n + 2, p, spare)
                drop(root, n + 1, second, spare)
                for j in range(n):
                    f[j] = root[j, n - 1]
                    if j < n - 1:
                        f[j] += root[j, n - 2]
            else:
                mean[n - 1] = next_s
                drop(root, n + 1, p, spare)
                for j in range(n):
                    f[j] = root[j, n - 1]
            error = y[l, t] - next_s - next_v
            total = measure(root, n, f, white[l], k)
            for j in range(n):
                mean[j] += k[j] / total * error
            out[l, t] = mean[tapped]


# -- sub-bands -----------------------------------------------------------------------------------


@compiled
def run_bands(
    y: Complex,
    out: Complex,
    level: Array,
    p: int,
    lag: int,
    ratio: Array,
    keep: float,
    caution: float,
    inertia: float,
    least_snr: float,
    past: Complex,
    corr: Complex,
    mean: Complex,
    root: Complex,
) -> None:
    """A complex AR(p) filter in each bin, its model found on the way; see :mod:`.subband`.

    Args:
        y: ``(frames, bins)`` demodulated bins.
        out: filled with the estimates of the bins ``lag`` frames earlier.
        level: ``(frames, bins)`` noise power on the scale of ``y``.
        p: order.
        lag: at most ``p - 1``.
        ratio: ``(p + 1,)`` correlation of white noise between frames, by lag.
        keep: factor of the recursive mean of the correlations.
        caution: share of the noise power that is added to their power.
        inertia: of the decision-directed SNR.
        least_snr: its floor.
        past: ``(bins, p + 1)`` the last bins, newest first.
        corr: ``(bins, p + 1)`` recursive mean of the correlations of the speech.
        mean: ``(bins, p)`` state, oldest first.
        root: ``(bins, p + 1, p + 1)`` its root; ``root[f, j, i]`` is ``S[i, j]`` of bin ``f``.
    """
    frames, bins = y.shape
    a = np.empty(p, np.complex128)
    older = np.empty(p, np.complex128)
    spare = np.empty(p + 1, np.complex128)
    k = np.empty(p, np.complex128)
    for l in range(frames):
        for f in range(bins):
            white = max(level[l, f], LEAST)
            value = y[l, f]
            for m in range(p, 0, -1):
                past[f, m] = past[f, m - 1]
            past[f, 0] = value
            # How the speech of this bin moves from frame to frame
            for m in range(p + 1):
                now = value * np.conj(past[f, m]) - white * ratio[m]
                corr[f, m] = keep * corr[f, m] + (1.0 - keep) * now
            whole = max(corr[f, 0].real, 0.0) + caution * white
            share = 1.0  # of the power that the prediction leaves over
            for m in range(p):
                reflection = corr[f, m + 1]
                for i in range(m):
                    reflection -= a[i] * corr[f, m - i]
                reflection /= whole * share
                size = abs(reflection)
                if size > 0.995:  # few samples, no proof: a pole on the circle would ring
                    reflection *= 0.995 / size
                    size = 0.995
                for i in range(m):
                    older[i] = a[i]
                for i in range(m):
                    a[i] = older[i] - reflection * np.conj(older[m - 1 - i])
                a[m] = reflection
                share *= 1.0 - size * size
            # How strong it is
            last = mean[f, p - 1]
            power = inertia * (last.real * last.real + last.imag * last.imag)
            power += (1.0 - inertia) * max(value.real * value.real + value.imag * value.imag - white, 0.0)
            power = max(power, least_snr * white)
            # The step in time: append the new sample, drop the oldest
            guess = 0.0j
            for i in range(p):
                guess += a[i] * mean[f, p - 1 - i]
            for j in range(p):
                row = 0.0j
                for i in range(p):
                    if p - 1 - i < j:
                        break
                    row += a[i] * root[f, j, p - 1 - i]
                root[f, j, p] = row
            root[f, p, p] = np.sqrt(power * share)
            for i in range(p - 1):
                mean[f, i] = mean[f, i + 1]
            mean[f, p - 1] = guess
            # Rotate the column of the dropped sample into the others (their diagonal stays real)
            for i in range(1, p + 1):
                spare[i] = root[f, 0, i]
            for j in range(1, p + 1):
                here, more = root[f, j, j], spare[j]
                length = np.sqrt(here.real * here.real + more.real * more.real + more.imag * more.imag)
                if length == 0.0:
                    c, s = 1.0, 0.0j
                else:
                    c, s = here.real / length, np.conj(more) / length
                for i in range(j, p + 1):
                    own, rest = root[f, j, i], spare[i]
                    root[f, j - 1, i - 1] = c * own + s * rest
                    spare[i] = c * rest - np.conj(s) * own
            # The measurement (Carlson)
            for i in range(p):
                k[i] = 0.0
            total = white
            for j in range(p - 1, -1, -1):
                fj = np.conj(root[f, j, p - 1])
                before = total
                total = before + fj.real * fj.real + fj.imag * fj.imag
                b = np.sqrt(before / total)
                c2 = np.conj(fj) * b / before
                for i in range(j, p):
                    own = root[f, j, i]
                    root[f, j, i] = b * own - c2 * k[i]
                    k[i] += own * fj
            error = value - guess
            for i in range(p):
                mean[f, i] += k[i] / total * error
            out[l, f] = mean[f, p - 1 - lag]
