"""Room measures against closed forms of exponential decays, and against simulated rooms; speech in known rooms."""

import numpy as np
import pytest
from scipy.signal import fftconvolve
from voices import voice

from unmuffle.errors import InputError, ParameterError, ShapeError
from unmuffle.evaluate import METRICS, rooms

RATE = 16000


def exponential(t60_s, seconds=None, rate=RATE):
    """A smooth decay: energy 10^(-6 t / T60), no noise, so every ratio has a closed form."""
    t = np.arange(int((seconds or 2 * t60_s) * rate)) / rate
    return 10 ** (-3 * t / t60_s)


@pytest.mark.parametrize("t60_s", [0.15, 0.3, 0.6, 1.2])
@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_decay_times_of_an_exponential(t60_s, rate):
    found = rooms.room_measures(exponential(t60_s, rate=rate), rate)
    # The sum is geometric, so its decay is the same line; only the cut at 2 T60 (-120 dB) bends it.
    for value in (found.edt_s, found.t20_s, found.t30_s):
        assert value == pytest.approx(t60_s, rel=1e-3)


@pytest.mark.parametrize("t60_s", [0.3, 0.8])
def test_clarity_of_an_exponential(t60_s):
    h = exponential(t60_s)
    for ms, found in ((50, rooms.clarity_db(h, RATE, 50.0)), (80, rooms.clarity_db(h, RATE, 80.0))):
        # Cut at -120 dB: 1e-12 of the energy is missing, far below the tolerance.
        assert found == pytest.approx(10 * np.log10(10 ** (6e-3 * ms / t60_s) - 1), abs=1e-3)
    assert rooms.definition(h, RATE) == pytest.approx(1 - 10 ** (-6 * 0.05 / t60_s), abs=1e-5)


@pytest.mark.parametrize("wanted_db", [-6.0, 0.0, 9.0])
def test_direct_to_reverberant_ratio_of_an_impulse_and_a_tail(wanted_db):
    tail = np.concatenate((np.zeros(41), exponential(0.4)))  # begins behind 2.5 ms (40 samples)
    h = tail / np.sqrt(np.sum(tail**2)) * 10 ** (-wanted_db / 20)
    h[0] = 1.0
    assert rooms.drr_db(h, RATE, 0) == pytest.approx(wanted_db, abs=1e-9)


def test_early_decay_and_late_decay_differ_where_the_room_has_two():
    # A strong fast part over a weak slow one: EDT hears the first, T30 the second.
    h = np.sqrt(exponential(0.2, 2.0) ** 2 + 1e-3 * exponential(1.0, 2.0) ** 2)
    found = rooms.room_measures(h, RATE)
    assert found.edt_s < 0.25
    assert found.t30_s > 1.5 * found.edt_s


@pytest.mark.parametrize("t60_s", [0.3, 0.7])
def test_noise_like_decay_with_a_noise_floor(t60_s):
    rng = np.random.default_rng(1)
    h = exponential(t60_s, 1.5) * rng.standard_normal(int(1.5 * RATE))
    h[0] = 4.0
    clean = rooms.room_measures(h, RATE, 0)
    noisy = rooms.room_measures(h + 10 ** (-50 / 20) * rng.standard_normal(h.size), RATE, 0)
    # One draw of noise: the curve of 20 dB in 0.1 s rests on some 1600 values, a few percent of scatter.
    assert clean.t20_s == pytest.approx(t60_s, rel=0.05)
    assert noisy.t20_s == pytest.approx(t60_s, rel=0.08)
    assert 40 < noisy.range_db < 60


def test_too_much_noise_is_not_a_number():
    rng = np.random.default_rng(2)
    h = exponential(0.5, 1.5) * rng.standard_normal(int(1.5 * RATE))
    h = h + 10 ** (-20 / 20) * rng.standard_normal(h.size)
    found = rooms.room_measures(h, RATE, 0)
    assert np.isnan(found.t20_s)
    assert np.isnan(found.t30_s)


def test_simulated_rooms_and_pyroomacoustics():
    pyroomacoustics = pytest.importorskip("pyroomacoustics")
    from unmuffle.degrade.rooms import direct_to_reverberant_db, schroeder_t60_s

    for seed, absorption in enumerate((0.15, 0.35)):
        room = pyroomacoustics.ShoeBox(
            [5.0, 4.0, 2.7], fs=RATE, materials=pyroomacoustics.Material(absorption), max_order=30
        )
        room.add_source([1.5, 1.0 + seed, 1.4])
        room.add_microphone([3.3, 2.6, 1.2])
        room.compute_rir()
        h = np.asarray(room.rir[0][0])
        found = rooms.room_measures(h, RATE)
        theirs = pyroomacoustics.experimental.measure_rt60(h[found.direct_sample :], fs=RATE, decay_db=20)
        # They take the two end points of the stretch, we a line through all of it: some percent apart.
        assert found.t20_s == pytest.approx(theirs, rel=0.08)
        assert found.t20_s == pytest.approx(schroeder_t60_s(h, RATE), rel=0.02)
        assert found.drr_db == pytest.approx(direct_to_reverberant_db(h, found.direct_sample, RATE), abs=1e-6)


def test_level_does_not_matter():
    h = np.random.default_rng(3).standard_normal(8000) * exponential(0.25, 0.5)
    one, other = (rooms.room_measures(g * h, RATE, 0) for g in (1.0, 1e-4))
    for name in ("edt_s", "t20_s", "drr_db", "c50_db", "d50"):
        assert getattr(one, name) == pytest.approx(getattr(other, name))


def test_an_echo_free_room():
    found = rooms.room_measures(np.eye(1, 400, 7)[0], RATE)
    assert found.direct_sample == 7
    assert found.drr_db == found.c50_db == np.inf
    assert found.d50 == 1.0
    assert np.isnan(found.t20_s)


def test_srr_of_known_ratio():
    rng = np.random.default_rng(4)
    s = rng.standard_normal(32000)
    rest = rng.standard_normal(32000)
    # White segments of 512 samples: the ratio of two energies scatters by 0.4 dB, its mean over 62 by 0.05.
    for wanted in (-5.0, 0.0, 12.0):
        assert rooms.srr(s, s + 10 ** (-wanted / 20) * rest, RATE) == pytest.approx(wanted, abs=0.3)
    assert rooms.srr(s, s, RATE) == rooms.SRR_RANGE_DB[1]
    assert rooms.srr(s, 100 * rest, RATE) == rooms.SRR_RANGE_DB[0]


def test_srr_does_not_count_pauses():
    rng = np.random.default_rng(5)
    s = rng.standard_normal(32000)
    s[16000:] *= 1e-4
    y = s + 0.1 * rng.standard_normal(32000)
    assert rooms.srr(s, y, RATE) == pytest.approx(20.0, abs=0.5)


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (np.zeros(100), InputError),
        (np.full(100, np.nan), InputError),
        (np.zeros((2, 100)), ShapeError),
        (np.zeros(0), ShapeError),
    ],
)
def test_bad_responses_are_named(bad, error):
    with pytest.raises(error):
        rooms.room_measures(bad, RATE)


def test_bad_numbers_are_named():
    h = exponential(0.2)
    with pytest.raises(ParameterError, match="direct = 9000000"):
        rooms.room_measures(h, RATE, 9000000)
    with pytest.raises(ParameterError, match="early_ms"):
        rooms.clarity_db(h, RATE, 0.0)
    with pytest.raises(ShapeError, match="align"):
        rooms.srr(h, h[1:], RATE)
    with pytest.raises(ShapeError, match="at least 512"):
        rooms.srr(h[:10], h[:10], RATE)
    with pytest.raises(ParameterError, match="segment_ms"):
        rooms.srr(h, h, RATE, segment_ms=0.0)


SPEECH_MEASURES = ["srr", "srmr", "cepstral_distance", "llr", "fwseg_snr"]


def in_room(speech, t60_s, drr_db, seed=0):
    """Direct sound of 1, and from 2.5 ms on an exponential noise of that T60 with exactly that much energy."""
    tail = np.random.default_rng(seed).standard_normal(int(1.2 * t60_s * RATE)) * exponential(t60_s, 1.2 * t60_s)
    h = np.concatenate(([1.0], np.zeros(40), tail / np.sqrt(np.sum(tail**2)) * 10 ** (-drr_db / 20)))
    assert rooms.drr_db(h, RATE, 0) == pytest.approx(drr_db, abs=1e-6)
    return fftconvolve(speech, h)[: speech.size]


@pytest.mark.parametrize("name", SPEECH_MEASURES)
def test_speech_measures_follow_a_known_direct_to_reverberant_ratio(name):
    speech, metric = voice(seconds=5.0), METRICS[name]
    scores = [metric(in_room(speech, 0.5, drr), RATE, reference=speech) for drr in (15.0, 8.0, 1.0, -6.0)]
    assert scores == sorted(scores, reverse=metric.higher_is_better)


@pytest.mark.parametrize("name", SPEECH_MEASURES)
def test_speech_measures_follow_a_known_reverberation_time(name):
    # One room's peaks are its own, so means over three; the ratio of direct to reverberant sound stays at 3 dB.
    speech, metric = voice(seconds=5.0), METRICS[name]
    scores = [
        np.mean([metric(in_room(speech, t60_s, 3.0, seed), RATE, reference=speech) for seed in range(3)])
        for t60_s in (0.1, 0.4, 1.2)
    ]
    assert scores == sorted(scores, reverse=metric.higher_is_better)


def test_srr_in_a_room_is_its_direct_to_reverberant_ratio():
    # Stationary noise excites a room evenly, so energy ratios of signal and response agree (0.3 dB: one draw of noise).
    noise = np.random.default_rng(6).standard_normal(4 * RATE)
    for drr in (-6.0, 0.0, 12.0):
        heard = in_room(noise, 0.3, drr)
        assert rooms.srr(noise[RATE:], heard[RATE:], RATE) == pytest.approx(drr, abs=0.3)
