"""The beginning of a stream, as all trackers share it."""

import numpy as np

from unmuffle.noise import MmseSpp
from unmuffle.signal.stft import StftSpec


def test_sound_after_a_gate_is_not_taken_for_noise():
    # Digital silence, then a voice at once (as after a codec's silence suppression): the estimate starts
    # 10 dB lower than from the same sound without the silence before it; half that much silence, and
    # it does not.
    frames = StftSpec().at(16000)
    voice = np.full((1, 30, frames.bins), 1e-3, np.float32)
    plain = MmseSpp().track(voice, frames)[:, 3]
    for quiet, expected in ((5, 0.0), (10, -10.0), (200, -10.0)):
        silent = np.zeros((1, quiet, frames.bins), np.float32)
        gated = MmseSpp().track(np.concatenate((silent, voice), axis=1), frames)[:, quiet + 3]
        np.testing.assert_allclose(10 * np.log10(gated / plain), expected, atol=0.01)
