"""What every tracker must do, and how fast and how well each one does it."""

from __future__ import annotations

import copy
import dataclasses
import math

import numpy as np
import pytest
from noise_helpers import FRAMES, level_db, mixed, power_of, syllables, white

from unmuffle.errors import ParameterError, ShapeError, UnknownMethodError, UnknownParameterError
from unmuffle.noise import TRACKERS, NoiseTracker, profile_from, tracker
from unmuffle.noise.base import SILENCE_DBFS, silence
from unmuffle.signal.stft import StftSpec

ADAPTIVE = [name for name in TRACKERS if name != "profile"]

SPECS = {
    "20/10 ms": StftSpec(),
    "32/16 ms": StftSpec(32, 16),  # what the papers of mmse-spp and minimum statistics use
    "32/8 ms": StftSpec(32, 8, "hann"),  # what the papers of MCRA and IMCRA use
}


@pytest.fixture(autouse=True)
def _no_silent_overflow():
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        yield


# -- known noise --------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("name", TRACKERS)
def test_unbiased_in_white_noise(rng, name, spec):
    # The papers claim estimators without bias; Martin 2001 and Cohen 2003 compensate theirs.
    # A mean over 159 bins and 5 s has a standard error below 0.05 dB; 0.5 dB covers the
    # approximations of both (Martin's table is rounded, Cohen's beta assumes exact q).
    frames = SPECS[spec].at(16000)
    noise = tracker(name).track(power_of(white(rng, 7), frames), frames)
    settled = noise[:, round(2 * 16000 / frames.hop) :]
    assert 10 * math.log10(settled[..., 1:-1].mean() * frames.power_scale) == pytest.approx(-40, abs=0.5)


@pytest.mark.parametrize("name", TRACKERS)
def test_follows_the_colour_of_the_noise(rng, name):
    # First-order low-pass noise, PSD known: 1 / |1 - 0.9 e^{-jw}|^2, a range of 25 dB. The window
    # smears a smooth spectrum like this one by much less than the 1 dB allowed.
    x = white(rng, 8)
    from scipy.signal import lfilter

    y = lfilter([1.0], [1.0, -0.9], x).astype(np.float32)
    true = 1e-4 / np.abs(1 - 0.9 * np.exp(-2j * np.pi * FRAMES.frequencies / 16000)) ** 2
    noise = tracker(name).track(power_of(y), FRAMES)
    error = 10 * np.log10(noise[0, 200:].mean(axis=0) * FRAMES.power_scale / true)
    smooth = np.convolve(error[1:-1], np.ones(15) / 15, "valid")  # a profile is one noisy average
    assert np.max(np.abs(smooth)) < 1.0


@pytest.mark.parametrize(
    ("name", "spread"),
    # Standard deviation in dB of the estimate in steady noise. Averages over tau seconds of frames
    # 10 ms apart have about 2 tau / 10 ms looks, i.e. 4.34 / sqrt(looks) dB: 1.1 for 72 ms.
    [("mmse-spp", 1.4), ("minimum", 0.8), ("mcra", 1.0), ("imcra", 1.4), ("vad", 0.9)],
)
def test_steadiness(rng, name, spread):
    noise = tracker(name).track(power_of(white(rng, 7)), FRAMES)[0, 200:, 1:-1]
    assert np.std(10 * np.log10(noise)) < spread


def reaction_s(name, rng, step_db):
    """Time after a step until the mean estimate is within 1 dB of the new level; and that level."""
    x = white(rng, 12)
    x[6 * 16000 :] *= 10 ** (step_db / 20)
    level = level_db(tracker(name).track(power_of(x), FRAMES))[600:]
    close = np.abs(level - (-40 + step_db)) < 1
    assert close.any(), f"never arrives: {level[-1]}"
    return np.argmax(close) * 0.01, level[-100:].mean()


@pytest.mark.parametrize(
    ("name", "soonest", "latest"),
    [
        # Gerkmann & Hendriks 2012: the mean presence (0.9 a frame of 16 ms) must pass 0.99 before
        # the stuck bins leak, -16 ms * ln(100) / ln(0.9) = 0.70 s for a bin that is wholly stuck;
        # with a step of 10 dB many values are below the threshold, so the mean is there earlier.
        ("mmse-spp", 0.2, 0.8),
        # Martin 2001: the window is 1.536 s; a rise is followed after a window and a part (0.192 s)
        # at the latest, unless a local minimum shows it earlier.
        ("minimum", 0.19, 1.536 + 0.192 + 0.2),
        # Cohen & Berdugo 2002: the minimum looks back one to two windows of 1 s.
        ("mcra", 1.0, 2.6),
        # Cohen 2003: two minima one after the other, each over 0.96 s plus a part of 0.12 s.
        ("imcra", 0.96, 2 * (0.96 + 0.12) + 0.4),
        # The floor of the detector is the minimum over 2 to 4 s.
        ("vad", 2.0, 5.0),
    ],
)
def test_reaction_to_10_db_more(rng, name, soonest, latest):
    delay, level = reaction_s(name, rng, 10.0)
    assert soonest <= delay <= latest
    assert level == pytest.approx(-30, abs=0.5)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_reaction_to_10_db_less(rng, name):
    # Downwards nothing has to be waited for: the average decays by 9 dB in 2 to 3 time constants
    # (the longest is 0.2 s), the minimum at once.
    delay, level = reaction_s(name, rng, -10.0)
    assert delay < 0.9
    assert level == pytest.approx(-50, abs=0.5)


def test_order_of_reaction(rng):
    # The point of Gerkmann & Hendriks 2012 against minimum statistics and MCRA.
    delays = [reaction_s(name, rng, 10.0)[0] for name in ("mmse-spp", "minimum", "mcra")]
    assert delays[0] < 0.5 * delays[1]
    assert delays[0] < 0.5 * delays[2]


@pytest.mark.parametrize(("name", "lag_db"), [("mmse-spp", 3.0), ("minimum", 9.0), ("mcra", 9.0)])
def test_slowly_rising_noise(rng, name, lag_db):
    # 3 dB/s for 6 s. A lag of T seconds means an estimate 3 T dB low: below 1 s for mmse-spp, two
    # windows and more for those that wait for a minimum.
    x = white(rng, 9)
    rise = np.clip(np.arange(x.size) / 16000 - 2, 0, 6) * 3
    level = level_db(tracker(name).track(power_of(x * 10 ** (rise / 20)), FRAMES))
    true = -40 + rise[159::160][: level.size]
    error = (level - true)[300:800]
    assert -lag_db < error.min()
    assert error.max() < 1.0


# -- speech -------------------------------------------------------------------------------------


@pytest.mark.parametrize("snr_db", [20.0, 5.0])
@pytest.mark.parametrize(
    ("name", "over_db"),
    [("mmse-spp", 2.5), ("minimum", 2.0), ("mcra", 2.5), ("imcra", 2.0), ("vad", 4.5)],
)
def test_does_not_follow_speech(rng, name, over_db, snr_db):
    # Mean over-estimation in dB, all bins and frames after 1 s. Speech is up to 40 dB above the
    # noise in its bins: an estimate that followed it would be off by ten and more.
    speech, active = syllables(rng, 9, lead=0.5)
    noise = white(rng, 9)
    x, gain = mixed(speech, active, noise, snr_db)
    estimate = tracker(name).track(power_of(x), FRAMES)[0, 100:, 1:-1]
    true = (0.01 * gain) ** 2 / FRAMES.power_scale
    error = 10 * np.log10(estimate / true)
    assert np.maximum(error, 0).mean() < over_db
    assert np.maximum(-error, 0).mean() < 1.5
    assert np.median(error) == pytest.approx(0, abs=1.5)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_speech_from_the_first_sample(rng, name):
    # The start takes speech for noise, there is nothing else; by the end of the second pause
    # (3.6 s) the estimate has found the noise, 20 dB below.
    speech, active = syllables(rng, 6)
    x, gain = mixed(speech, active, white(rng, 6), 20.0)
    estimate = tracker(name).track(power_of(x), FRAMES)[0, 355, 1:-1]
    error = 10 * np.log10(estimate / ((0.01 * gain) ** 2 / FRAMES.power_scale))
    assert np.median(error) == pytest.approx(0, abs=2.5)


# -- the first frames ---------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [*SPECS, "asymmetric"])
@pytest.mark.parametrize("name", TRACKERS)
def test_start(rng, name, spec):
    # From the first whole frame on the estimate is there: geometric mean of few frames, compensated.
    # Its mean over 159 bins is good to 5.6 dB / sqrt(159 / 3) (neighbours go together) = 0.8 dB.
    spec_ = SPECS.get(spec, StftSpec(32, 4, "asymmetric"))
    frames = spec_.at(16000)
    level = []
    for c in range(3):
        x = white(np.random.default_rng(c), 0.4)
        estimate = tracker(name).track(power_of(x, frames), frames)
        level.append(10 * np.log10(np.exp(np.log(estimate[0, :, 1:-1]).mean(axis=1)) * frames.power_scale))
    level = np.mean(level, axis=0)
    whole = frames.size // frames.hop - 1
    assert level[whole] == pytest.approx(-40, abs=1.5)
    within = round(0.06 * 16000 / frames.hop) + whole
    assert level[within:] == pytest.approx(-40, abs=1.5)


@pytest.mark.parametrize("name", TRACKERS)
def test_leading_silence_is_not_noise(rng, name):
    # 0.5 s of zeros, then noise: the clock of the start begins with the noise, so 0.2 s (0.6 s for
    # the profile that learns) later the level is right, though it came up by 120 dB. mmse-spp doubts
    # what comes first after digital silence and needs half a second to be convinced that it is noise.
    x = np.concatenate((np.zeros(8000 + 77, np.float32), white(rng, 2)))
    level = level_db(tracker(name).track(power_of(x), FRAMES))
    assert level[:50] == pytest.approx(SILENCE_DBFS, abs=0.1)
    assert level[105 if name == "mmse-spp" else 75 :] == pytest.approx(-40, abs=1.2)


@pytest.mark.parametrize("name", TRACKERS)
def test_muted_microphone_is_held_through(rng, name):
    # Noise, 1 s of digital silence, noise: the estimate waits and is right when the noise is back.
    x = white(rng, 5)
    x[2 * 16000 : 3 * 16000] = 0
    level = level_db(tracker(name).track(power_of(x), FRAMES))
    assert level[195:] == pytest.approx(-40, abs=1.2)


@pytest.mark.parametrize("name", TRACKERS)
def test_channels_begin_when_they_begin(rng, name):
    a, b = white(rng, 3), white(rng, 3)
    b[:16000] = 0
    both = tracker(name).track(power_of(np.stack((a, b))), FRAMES)
    for c, x in enumerate((a, b)):
        assert level_db(both[c : c + 1])[200:] == pytest.approx(-40, abs=1.2)
        alone = tracker(name).track(power_of(x), FRAMES)
        # Channels do not touch each other: only the phase of shared windows may differ, for the
        # channel that begins late.
        if c == 0:
            np.testing.assert_allclose(both[0], alone[0], rtol=1e-4)


# -- level and other trouble --------------------------------------------------------------------


@pytest.mark.parametrize("gain_db", [-30.0, 10.0])
@pytest.mark.parametrize("name", TRACKERS)
def test_estimate_scales_with_the_signal(rng, name, gain_db):
    speech, active = syllables(rng, 4)
    x, _ = mixed(speech, active, white(rng, 4), 10.0)
    base = tracker(name).track(power_of(x), FRAMES)
    gain = np.float32(10 ** (gain_db / 20))
    scaled = tracker(name).track(power_of(gain * x), FRAMES)
    # float32 rounding can tip a yes/no decision of a bin; nearly all bins agree to rounding.
    ratio = 10 * np.log10(scaled / base) - gain_db
    assert np.mean(np.abs(ratio) < 0.01) > 0.99
    assert abs(ratio.mean()) < 0.02


@pytest.mark.parametrize("name", TRACKERS)
def test_noise_at_minus_90_dbfs(rng, name):
    level = level_db(tracker(name).track(power_of(white(rng, 4, rms=10**-4.5)), FRAMES))
    assert level[300:].mean() == pytest.approx(-90, abs=0.5)


@pytest.mark.parametrize("name", TRACKERS)
@pytest.mark.parametrize(
    "signal",
    ["zeros", "denormal", "one sample", "dc", "sine", "square", "huge jump", "impulses"],
)
def test_survives(rng, name, signal):
    n = 32000
    x = np.zeros(n, np.float32)
    if signal == "denormal":
        x[:] = 1e-40
    elif signal == "one sample":
        x[7] = 1
    elif signal == "dc":
        x[:] = 0.5
    elif signal == "sine":
        x[:] = np.sin(0.3 * np.arange(n))
    elif signal == "square":
        x[:] = np.sign(np.sin(0.05 * np.arange(n)) + 1e-9)
    elif signal == "huge jump":
        x[: n // 2] = white(rng, 1, rms=1e-7)
        x[n // 2 :] = white(rng, 1, rms=30.0)
    elif signal == "impulses":
        x[::4000] = 1
    noise = tracker(name).track(power_of(x), FRAMES)
    assert np.isfinite(noise).all()
    assert noise.min() >= np.float32(silence(FRAMES)) * 0.999  # never below digital silence
    if signal in ("zeros", "denormal"):
        assert noise.max() <= np.float32(silence(FRAMES)) * 1.001


@pytest.mark.parametrize("name", ADAPTIVE)
def test_dc_stays_in_its_bins(rng, name):
    # DC of 0.05 is 38 dB above the noise in bin 0. Twelve bins away the sidelobes of this window are
    # 55 dB down (1 / (4 d^2 - 1)), 17 dB below the noise: 0.1 dB.
    x = white(rng, 4)
    noise = tracker(name).track(power_of(x + np.float32(0.05)), FRAMES)[0, 300:, 12:-1]
    assert 10 * np.log10(noise.mean() * FRAMES.power_scale) == pytest.approx(-40, abs=0.7)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
@pytest.mark.parametrize("name", TRACKERS)
def test_any_rate(rng, name, rate):
    frames = StftSpec().at(rate)
    level = level_db(tracker(name).track(power_of(white(rng, 3, rate), frames), frames), frames)
    assert level[200:].mean() == pytest.approx(-40, abs=0.6)


# -- the contract -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRACKERS)
def test_power_is_not_changed_and_state_is_plain(rng, name):
    def plain(value):
        if isinstance(value, dict):
            return all(plain(v) for v in value.values())
        if isinstance(value, (list, tuple)):
            return all(plain(v) for v in value)
        return isinstance(value, (np.ndarray, np.generic, int, float, bool))

    method = tracker(name)
    power = power_of(white(rng, 1))
    kept = power.copy()
    state = method.init(FRAMES, 1)
    for i in range(power.shape[1]):
        frame = power[:, i]
        frame.flags.writeable = False  # writing into it would raise
        out = method.step(frame, state)
        assert out.dtype == np.float32
        assert out.shape == (1, FRAMES.bins)
        assert out is not frame
        assert not np.shares_memory(out, frame)
    np.testing.assert_array_equal(power, kept)
    assert plain(state)


@pytest.mark.parametrize("name", TRACKERS)
def test_a_copied_state_goes_on_alike(rng, name):
    method = tracker(name)
    speech, active = syllables(rng, 3)
    power = power_of(mixed(speech, active, white(rng, 3), 5.0)[0])
    state = method.init(FRAMES, 1)
    for i in range(137):
        method.step(power[:, i], state)
    other = copy.deepcopy(state)
    first = [method.step(power[:, i], state).copy() for i in range(137, power.shape[1])]
    second = [method.step(power[:, i], other).copy() for i in range(137, power.shape[1])]
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", TRACKERS)
def test_trackers_are_values(name):
    method = tracker(name)
    assert isinstance(method, NoiseTracker)
    assert method.name == name
    assert method == tracker(name)
    assert hash(method) == hash(tracker(name))
    with pytest.raises(dataclasses.FrozenInstanceError):
        method.name = "other"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("mmse-spp", {"prior_snr_db": 0.0}),
        ("mmse-spp", {"prior_snr_db": float("nan")}),
        ("mmse-spp", {"smoothing_s": -1.0}),
        ("mmse-spp", {"startup_s": "soon"}),
        ("minimum", {"window_s": 0.0}),
        ("minimum", {"parts": 1}),
        ("minimum", {"parts": 2.5}),
        ("mcra", {"threshold": 1.0}),
        ("imcra", {"window_s": math.inf}),
        ("vad", {"average_s": True}),
        ("vad", {"detector": "energy"}),
        ("profile", {"learn_s": 0.0}),
        ("profile", {"profile": 3}),
    ],
)
def test_bad_parameters(name, values):
    with pytest.raises(ParameterError, match=next(iter(values))):
        tracker(name, **values)


def test_unknown_names():
    with pytest.raises(UnknownMethodError, match="did you mean 'mmse-spp'"):
        tracker("mmse_spp")
    with pytest.raises(UnknownParameterError, match=r"it has: .*prior_snr_db"):
        tracker("mmse-spp", prior=3)
    with pytest.raises(ShapeError, match="161"):
        tracker("mmse-spp").track(np.zeros((1, 5, 100), np.float32), FRAMES)


def test_a_measured_profile_stays(rng):
    x = white(rng, 2)
    method = tracker("profile", profile=profile_from(x, 16000))
    noise = method.track(power_of(np.concatenate((30 * x, x))), FRAMES)
    assert np.ptp(noise, axis=1).max() == 0
    assert level_db(noise)[0] == pytest.approx(-40, abs=0.2)
