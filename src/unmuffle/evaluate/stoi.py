"""Short-time objective intelligibility, and its extended form.

* `stoi`: Taal, Hendriks, Heusdens & Jensen, IEEE Trans. ASLP 19(7), 2011. Correlation of the envelopes of 15
  one-third-octave bands (150 Hz to 4.3 kHz) over 384 ms, after dropping frames 40 dB below the loudest.
* `estoi`: Jensen & Taal, IEEE/ACM Trans. ASLP 24(11), 2016. Rows and columns of the same segments
  normalised, so it also follows maskers that fluctuate.

Both are the ``pystoi`` package (0.4.1), 0 to 1 in practice (the average of correlations may be slightly
negative). They work at 10 kHz; rates above 16 kHz are first brought to 16 kHz by soxr (HQ), the rest is
pystoi's own resampler. At least 30 frames (0.4 s) of active speech are needed; with less there is an
`InputError` instead of the package's placeholder 1e-5. A silent output scores 0.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError, MissingExtraError
from ._inputs import pair, rate, to_rate

_SHORTEST_S = 0.42


def _package() -> Any:
    try:
        import pystoi
    except ImportError as error:
        raise MissingExtraError("STOI", "metrics") from error
    return pystoi


def _score(reference: ArrayLike, degraded: ArrayLike, sample_rate: int, extended: bool) -> float:
    package = _package()
    sample_rate = rate(sample_rate)
    s, y = pair(reference, degraded, at_least=int(_SHORTEST_S * sample_rate))
    if not np.any(y):
        return 0.0
    if sample_rate > 16000:
        s, y, sample_rate = to_rate(s, sample_rate, 16000), to_rate(y, sample_rate, 16000), 16000
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(package.stoi(s, y, sample_rate, extended=extended))
        except (RuntimeWarning, ValueError) as error:
            raise InputError(
                f"STOI needs 0.4 s of active speech and found less in {s.size / sample_rate:.2f} s"
            ) from error


def stoi(reference: ArrayLike, degraded: ArrayLike, sample_rate: int) -> float:
    """STOI (Taal 2011) by pystoi, 0 to 1."""
    return _score(reference, degraded, sample_rate, extended=False)


def estoi(reference: ArrayLike, degraded: ArrayLike, sample_rate: int) -> float:
    """Extended STOI (Jensen & Taal 2016) by pystoi, 0 to 1."""
    return _score(reference, degraded, sample_rate, extended=True)
