"""Knowing the noise: trackers of its power spectrum, SNR estimates, speech presence, voice activity.

====================  =========================================================================
:mod:`.base`          the contract of a tracker: ``init`` and ``step``, one frame at a time
:mod:`.startup`       the first tenth of a second, shared by all trackers
:mod:`.mmse_spp`      ``mmse-spp``: unbiased MMSE with speech presence probability (the default)
:mod:`.profile`       ``profile``: a fixed PSD, from a marked span, another file or the beginning
====================  =========================================================================

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
from .mmse_spp import MmseSpp
from .profile import NoiseProfile, Profile, profile_from

TRACKERS: dict[str, type[NoiseTracker]] = {
    "mmse-spp": MmseSpp,
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
            raise UnknownParameterError(
                f"noise tracker {name!r} has no parameter {key!r}; it has: {', '.join(known)}"
            )
    return kind(**params)


__all__ = [
    "SILENCE_DBFS",
    "TRACKERS",
    "MmseSpp",
    "NoiseProfile",
    "NoiseTracker",
    "Profile",
    "profile_from",
    "tracker",
]
