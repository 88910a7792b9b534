"""The chain for rooms under one name: the same as its stages, with their parameters, for any number of microphones."""

import numpy as np
import pytest
from signals import bundled, si_sdr

from unmuffle.enhancers.base import run_offline
from unmuffle.enhancers.compose import Chain
from unmuffle.enhancers.meeting import BEAMFORMERS, Meeting
from unmuffle.enhancers.registry import entry, load
from unmuffle.errors import ParameterError

RATE = 16000


def heard(seconds=6.0):
    """The bundled voice at four microphones, each with reverberation and noise of its own, and its direct sound."""
    rng = np.random.default_rng(0)
    x = bundled("clean")[: int(seconds * RATE)].astype(np.float64)
    t = np.arange(int(0.5 * RATE)) / RATE
    wet = []
    for _ in range(4):
        h = rng.standard_normal(t.size) * 10 ** (-6 * t) * (t > 0.01)  # T60 of 0.5 s
        h = np.concatenate(([1.0], h / np.sqrt(np.sum(h**2))))
        n = 1 << (x.size + h.size).bit_length()
        wet.append(np.fft.irfft(np.fft.rfft(x, n) * np.fft.rfft(h, n), n)[: x.size])
    noise = rng.standard_normal((4, x.size)) * np.std(x)
    return x.astype(np.float32), (0.5 * (np.stack(wet) + noise)).astype(np.float32)


def test_it_is_its_chain():
    x = heard(1.5)[1]
    dry = load("wpe", taps=6, early_loading=0.2, restraint=0.02)
    chain = Chain((dry, load("mvdr", reference=1, loading=1e-2), load("omlsa")))
    meeting = Meeting(beamformer="mvdr", post="omlsa", taps=6, reference=1)
    np.testing.assert_array_equal(run_offline(meeting, x, RATE), run_offline(chain, x, RATE))
    assert meeting.key() == chain.key()
    stream = meeting.stream(RATE, 4)
    assert stream.latency_samples == chain.stream(RATE, 4).latency_samples
    assert stream.channels_out == 1


def test_every_stage_is_worth_something():
    direct, wet = heard()
    late = slice(3 * RATE, None)

    def score(out):
        return si_sdr(direct[late], out[0, late])

    beam = score(run_offline(load("neural-beamformer"), wet, RATE))
    dry_beam = score(run_offline(Meeting(post="none"), wet, RATE))
    whole = score(run_offline(Meeting(), wet, RATE))
    assert score(wet) + 1.0 < beam < dry_beam < whole


def test_one_microphone_is_dereverberated_and_filtered():
    x = heard(2.0)[1][:1]
    chain = Chain((load("wpe", early_loading=0.2, restraint=0.02), load("classic")))
    early = load("neural-beamformer").stream(RATE, 1).latency_samples
    assert Meeting().stream(RATE, 1).latency_samples == chain.stream(RATE, 1).latency_samples + early
    np.testing.assert_allclose(run_offline(Meeting(), x, RATE), run_offline(chain, x, RATE), atol=1e-5)


def test_names_and_parameters():
    assert all(entry(name).family == "spatial" for name in BEAMFORMERS)
    assert load("meeting", beamformer="gev").to_dict()["beamformer"] == "gev"
    with pytest.raises(ParameterError, match="beamformer"):
        load("meeting", beamformer="mask-mvdr")
    with pytest.raises(ParameterError, match="reference = 9"):
        load("meeting", reference=9).stream(RATE, 4)
