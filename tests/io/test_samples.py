from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmuffle.errors import NonFiniteError, ParameterError
from unmuffle.io.samples import INTEGER_BITS, SAMPLE_BYTES, count_clipped, decode, encode, quantise


@pytest.mark.parametrize("sample_format", ["PCM_U8", "PCM_S8", "PCM_16"])
def test_every_integer_survives_the_way_through_float32(sample_format: str) -> None:
    bits = INTEGER_BITS[sample_format]
    every = np.arange(-(2 ** (bits - 1)), 2 ** (bits - 1))
    x = (every / 2 ** (bits - 1)).astype(np.float32)[np.newaxis]
    np.testing.assert_array_equal(decode(encode(x, sample_format), sample_format, 1), x)
    np.testing.assert_array_equal(quantise(x, sample_format), x)


@given(st.lists(st.integers(-(2**23), 2**23 - 1), min_size=1))
def test_24_bit_integers_survive(values: list[int]) -> None:
    raw = b"".join(v.to_bytes(3, "little", signed=True) for v in values)
    assert encode(decode(raw, "PCM_24", 1), "PCM_24") == raw


def test_32_bit_integers_keep_their_upper_24_bits(rng: np.random.Generator) -> None:
    values = rng.integers(-(2**31), 2**31 - 256, 1000).astype("<i4")
    back = np.frombuffer(encode(decode(values.tobytes(), "PCM_32", 1), "PCM_32"), "<i4")
    # float32 rounds to 24 significant bits: at most half of the 256 steps below them.
    assert np.abs(back.astype(np.int64) - values).max() <= 128


@pytest.mark.parametrize("sample_format", sorted(INTEGER_BITS))
def test_beyond_full_scale_stops_and_never_wraps(sample_format: str) -> None:
    x = np.array([[1.0, 1.5, 100.0, -1.0, -1.5, -100.0]], dtype=np.float32)
    y = decode(encode(x, sample_format), sample_format, 1)
    top = 1 - 2.0 ** (1 - INTEGER_BITS[sample_format])
    np.testing.assert_allclose(y, [[top, top, top, -1, -1, -1]], atol=2**-24)
    assert count_clipped(x, sample_format) == 4  # +1.0 and -1.0 are full scale, not beyond


def test_rounding_is_to_nearest(rng: np.random.Generator) -> None:
    x = rng.uniform(-0.99, 0.99, (1, 10000)).astype(np.float32)
    assert np.abs(quantise(x, "PCM_16") - x).max() <= 0.5 / 32768


def test_residual_and_output_add_up_to_the_input_exactly(rng: np.random.Generator) -> None:
    x = quantise(rng.uniform(-0.7, 0.7, (2, 5000)).astype(np.float32), "PCM_16")
    y = quantise(x * np.float32(0.37), "PCM_16")
    stored = [decode(encode(part, "PCM_16"), "PCM_16", 2) for part in (x, y, x - y)]
    np.testing.assert_array_equal(stored[1] + stored[2], stored[0])


def test_float_keeps_nan_and_what_is_beyond_full_scale() -> None:
    x = np.array([[np.nan, np.inf, -3.5, 1e-40]], dtype=np.float32)
    np.testing.assert_array_equal(decode(encode(x, "FLOAT"), "FLOAT", 1), x)
    np.testing.assert_array_equal(decode(encode(x, "DOUBLE"), "DOUBLE", 1), x)
    assert count_clipped(x, "FLOAT") == 0


def test_nan_has_no_integer() -> None:
    with pytest.raises(NonFiniteError, match="FLOAT"):
        encode(np.array([[np.nan]], dtype=np.float32), "PCM_16")


@pytest.mark.parametrize("sample_format", sorted(SAMPLE_BYTES))
def test_channels_are_interleaved_and_a_partial_frame_is_dropped(sample_format: str) -> None:
    x = np.array([[0.5, -0.5], [0.25, 0.0]], dtype=np.float32)
    data = encode(x, sample_format)
    np.testing.assert_array_equal(decode(data, sample_format, 2), x)
    np.testing.assert_array_equal(decode(data[:-1], sample_format, 2), x[:, :1])


def test_unknown_format_is_named() -> None:
    with pytest.raises(ParameterError, match="PCM_12"):
        quantise(np.zeros((1, 1), dtype=np.float32), "PCM_12")


def test_the_callers_block_is_not_changed() -> None:
    x = np.array([[2.0, 0.1]], dtype=np.float32)
    kept = x.copy()
    quantise(x, "PCM_16"), encode(x, "PCM_16"), quantise(x, "FLOAT")
    np.testing.assert_array_equal(x, kept)
