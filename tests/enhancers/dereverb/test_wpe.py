"""Streaming WPE: converges to batch, leaves what is not reverberation, survives odd microphones."""

import numpy as np
import pytest
from signals import bundled

from unmuffle.enhancers.base import run_offline
from unmuffle.enhancers.dereverb.high_band import HighBand
from unmuffle.enhancers.dereverb.prediction import wpe
from unmuffle.enhancers.dereverb.wpe import Recursion, Wpe
from unmuffle.enhancers.dereverb.wpe_batch import WpeBatch
from unmuffle.enhancers.masks import BesideMask, masker
from unmuffle.errors import ParameterError, ShapeError, UnknownMethodError
from unmuffle.signal.stft import StftSpec, StreamingStft

RATE = 16000


def reverberant(channels, t60_s=0.6, seconds=8.0, seed=0):
    """The bundled voice behind Polack's room, another tail for each microphone; and its direct sound."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(t60_s * RATE)) / RATE
    x = bundled("clean")[: int(seconds * RATE)].astype(np.float64)
    wet = []
    for _ in range(channels):
        h = rng.standard_normal(t.size) * 10 ** (-3 * t / t60_s) * (t > 0.01)
        h /= np.sqrt(np.sum(h**2))
        h[0] = 1.0
        n = 1 << (x.size + t.size).bit_length()
        wet.append(np.fft.irfft(np.fft.rfft(x, n) * np.fft.rfft(h, n), n)[: x.size])
    return x, (0.5 * np.stack(wet)).astype(np.float32)


def error_db(direct, out, start):
    """Error of the first channel against the direct sound, best gain, from ``start`` seconds on."""
    x, y = direct[int(start * RATE) :], out[0, int(start * RATE) :].astype(np.float64)
    scaled = np.dot(x, y) / np.dot(x, x) * x
    return 10 * np.log10(np.sum((y - scaled) ** 2) / np.sum(scaled**2))


def test_converges_to_batch_within_a_decibel_after_four_seconds():
    direct, wet = reverberant(2)
    untouched = error_db(direct, wet, 4.0)
    streamed = error_db(direct, run_offline(Wpe(), wet, RATE), 4.0)
    batch = error_db(direct, run_offline(WpeBatch(), wet, RATE), 4.0)
    assert batch < untouched - 3.0
    assert streamed < batch + 1.0


def test_more_microphones_remove_more():
    direct, wet = reverberant(2)
    one, two = (error_db(direct, run_offline(Wpe(), wet[:n], RATE), 4.0) for n in (1, 2))
    assert two < one - 2.0


@pytest.mark.parametrize("method", [Wpe, WpeBatch])
def test_odd_microphones(method):
    _, wet = reverberant(1, seconds=3.0)
    x = np.concatenate((wet, wet, 0 * wet, -wet, np.roll(wet, RATE, axis=1)))
    out = run_offline(method(), x, RATE)
    assert np.isfinite(out).all()
    assert not out[2].any()  # a dead microphone stays dead
    np.testing.assert_allclose(out[0], out[1], atol=1e-6)
    np.testing.assert_allclose(out[0], -out[3], atol=1e-6)
    assert np.sum(out**2) < np.sum(x**2)


def test_sixty_four_microphones_are_predicted_from_the_first():
    rng = np.random.default_rng(1)
    x = 0.1 * rng.standard_normal((64, 1600)).astype(np.float32)
    out = run_offline(Wpe(taps=2, inputs=4), x, RATE)
    assert out.shape == x.shape
    assert np.isfinite(out).all()
    few = run_offline(Wpe(taps=2, inputs=4), x[:4], RATE)
    # Equal but for the variance, which is the mean of all channels: small against the signal (0.1).
    assert np.std(out[0] - few[0]) < 0.02


def test_too_many_coefficients_are_refused():
    with pytest.raises(ParameterError, match="give taps = 12"):
        Wpe(taps=20, inputs=16).stream(RATE, 16)
    with pytest.raises(ParameterError, match="coefficients"):
        WpeBatch(taps=60, inputs=64).stream(RATE, 64)


@pytest.mark.parametrize("method", [Wpe, WpeBatch])
def test_the_band_above_eight_kilohertz_follows(method):
    rng = np.random.default_rng(2)
    t = np.arange(int(0.5 * 48000)) / 48000
    bursts = rng.standard_normal(96000) * (np.arange(96000) % 12000 < 2400)
    h = rng.standard_normal(t.size) * 10 ** (-3 * t / 0.5)
    n = 1 << 18
    wet = np.fft.irfft(np.fft.rfft(bursts, n) * np.fft.rfft(h, n), n)[:96000]
    wet = (0.1 * wet / np.std(wet)).astype(np.float32)
    out = run_offline(method(), np.stack((wet, np.roll(wet, 40))), 48000)[0]
    spectra = [np.abs(np.fft.rfft(v[48000:])) ** 2 for v in (wet, out)]
    hz = np.fft.rfftfreq(48000, 1 / 48000)
    drop = [
        10 * np.log10(spectra[0][band].sum() / spectra[1][band].sum())
        for band in ((hz > 4000) & (hz < 7500), (hz > 9000) & (hz < 20000))
    ]
    assert drop[0] > 0.2
    # The upper band has one gain for its neighbour's mean of 40 ms: alike, within 1 dB.
    assert drop[1] == pytest.approx(drop[0], abs=1.0)


def test_the_treated_band_has_the_same_bins_at_all_rates():
    for rate in (16000, 22050, 44100, 48000, 96000, 192000):
        frames = StftSpec(40.0, 10.0).at(rate)
        treated = HighBand(frames, 8000.0).treated
        assert abs(frames.frequencies[treated - 1] - 8000.0) <= 0.51 * frames.frequencies[1]
    assert HighBand(StftSpec(40.0, 10.0).at(8000), 8000.0).empty


def test_silence_in_between_changes_nothing_that_was_learnt():
    rng = np.random.default_rng(3)
    recursion = Recursion(4, 2, 2, 3, 2, forgetting=0.99, turn=5)
    state = recursion.begin()
    for _ in range(40):
        recursion.step(rng.standard_normal((4, 2)) + 0j, state)
    for _ in range(20):  # what the noise left in buffers and variance has its turn
        recursion.step(np.zeros((4, 2), complex), state)
    learnt = state["filters"].copy(), state["correlation"].copy()
    state["variance"][:] = 0.0
    state["mean"][:] = 0.0
    for _ in range(5):
        recursion.step(np.zeros((4, 2), complex), state)
    start = [a.copy() for a in (state["filters"], state["correlation"])]
    for _ in range(3000):
        recursion.step(np.zeros((4, 2), complex), state)
    np.testing.assert_array_equal(state["filters"], start[0])
    np.testing.assert_array_equal(state["correlation"], start[1])
    assert np.isfinite(learnt[0]).all()


def test_correlation_stays_hermitian_and_positive():
    rng = np.random.default_rng(4)
    recursion = Recursion(2, 2, 2, 4, 2, forgetting=0.9, turn=3)
    state = recursion.begin()
    for n in range(6000):  # 600 memories long, loud and soft by turns, one tone to make it singular
        level = 10.0 ** (-3 * (n // 1000 % 2))
        recursion.step(level * (np.exp(0.3j * n) + 1e-4 * rng.standard_normal((2, 2))), state)
    r = state["correlation"]
    np.testing.assert_array_equal(r, r.conj().transpose(0, 2, 1))
    eigenvalues = np.linalg.eigvalsh(r)
    assert (eigenvalues.min(axis=1) > -1e-12 * eigenvalues.max(axis=1)).all()
    assert np.isfinite(state["filters"]).all()


def test_batch_needs_no_more_than_it_says():
    import tracemalloc

    x = np.random.default_rng(5).standard_normal((2, 10 * RATE)).astype(np.float32)
    stream = WpeBatch(taps=2, iterations=1).stream(RATE, 2)
    tracemalloc.start()
    stream.process(x)
    stream.flush()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80 * x.size


def test_a_variance_that_is_known_replaces_the_iterations():
    # The dry voice's own power, by which the weights are those of the model: better than the guess of one round,
    # and as good as three (half a decibel: the room is one draw of noise).
    direct, wet = reverberant(2, seconds=6.0)
    spec = StftSpec(40.0, 10.0)
    stft = StreamingStft(spec, RATE, 2)
    heard = stft.forward(np.pad(wet, ((0, 0), (0, 2 * stft.frames.size))))
    dry = StreamingStft(spec, RATE, 1).forward(
        np.pad(direct[None].astype(np.float32), ((0, 0), (0, 2 * stft.frames.size)))
    )
    voice = 0.25 * np.abs(dry[0]) ** 2
    early = stft.frames.latency

    def score(out):
        back = StreamingStft(spec, RATE, 2).inverse(out)[:, early : early + wet.shape[1]]
        return error_db(direct, back, 1.0)

    known, once, thrice = (
        score(wpe(heard, 10, 3, n, 0, 1e-6, 1e-4, None, v)) for n, v in ((1, voice), (1, None), (3, None))
    )
    assert known < once - 0.3
    assert known < thrice + 0.5
    with pytest.raises(ShapeError, match="frames, bins"):
        wpe(heard, voice=voice[:-1])


@pytest.mark.parametrize("method", [WpeBatch(masks="live"), Wpe(masks="live"), Wpe(masks="log-mmse")])
def test_a_network_or_a_method_may_tell_the_variance(method):
    direct, wet = reverberant(2, seconds=6.0)
    out = run_offline(method, wet, RATE)
    assert out.shape == wet.shape
    assert error_db(direct, out, 3.0) < error_db(direct, wet, 3.0) - 2.5


def test_any_split_with_a_network_gives_the_same_samples():
    x = reverberant(2, seconds=1.0)[1]
    stream = Wpe(masks="live", taps=4).stream(RATE, 2)
    whole = np.concatenate((stream.process(x), stream.flush()), axis=1)
    parts = [stream.process(x[:, i : i + 333]) for i in range(0, x.shape[1], 333)]
    # Networks answer the same to 1e-5 however frames are cut into calls.
    np.testing.assert_allclose(np.concatenate((*parts, stream.flush()), axis=1), whole, atol=1e-4)


def test_masks_of_shorter_frames_come_where_the_sound_is():
    # A burst, in frames of 20 and of 40 ms that end together: the mask beside is the one that the method gives on its own
    # frames, one frame later, with every second bin between two of theirs.
    x = np.zeros((1, RATE), np.float32)
    x[0, 8000:9000] = 0.1 * np.random.default_rng(0).standard_normal(1000)
    beside = BesideMask("live", StftSpec(40.0, 10.0), RATE, 1)
    masks, _ = beside.step(x, beside.begin())
    own = masker("live", StftSpec(20.0, 10.0), RATE, 1)
    frames = StftSpec(20.0, 10.0).at(RATE)
    expected, _ = own.step(frames.forward(x, np.zeros((1, 160), np.float32))[0], own.begin())
    np.testing.assert_allclose(masks[1:, ::2], expected[:-1], atol=1e-6)
    np.testing.assert_allclose(masks[1:, 1::2], 0.5 * (expected[:-1, 1:] + expected[:-1, :-1]), atol=1e-6)


def test_a_network_on_other_frames_is_refused():
    with pytest.raises(ParameterError, match="hop_ms"):
        Wpe(masks="live", hop_ms=8.0).stream(RATE, 2)
    with pytest.raises(ParameterError, match="window_ms"):
        Wpe(masks="live", window_ms=10.0, hop_ms=10.0).stream(RATE, 2)
    with pytest.raises(UnknownMethodError):
        Wpe(masks="life").stream(RATE, 2)
