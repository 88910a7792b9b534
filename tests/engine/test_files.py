"""Files through an enhancer: what is kept, what adds up, what is never lost."""

import os

import numpy as np
import pytest
import soundfile

import unmuffle
from unmuffle.engine.files import measure_profile
from unmuffle.engine.options import Options
from unmuffle.enhancers.base import run_offline
from unmuffle.errors import (
    MediaNotFoundError,
    NonFiniteError,
    OutputError,
    ParameterError,
    SampleRateError,
    TruncatedError,
)


@pytest.fixture
def noisy(tmp_path):
    """Two seconds of stereo: bursts of a tone in noise, 16 bit."""
    rng = np.random.default_rng(0)
    t = np.arange(88200) / 44100
    tone = 0.2 * np.sin(2 * np.pi * 500 * t) * (np.sin(2 * np.pi * 2 * t) > 0)
    path = tmp_path / "noisy file ü.wav"
    soundfile.write(path, (tone + 0.02 * rng.standard_normal((2, 88200))).T, 44100, "PCM_16")
    return path


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("extension", ["wav", "flac"])
def test_output_and_residual_add_up_to_the_input(noisy, tmp_path, subtype, extension):
    if (extension, subtype) == ("flac", "FLOAT"):
        pytest.skip("flac holds integers only")
    x, rate = soundfile.read(noisy, dtype="float32")
    source = tmp_path / f"source.{extension}"
    soundfile.write(source, x, rate, subtype)
    out, rest = tmp_path / f"out.{extension}", tmp_path / f"rest.{extension}"
    report = unmuffle.enhance_file(source, out, "log-mmse", residual=rest)
    assert soundfile.info(out).subtype == subtype
    original, clean, removed = (soundfile.read(p, dtype="float64")[0] for p in (source, out, rest))
    # Integers are exact; of float32 samples the sum may be rounded in the last place.
    np.testing.assert_allclose(clean + removed, original, rtol=0, atol=0 if subtype != "FLOAT" else 6e-8)
    assert np.std(removed) > 0.005
    assert report.seconds == pytest.approx(2.0)
    assert not report.clipped


def test_a_file_gives_what_the_array_gives(noisy, tmp_path):
    x, rate = soundfile.read(noisy, dtype="float32")
    source, out = tmp_path / "f.wav", tmp_path / "o.wav"
    soundfile.write(source, x, rate, "FLOAT")
    unmuffle.enhance_file(source, out, "omlsa", strength_db=12)
    expected = unmuffle.enhance(x.T, rate, "omlsa", strength_db=12)
    np.testing.assert_array_equal(soundfile.read(out, dtype="float32")[0].T, expected)


def test_the_loudness_is_the_one_asked_for(noisy, tmp_path):
    from unmuffle.signal.loudness import LoudnessMeter

    out = tmp_path / "loud.wav"
    seen = []
    unmuffle.enhance_file(noisy, out, "log-mmse", loudness_lufs=-20, progress=lambda a, b: seen.append((a, b)))
    x, rate = soundfile.read(out, dtype="float32")
    meter = LoudnessMeter(rate, 2)
    meter.push(x.T)
    assert meter.integrated() == pytest.approx(-20, abs=0.3)
    assert meter.true_peak_db() <= -0.9
    assert [a for a, _ in seen] == sorted(a for a, _ in seen)
    assert seen[-1] == (2.0, 2.0)
    array = unmuffle.enhance(soundfile.read(noisy, dtype="float32")[0].T, rate, "log-mmse", loudness_lufs=-20)
    meter.reset()
    meter.push(array)
    assert meter.integrated() == pytest.approx(-20, abs=0.3)


def test_a_profile_may_be_a_span_a_file_or_measured(noisy, tmp_path):
    rng = np.random.default_rng(1)
    hiss = tmp_path / "hiss.wav"
    soundfile.write(hiss, 0.02 * rng.standard_normal((44100, 2)), 44100, "PCM_16")
    results = []
    for i, profile in enumerate([hiss, str(hiss), measure_profile(hiss), (0.26, 0.49)]):
        out = tmp_path / f"{i}.wav"
        unmuffle.enhance_file(noisy, out, "wiener", profile=profile)
        results.append(soundfile.read(out)[0])
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    # Another stretch of the same noise: nearly the same result.
    assert np.std(results[3] - results[0]) < 0.5 * np.std(results[0])


@pytest.mark.parametrize("span", [(3.0, 4.0), (1.0, 1.001), (1.0, 0.5), (-1.0, 1.0), (0.0, float("nan"))])
def test_profile_spans_that_cannot_be(noisy, tmp_path, span):
    with pytest.raises(ParameterError, match="span"):
        unmuffle.enhance_file(noisy, tmp_path / "o.wav", "wiener", profile=span)
    assert not (tmp_path / "o.wav").exists()


def test_the_input_is_never_overwritten_unless_told_to(noisy, tmp_path):
    before = noisy.read_bytes()
    link = tmp_path / "link.wav"
    link.symlink_to(noisy)
    for target in (noisy, link, tmp_path / "." / noisy.name):
        with pytest.raises(OutputError, match="in-place"):
            unmuffle.enhance_file(noisy, target, "log-mmse")
    with pytest.raises(OutputError, match="in-place"):
        unmuffle.enhance_file(noisy, tmp_path / "o.wav", "log-mmse", residual=noisy, in_place=True)
    assert noisy.read_bytes() == before
    unmuffle.enhance_file(noisy, noisy, "log-mmse", in_place=True)
    assert noisy.read_bytes() != before
    assert soundfile.info(noisy).frames == 88200


@pytest.mark.parametrize(
    ("kwargs", "error", "words"),
    [
        ({"method": "no-such"}, ParameterError, "no-such"),
        ({"method": "wiener", "no_such": 1}, ParameterError, "no_such"),
        ({"strength_db": -1}, ParameterError, "strength"),
        ({"stereo": "mono"}, ParameterError, "linked"),
        ({"repair": ["magic"]}, ParameterError, "declip"),
        ({"loudness_lufs": 5.0}, ParameterError, "LUFS"),
        ({"loudness_lufs": -16.0, "residual": "r.wav"}, ParameterError, "second run"),
        ({"method": "declick", "profile": (0.0, 0.5)}, ParameterError, "noise profile"),
    ],
)
def test_bad_options_leave_no_file(noisy, tmp_path, kwargs, error, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=words):
        unmuffle.enhance_file(noisy, "out.wav", **kwargs)
    assert [p.name for p in tmp_path.iterdir()] == [noisy.name]


def test_nan_in_a_file_is_named_with_the_file_and_the_place(tmp_path):
    x = np.zeros((60000, 2), np.float32)
    x[50001, 1] = np.nan
    path = tmp_path / "broken.wav"
    soundfile.write(path, x, 48000, "FLOAT")
    (tmp_path / "out.wav").write_bytes(b"precious")
    with pytest.raises(NonFiniteError, match=r"broken\.wav.*sample"):
        unmuffle.enhance_file(path, tmp_path / "out.wav", "log-mmse")
    assert (tmp_path / "out.wav").read_bytes() == b"precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken.wav", "out.wav"]


def test_rates_beyond_the_range_are_named(tmp_path):
    path = tmp_path / "slow.wav"
    soundfile.write(path, np.zeros(4000), 4000)
    with pytest.raises(SampleRateError, match=r"slow\.wav.*4000"):
        unmuffle.enhance_file(path, tmp_path / "o.wav", "log-mmse")


def test_truncated_files_are_used_only_when_told_to(noisy, tmp_path):
    data = noisy.read_bytes()
    short = tmp_path / "short.wav"
    short.write_bytes(data[: len(data) // 2])
    with pytest.raises(TruncatedError):
        unmuffle.enhance_file(short, tmp_path / "o.wav", "log-mmse")
    report = unmuffle.enhance_file(short, tmp_path / "o.wav", "log-mmse", allow_truncated=True)
    assert 0.9 < report.seconds < 1.1


def test_companded_telephone_files_work(tmp_path):
    path, out, rest = tmp_path / "u.wav", tmp_path / "o.wav", tmp_path / "r.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(3).standard_normal(8000), 8000, "ULAW")
    unmuffle.enhance_file(path, out, "log-mmse", residual=rest)
    assert soundfile.info(out).subtype == "ULAW"
    x, y, r = (soundfile.read(p)[0] for p in (path, out, rest))
    # Mu-law steps are up to 1/32 of the value: the sum is as near as that allows.
    assert np.std(y + r - x) < 0.05 * np.std(x)


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
@pytest.mark.parametrize("frames", [0, 1, 441, 5000])
@pytest.mark.parametrize("subtype", ["PCM_16", "DOUBLE"])
def test_any_size_and_count(tmp_path, channels, frames, subtype):
    rng = np.random.default_rng(2)
    path, out = tmp_path / "i.wav", tmp_path / "o.wav"
    soundfile.write(path, 0.1 * rng.standard_normal((frames, channels)), 96000, subtype)
    unmuffle.enhance_file(path, out, "log-mmse")
    info = soundfile.info(out)
    assert (info.frames, info.channels, info.samplerate, info.subtype) == (frames, channels, 96000, subtype)


@pytest.mark.parametrize("stereo", ["linked", "independent", "mid-side"])
def test_stereo_modes(noisy, stereo):
    x, rate = soundfile.read(noisy, dtype="float32")
    out = unmuffle.enhance(x.T, rate, "log-mmse", stereo=stereo)
    if stereo == "independent":
        alone = run_offline(unmuffle.load("log-mmse"), x[:, 1], rate)
        np.testing.assert_array_equal(out[1], alone)
    if stereo == "linked":
        # The same in both channels stays the same in both: the image does not move.
        same = unmuffle.enhance(np.stack([x[:, 0], x[:, 0]]), rate, "log-mmse")
        np.testing.assert_array_equal(same[0], same[1])
    assert out.shape == x.T.shape


def test_repairs_run_in_their_order():
    made = Options("log-mmse", repair=("low-cut", "declip")).enhancer(1)
    assert [s.name for s in made.stages] == ["declip", "low-cut", "log-mmse"]


def test_a_missing_source_is_named(tmp_path):
    with pytest.raises(MediaNotFoundError, match="nowhere"):
        unmuffle.enhance_file(tmp_path / "nowhere.wav", tmp_path / "o.wav")


def test_an_interruption_leaves_the_old_file(noisy, tmp_path):
    out, rest = tmp_path / "out.wav", tmp_path / "rest.wav"
    out.write_bytes(b"precious")

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unmuffle.enhance_file(noisy, out, "log-mmse", residual=rest, progress=stop)
    assert out.read_bytes() == b"precious"
    assert sorted(os.listdir(tmp_path)) == sorted([noisy.name, "out.wav"])
