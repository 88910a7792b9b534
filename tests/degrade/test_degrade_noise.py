"""Noise: the SNR measured again, loops without seams, spectra of the colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from degrade_signals import RATE, speech_like

from unmuffle.degrade import Babble, Noise, Pipeline, SimulatedRoom, active_snr_db, mix_at_snr
from unmuffle.degrade.noise import COLORS, colored_noise
from unmuffle.degrade.sources import class_of, fit, speaker_of
from unmuffle.errors import InputError, MediaNotFoundError, NotAudioError, ParameterError
from unmuffle.io import write
from unmuffle.signal.levels import active_mask, active_speech_level, rms_dbfs
from unmuffle.signal.spectrum import long_term_spectrum


def snr_by_hand(clean: np.ndarray, noisy: np.ndarray) -> float:
    """The definition, without the code under test: energies over the active samples."""
    active = active_mask(clean, RATE)
    speech = np.sum(clean[..., active].astype(float) ** 2)
    return 10 * np.log10(speech / np.sum((noisy[..., active].astype(float) - clean[..., active]) ** 2))


@pytest.mark.parametrize("snr_db", [-15.0, 0.0, 7.3, 40.0])
@pytest.mark.parametrize("files", [("rain__a.wav",), ("engine__b.flac", "street__c.wav"), ()])
def test_snr_is_exact(snr_db: float, files: tuple[str, ...], folders: Path, rng: np.random.Generator) -> None:
    clean = speech_like()
    noise = Noise(snr_db=snr_db, files=tuple(str(folders / "noise" / f) for f in files))
    damaged = noise.apply(clean, RATE, rng)
    assert snr_by_hand(clean, damaged.noisy) == pytest.approx(snr_db, abs=0.01)
    assert damaged.record["drawn"]["snr_db"] == pytest.approx(snr_db, abs=0.01)
    np.testing.assert_array_equal(damaged.target, clean)
    assert damaged.noisy.dtype == np.float32


def test_three_noises_and_stereo(folders: Path, rng: np.random.Generator) -> None:
    clean = np.stack([speech_like(), 0.5 * speech_like(seed=3)])
    files = tuple(str(p) for p in sorted((folders / "noise").iterdir()))
    damaged = Noise(snr_db=3.0, files=files).apply(clean, RATE, rng)
    assert snr_by_hand(clean, damaged.noisy) == pytest.approx(3.0, abs=0.01)
    assert [s["class"] for s in damaged.record["drawn"]["sources"]] == ["engine", "rain", "street"]
    assert [s["looped"] for s in damaged.record["drawn"]["sources"]] == [True, False, True]


def test_stationary_noise_matches_the_usual_reading(rng: np.random.Generator) -> None:
    # For stationary noise the definition is "active speech level minus noise level"; the ladder's
    # interpolation and the noise's scatter leave some tenths of a decibel.
    clean = speech_like(8.0)
    noisy = Noise(snr_db=10.0, color="white").apply(clean, RATE, rng).noisy
    difference = active_speech_level(clean, RATE).level_dbfs - rms_dbfs(noisy - clean)
    assert difference == pytest.approx(10.0, abs=0.4)


def test_noise_in_a_room_is_measured_against_the_reverberant_speech(rng: np.random.Generator) -> None:
    clean = speech_like()
    room = SimulatedRoom(t60_s=0.3)
    seed_of_the_room = Pipeline((room, Noise(snr_db=6.0))).apply(clean, RATE, rng).record
    step = seed_of_the_room["drawn"]["steps"][0]
    reverberant = room.apply_seeded(clean, RATE, step["seed"]).noisy
    noisy = Pipeline((room, Noise(snr_db=6.0))).apply_seeded(clean, RATE, seed_of_the_room["seed"]).noisy
    assert snr_by_hand(reverberant, noisy) == pytest.approx(6.0, abs=0.01)


def test_a_second_noise_does_not_measure_the_first(rng: np.random.Generator) -> None:
    clean = speech_like()
    damaged = Pipeline((Noise(snr_db=-10.0), Noise(snr_db=-10.0))).apply(clean, RATE, rng)
    # Two independent noises of equal power: 3 dB less than either. Their cross term is small.
    assert snr_by_hand(clean, damaged.noisy) == pytest.approx(-13.0, abs=0.3)


def test_level_instead_of_snr(rng: np.random.Generator) -> None:
    clean = speech_like()
    noisy = Noise(snr_db=None, level_dbfs=-30.0, color="white").apply(clean, RATE, rng).noisy
    assert rms_dbfs(noisy - clean) == pytest.approx(-30.0, abs=0.01)


def test_babble_is_exact_and_balanced(folders: Path, rng: np.random.Generator) -> None:
    clean = speech_like(seed=9)
    files = tuple(str(p) for p in sorted((folders / "clean").iterdir()))
    damaged = Babble(files=files, snr_db=2.0).apply(clean, RATE, rng)
    assert snr_by_hand(clean, damaged.noisy) == pytest.approx(2.0, abs=0.01)
    assert len({s["file"] for s in damaged.record["drawn"]["sources"]}) == 3


def test_mix_in_memory(rng: np.random.Generator) -> None:
    clean = speech_like()
    noisy, noise = mix_at_snr(clean, rng.standard_normal(clean.size), RATE, 4.0)
    assert snr_by_hand(clean, noisy) == pytest.approx(4.0, abs=0.01)
    assert active_snr_db(clean, noise, RATE) == pytest.approx(4.0, abs=0.01)
    with pytest.raises(InputError, match="shape"):
        mix_at_snr(clean, noise[1:], RATE, 4.0)


def test_a_loop_has_no_seam_and_keeps_its_level(rng: np.random.Generator) -> None:
    # A slow sine that does not fit its loop would jump by up to 2; a crossfade moves as the sine does,
    # at most sqrt(2) times higher where both ends are in phase.
    x = np.sin(2 * np.pi * 37.3 * np.arange(RATE) / RATE)[np.newaxis].astype(np.float32)
    out, place = fit(x, 5 * RATE, RATE, rng)
    assert place["looped"]
    slope = 2 * np.pi * 37.3 / RATE
    fade_slope = 0.5 * np.pi / (0.05 * RATE)
    assert np.max(np.abs(np.diff(out[0]))) < np.sqrt(2) * slope + 2 * fade_slope
    noise = rng.standard_normal((1, RATE)).astype(np.float32)
    looped, _ = fit(noise, 10 * RATE, RATE, rng)
    assert rms_dbfs(looped) == pytest.approx(rms_dbfs(noise), abs=0.2)


def test_a_long_recording_is_cut_where_the_record_says(rng: np.random.Generator) -> None:
    x = np.arange(1000, dtype=np.float32)[np.newaxis]
    out, place = fit(x, 100, RATE, rng)
    assert out[0, 0] == round(place["offset_s"] * RATE)
    np.testing.assert_array_equal(np.diff(out[0]), 1.0)


@pytest.mark.parametrize("length", [1, 2, 9])
def test_scraps_can_be_looped(length: int, rng: np.random.Generator) -> None:
    out, _ = fit(np.ones((2, length), np.float32), 50, RATE, rng)
    assert out.shape == (2, 50)


@pytest.mark.parametrize(
    ("color", "slope_db_per_octave"), [("white", 0.0), ("pink", -3.01), ("brown", -6.02)]
)
def test_colours(color: str, slope_db_per_octave: float, rng: np.random.Generator) -> None:
    x = colored_noise(color, (1, 20 * RATE), RATE, rng)
    assert rms_dbfs(x) == pytest.approx(0.0, abs=0.01)
    f, level = long_term_spectrum(x[0], RATE)
    band = (f > 100) & (f < 7000)
    slope = np.polyfit(np.log2(f[band]), level[band], 1)[0]
    assert slope == pytest.approx(slope_db_per_octave, abs=0.1)


def test_speech_shaped_noise_has_the_speech_spectrum(rng: np.random.Generator) -> None:
    clean = speech_like(6.0)
    x = colored_noise("speech", (1, clean.size), RATE, rng, clean)[0]
    f, wanted = long_term_spectrum(clean, RATE, 32)
    _, found = long_term_spectrum(x, RATE, 32)
    band = (f > 200) & (f < 6000)
    difference = (found - wanted)[band]
    assert np.std(difference) < 1.5  # decibels; scatter of two averages over six seconds


def test_names() -> None:
    assert class_of("a/b/rain__forest 1.opus") == "rain"
    assert class_of("x/cafe noise(2).wav") == "cafe-noise-2"
    assert class_of("__.wav") == "noise"
    assert (speaker_of("p001_02.wav"), speaker_of("84-121123-0001.flac")) == ("p001", "84")


def test_silence_is_refused(folders: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    clean = speech_like(1.0)
    write(tmp_path / "nothing.wav", np.zeros(RATE, np.float32), RATE, "PCM_16")
    with pytest.raises(InputError, match="silent"):
        Noise(files=(str(tmp_path / "nothing.wav"),)).apply(clean, RATE, rng)
    with pytest.raises(InputError, match="silent"):
        Noise().apply(np.zeros(RATE, np.float32), RATE, rng)
    with pytest.raises(InputError, match="empty"):
        Noise().apply(np.zeros(0, np.float32), RATE, rng)


def test_noise_that_pauses_during_speech(rng: np.random.Generator) -> None:
    clean = np.concatenate([speech_like(1.0), np.zeros(2 * RATE, np.float32)])
    late = np.zeros(clean.size)
    late[-RATE:] = rng.standard_normal(RATE)
    with pytest.raises(InputError, match="while the speech is active"):
        mix_at_snr(clean, late, RATE, 0.0)


def test_bad_parameters(folders: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    for bad in (
        {"color": "blue"},
        {"snr_db": None},
        {"snr_db": 1.0, "level_dbfs": -20.0},
        {"snr_db": float("nan")},
        {"files": ("a", "b", "c", "d")},
    ):
        with pytest.raises(ParameterError):
            Noise(**bad)
    with pytest.raises(ParameterError):
        Babble(files=())
    with pytest.raises(MediaNotFoundError):
        Noise(files=("no/such.wav",)).apply(speech_like(1.0), RATE, rng)
    (tmp_path / "text.wav").write_text("not audio")
    with pytest.raises(NotAudioError):
        Noise(files=(str(tmp_path / "text.wav"),)).apply(speech_like(1.0), RATE, rng)


def test_every_colour_is_listed() -> None:
    assert COLORS == ("white", "pink", "brown", "speech")
