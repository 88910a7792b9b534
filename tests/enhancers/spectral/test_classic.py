"""The tuned setting: what it is made of, and that it helps real recordings."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from unmuffle.enhancers.base import run_offline
from unmuffle.enhancers.spectral.classic import Classic
from unmuffle.noise import MmseSpp, NoiseProfile, Profile, tracker


def test_the_tracker_is_the_patient_one():
    assert Classic().tracker() == MmseSpp(stuck_s=0.3)
    assert Classic(stuck_ms=500).tracker() == MmseSpp(stuck_s=0.5)
    assert Classic(noise="imcra").tracker() == tracker("imcra")


def test_a_profile_goes_before_any_tracker():
    profile = NoiseProfile((1e-6, 1e-6), (0.0, 8000.0))
    assert Classic().with_profile(profile).tracker() == Profile(profile=profile)


def test_latency():
    # 36 ms windows every 12 ms: the docstring's 24 ms, and 16 ms with half-overlapping frames.
    assert Classic().stream(16000).latency_ms == pytest.approx(24.0)
    short = Classic(window_ms=32, hop_ms=16, window="sqrt-hann")
    assert short.stream(16000).latency_ms == pytest.approx(16.0)


def test_a_sustained_voice_is_spared(rng):
    # Two seconds of a vowel without a pause: a tracker that takes it for noise would eat it.
    t = np.arange(32000) / 16000
    vowel = sum(np.cos(2 * np.pi * 110 * h * t + h * h) / h for h in range(1, 30))
    vowel = vowel * np.clip((t - 0.5) * 50, 0, 1)  # begins after half a second
    noise = 10 ** (-30 / 20) * np.std(vowel[8000:]) * rng.standard_normal(len(t))
    x = (0.05 * (vowel + noise)).astype(np.float32)
    out = run_offline(Classic(), x, 16000)
    kept = np.std(out[28000:]) / np.std(x[28000:])
    assert 20 * np.log10(kept) > -1.0  # dB, after a second and more


def test_it_helps_real_recordings(shared_data):
    def si_sdr(clean, y):
        target = clean * (clean @ y) / (clean @ clean)
        return 10 * np.log10((target @ target) / ((y - target) @ (y - target)))

    gains = []
    for path in sorted((shared_data / "dev16" / "noisy").glob("*.flac"))[::6]:
        noisy, rate = soundfile.read(path, dtype="float32")
        clean, _ = soundfile.read(shared_data / "dev16" / "clean" / path.name, dtype="float32")
        gains.append(si_sdr(clean, run_offline(Classic(), noisy, rate)) - si_sdr(clean, noisy))
    # 4 dB over the whole set; never much worse than the input on any file.
    assert np.mean(gains) > 2.0
    assert min(gains) > -1.0
