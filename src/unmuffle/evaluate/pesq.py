"""Perceptual evaluation of speech quality: MOS-LQO of ITU-T P.862.

* `pesq_wb`: wide band, ITU-T P.862.2 (2007), always at 16 kHz, scores 1.02 to 4.64.
* `pesq_nb`: narrow band, ITU-T P.862 (2001) with the P.862.1 mapping to MOS-LQO, at the signal's own rate
  when that is 8 kHz, else at 16 kHz, scores 1.02 to 4.55.

The numbers are those of the ``pesq`` package (0.0.4, the ITU reference C code), which most papers quote;
ITU's 2018 Corrigendum 2 is not in it. Other rates are resampled to 16 kHz by soxr (HQ) first; wide band
below 16 kHz is an error, since the missing band would be scored as a fault.

Limits: PESQ was made for telephone speech of 8 to 20 s with steady faults. It does its own time alignment
and level setting, so neither costs points. It was never
validated for enhancement: read it beside a listening test. The C
code has room for 50 utterances and writes past its end when there are more (a minute of short words is
enough to stop the process); an utterance and its pause last 0.4 s at least, so files longer than 20 s are
scored in equal parts of at most 20 s and the mean is returned. Parts without speech are left out.

Reference: Rix, Beerends, Hollier & Hekstra, ICASSP 2001.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError, MissingExtraError, SampleRateError
from ._inputs import Signal, pair, rate, to_rate

_LONGEST_S = 20  # 50 utterances of 0.4 s: more can overrun the package's buffers
_SHORTEST_S = 0.26  # the C code refuses less than a quarter of a second


def _package() -> Any:
    try:
        import pesq
    except ImportError as error:
        raise MissingExtraError("PESQ", "pesq") from error
    return pesq


def _score(reference: Signal, degraded: Signal, sample_rate: int, mode: str) -> float:
    package = _package()
    step = _LONGEST_S * sample_rate
    parts = -(-reference.size // step)
    edges = np.linspace(0, reference.size, parts + 1).astype(int)
    total = weight = 0.0
    problem: Exception | None = None
    for a, b in itertools.pairwise(edges):
        x, y = reference[a:b], degraded[a:b]
        if not (np.any(x) and np.any(y)):
            continue
        try:
            score = float(package.pesq(sample_rate, x, y, mode))
        except (package.PesqError, ValueError, ZeroDivisionError) as error:
            problem = error
            continue
        if not np.isfinite(score):
            continue
        total, weight = total + score * (b - a), weight + (b - a)
    if weight == 0.0:
        why = f": {_words(problem)}" if problem is not None else ""
        seconds = reference.size / sample_rate
        raise InputError(f"PESQ finds no speech to score in {seconds:.2f} s{why}") from problem
    return total / weight


def _words(problem: Exception) -> str:
    text = problem.args[0] if problem.args else problem
    return text.decode() if isinstance(text, bytes) else str(text)


def pesq_wb(reference: ArrayLike, degraded: ArrayLike, sample_rate: int) -> float:
    """Wide-band PESQ (P.862.2) MOS-LQO, 1.02 to 4.64; needs at least 16 kHz."""
    if rate(sample_rate) < 16000:
        raise SampleRateError(f"wide-band PESQ needs 16 kHz or more, not {sample_rate} Hz; use pesq_nb")
    s, y = pair(reference, degraded, at_least=int(_SHORTEST_S * sample_rate), silent_degraded=False)
    return _score(to_rate(s, sample_rate, 16000), to_rate(y, sample_rate, 16000), 16000, "wb")


def pesq_nb(reference: ArrayLike, degraded: ArrayLike, sample_rate: int) -> float:
    """Narrow-band PESQ (P.862 and P.862.1) MOS-LQO, 1.02 to 4.55."""
    new = 8000 if rate(sample_rate) == 8000 else 16000
    s, y = pair(reference, degraded, at_least=int(_SHORTEST_S * sample_rate), silent_degraded=False)
    return _score(to_rate(s, sample_rate, new), to_rate(y, sample_rate, new), new, "nb")
