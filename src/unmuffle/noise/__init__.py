"""Knowing the noise: trackers of its power spectrum, SNR estimates, speech presence, voice activity.

===================  ==========================================================================
:mod:`.base`         the contract of a tracker: ``init`` and ``step``, one frame at a time
:mod:`.mmse_spp`     ``mmse-spp``: soft speech presence (Gerkmann & Hendriks 2012), the default
:mod:`.minimum`      ``minimum``: minimum statistics (Martin 2001)
:mod:`.mcra`         ``mcra``: averaging that a minimum controls (Cohen & Berdugo 2002)
:mod:`.imcra`        ``imcra``: the same in two passes (Cohen 2003)
:mod:`.gated`        ``vad``: averaging while nobody speaks
:mod:`.profile`      ``profile``: a fixed PSD, from a marked span, another file or the beginning
:mod:`.snr`          a-posteriori and a-priori SNR per bin
:mod:`.spp`          speech presence probability per bin
:mod:`.vad`          voice activity per frame, and where in a recording there is speech
:mod:`.webrtc_vad`   the detector of WebRTC, for comparison (extra ``vad``)
:mod:`.startup`      the first tenth of a second, shared by all trackers
:mod:`.minima`       the bias of a minimum
:mod:`.bins`         smoothing over bins
===================  ==========================================================================

Which tracker? ``mmse-spp`` follows a change of the noise within half a second and costs least, but
lets some speech in. ``minimum`` is the hardest to fool by speech, and needs 1.7 s for a rise;
``imcra`` (2.3 s) is as hard to fool, ``mcra`` (2.2 s) a little less. ``vad`` learns in pauses only.
``profile`` is for steady noise with a stretch that holds nothing else.

>>> from unmuffle.signal.stft import StftSpec
>>> frames = StftSpec().at(16000)
>>> mmse = tracker("mmse-spp", prior_snr_db=15.0)
>>> state = mmse.init(frames, channels=1)
"""

from __future__ import annotations

import difflib
from typing import Any

from ..errors import UnknownMethodError, UnknownParameterError
from .base import SILENCE_DBFS, NoiseTracker
from .gated import VadGated
from .imcra import Imcra
from .mcra import Mcra
from .minimum import Minimum
from .mmse_spp import MmseSpp
from .profile import NoiseProfile, Profile, mean_profile, profile_from
from .vad import EnergyVad, LikelihoodVad, VoiceDetector, segments

TRACKERS: dict[str, type[NoiseTracker]] = {
    "mmse-spp": MmseSpp,
    "minimum": Minimum,
    "mcra": Mcra,
    "imcra": Imcra,
    "vad": VadGated,
    "profile": Profile,
}
"""Every tracker by name."""


def tracker(name: str = "mmse-spp", **params: Any) -> NoiseTracker:
    """Make a tracker by name.

    Raises:
        UnknownMethodError: no tracker has that name.
        UnknownParameterError: the tracker has no such parameter.
        ParameterError: a parameter is out of range.
    """
    if name not in TRACKERS:
        near = difflib.get_close_matches(str(name), TRACKERS, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        names = ", ".join(TRACKERS)
        raise UnknownMethodError(f"no noise tracker is called {name!r}{hint}; choose one of {names}")
    kind = TRACKERS[name]
    known = kind.__dataclass_fields__
    for key in params:
        if key not in known:
            raise UnknownParameterError(f"noise tracker {name!r} has no parameter {key!r}; it has: {', '.join(known)}")
    return kind(**params)


__all__ = [
    "SILENCE_DBFS",
    "TRACKERS",
    "EnergyVad",
    "Imcra",
    "LikelihoodVad",
    "Mcra",
    "Minimum",
    "MmseSpp",
    "NoiseProfile",
    "NoiseTracker",
    "Profile",
    "VadGated",
    "VoiceDetector",
    "mean_profile",
    "profile_from",
    "segments",
    "tracker",
]
