r"""From power spectra to AR models: what the speech is like under the noise, what the noise is like.

An AR model fitted to the *noisy* signal models noise and speech as one, and the filter then has
nothing to tell them apart by. So, hop by hop:

1. The noise power :math:`\lambda` in each bin comes from a tracker of :mod:`unmuffle.noise`.
2. The a-priori SNR is found in the decision-directed way (Ephraim & Malah 1984),

   .. math:: \xi = \alpha \frac{E\{|S|^2\}_{l-1}}{\lambda} + (1 - \alpha) \max\!\left(\frac{P}{\lambda} - 1, 0\right),
             \qquad \xi \ge \xi_{min},

   and with :math:`G = \xi / (1 + \xi)` the expected power of the speech given the noisy bin is
   :math:`E\{|S|^2\} = G^2 P + G \lambda`. This is spectral subtraction without its holes: never
   negative, and at least about :math:`\xi_{min} \lambda`.
3. Its cosine transform is the autocorrelation of the speech; Levinson's recursion turns it into
   coefficients and the variance of the excitation. The same is done with :math:`\lambda`.

Powers are variances per bin: white noise of variance 1 has the power 1 in each.

Limits: an order of 10 to 20 follows the formants, not the harmonics, so noise between harmonics
stays. What the tracker takes for noise is lost to the model.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..compiling import compiled
from .recursion import LEAST, Array

CORRECTION = 1e-9
"""White noise that is added to each autocorrelation (-90 dB): keeps Levinson regular, changes no model."""


def cosines(bins: int, order: int) -> Array:
    """Table ``(order + 1, bins)`` from the power in the bins of an even transform to lags 0..order."""
    size = 2 * (bins - 1)
    weight = np.full(bins, 2.0 / size)
    weight[[0, -1]] = 1.0 / size
    out: NDArray[np.float64] = weight * np.cos(2.0 * np.pi / size * np.outer(np.arange(order + 1), np.arange(bins)))
    return out


@compiled
def levinson(r: Array, order: int, a: Array) -> float:
    """Fill ``a`` with the predictor ``s_t = sum_i a_i s_{t-i}`` of lags ``r``; return what it leaves over.

    Stops at a reflection coefficient of one (rounding in an almost perfectly predictable signal).
    """
    for i in range(a.shape[0]):
        a[i] = 0.0
    error = r[0]
    if error <= 0.0:
        return 0.0
    older = np.empty(order)
    for m in range(order):
        k = r[m + 1]
        for i in range(m):
            k -= a[i] * r[m - i]
        k /= error
        if not -1.0 < k < 1.0:
            break
        for i in range(m):
            older[i] = a[i]
        for i in range(m):
            a[i] = older[i] - k * older[m - 1 - i]
        a[m] = k
        error *= 1.0 - k * k
    return error


@compiled
def fit(
    power: Array,
    noise: Array,
    memory: Array,
    table: Array,
    p: int,
    q: int,
    inertia: float,
    least_snr: float,
    a: Array,
    speech: Array,
    b: Array,
    excitation: Array,
    level: Array,
) -> None:
    """Models of speech and noise for each hop of one channel.

    Args:
        power, noise: ``(hops, bins)`` noisy power and noise PSD, as variances.
        memory: ``(bins,)`` expected speech power of the hop before; carried on.
        table: from :func:`cosines`, for the larger of the two orders.
        p, q: orders; ``a`` may be wider than ``p``, its rest is zero.
        inertia: alpha of the decision-directed SNR.
        least_snr: its floor.
        a, speech: filled with coefficients ``(hops, >= p)`` and excitation variances ``(hops,)``.
        b, excitation: the same of the noise.
        level: filled with the variance of the noise, ``(hops,)``.
    """
    hops, bins = power.shape
    clean = np.empty(bins)
    r = np.empty(max(p, q) + 1)
    for l in range(hops):
        for k in range(bins):
            lam = max(noise[l, k], LEAST)
            snr = inertia * memory[k] / lam + (1.0 - inertia) * max(power[l, k] / lam - 1.0, 0.0)
            snr = max(snr, least_snr)
            g = snr / (1.0 + snr)
            clean[k] = g * g * power[l, k] + g * lam
            memory[k] = g * g * power[l, k]
        for i in range(p + 1):
            total = 0.0
            for k in range(bins):
                total += table[i, k] * clean[k]
            r[i] = total
        r[0] *= 1.0 + CORRECTION
        speech[l] = max(levinson(r, p, a[l]), LEAST)
        for i in range(q + 1):
            total = 0.0
            for k in range(bins):
                total += table[i, k] * max(noise[l, k], LEAST)
            r[i] = total
        level[l] = r[0]
        r[0] *= 1.0 + CORRECTION
        excitation[l] = max(levinson(r, q, b[l]), LEAST)


@compiled
def refit(estimate: Array, window: Array, moments: Array, p: int, a: Array) -> float:
    r"""The M step of expectation maximisation: a new model from what the filter made of a frame.

    The expected autocorrelation of the speech is that of its estimate *plus* the covariance of the
    errors of the estimate,

    .. math:: r_k = \frac{\sum_t w_t w_{t-k} \hat s_t \hat s_{t-k}}{\sum_t w_t^2}
              + \frac1T \sum_t \mathrm{cov}(s_t, s_{t-k}).

    Without the second term (as in Gibson's iteration) the model loses power at each round.

    Args:
        estimate: ``(samples,)`` smoothed frame.
        window: of the same length.
        moments: ``(2, > p)`` from :func:`.recursion.run_linear`.
        p: order.
        a: filled with the coefficients, ``(>= p,)``.

    Returns:
        Variance of the excitation.
    """
    n = estimate.shape[0]
    r = np.empty(p + 1)
    energy = 0.0
    for t in range(n):
        energy += window[t] * window[t]
    for k in range(p + 1):
        total = 0.0
        for t in range(k, n):
            total += window[t] * estimate[t] * window[t - k] * estimate[t - k]
        r[k] = total / energy + moments[0, k] / moments[1, 0]
    r[0] *= 1.0 + CORRECTION
    return max(levinson(r, p, a), LEAST)
