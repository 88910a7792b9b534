"""The voice activity detector of WebRTC, through the package ``webrtcvad-wheels`` (extra ``vad``).

A Gaussian mixture over the energies of six sub-bands decides every 10 ms. It is quick and widely known,
so results can be compared with those of others; it is bound to levels (quiet recordings should be raised
first) and takes loud noise for speech more often than :class:`~unmuffle.noise.vad.LikelihoodVad`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtraError, ParameterError
from ..signal.blocks import as_block
from ..signal.resample import convert
from .vad import spans

_RATE = 16_000
_FRAME = 160  # 10 ms, the shortest it takes


def activity(samples: Any, sample_rate: int, aggressiveness: int = 2) -> NDArray[np.bool_]:
    """One decision for every 10 ms, ``(frames,)``; speech in any channel counts.

    Args:
        samples: ``(samples,)`` or ``(channels, samples)``.
        sample_rate: in Hz; other rates than 16 kHz are converted.
        aggressiveness: 0 (calls more speech) to 3 (calls less).

    Raises:
        MissingExtraError: the package is not installed.
    """
    if aggressiveness not in (0, 1, 2, 3):
        raise ParameterError(f"aggressiveness = {aggressiveness!r}; give 0, 1, 2 or 3")
    try:
        import webrtcvad
    except ImportError:
        raise MissingExtraError("the WebRTC voice activity detector", "vad") from None
    x = convert(as_block(samples), sample_rate, _RATE)
    count = -(-x.shape[1] // _FRAME)
    out = np.zeros(count, bool)
    for channel in x:
        detector = webrtcvad.Vad(aggressiveness)
        padded = np.zeros(count * _FRAME, "<i2")
        padded[: channel.size] = np.clip(np.round(channel * 32768.0), -32768, 32767)
        data = padded.tobytes()
        step = 2 * _FRAME
        starts = range(0, len(data), step)
        out |= np.array([detector.is_speech(data[i : i + step], _RATE) for i in starts], bool)
    return out


def segments(
    samples: Any,
    sample_rate: int,
    aggressiveness: int = 2,
    *,
    shortest_s: float = 0.1,
    pause_s: float = 0.2,
    margin_s: float = 0.03,
) -> list[tuple[float, float]]:
    """Where there is speech, as (start, stop) in seconds; parameters as in :func:`unmuffle.noise.vad.segments`."""
    x = as_block(samples)
    found = activity(x, sample_rate, aggressiveness)
    length_s = x.shape[1] / sample_rate
    hop_s = _FRAME / _RATE
    return spans(found, hop_s, 0.0, length_s, shortest_s=shortest_s, pause_s=pause_s, margin_s=margin_s)
