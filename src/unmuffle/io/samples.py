r"""Numbers as files store them, and as we compute with them.

We compute with float32 in [-1, 1]. A file of b-bit integers stores :math:`q \in [-2^{b-1}, 2^{b-1}-1]`, and

.. math:: x = q / 2^{b-1}, \qquad q = \mathrm{clip}(\mathrm{round}(2^{b-1} x)).

Scale and round use the same power of two, so for b <= 24 (the width of a float32 significand)
``encode(decode(q)) == q`` for every q: a copy is bit-exact. Libraries that scale by 32767 one way and 32768 the
other are not. Limits: of 32-bit integers and of float64 the 24 most significant bits survive. Rounding is to
nearest, ties to even, without dither: a copy must stay a copy. Values beyond full scale stop there (they never
wrap around) and are counted by :func:`count_clipped`. +1.0 itself is not representable and becomes
:math:`1 - 2^{1-b}`; this one step is not counted as clipping.

To make ``residual + output == input`` hold exactly in a 16-bit file, put the output on the grid first::

    output = quantise(output, "PCM_16")
    residual = input - output        # input came from a 16-bit file: the difference is on the grid, and exact

(The difference of two full-scale signals can need one bit more than either; write such a residual as FLOAT.)
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from unmuffle.errors import NonFiniteError, ParameterError

Samples = npt.NDArray[np.float32]

#: Bits of each integer format.
INTEGER_BITS: Final[dict[str, int]] = {"PCM_U8": 8, "PCM_S8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}

#: Bytes a stored sample takes, for every format that :func:`encode` and :func:`decode` know.
SAMPLE_BYTES: Final[dict[str, int]] = {
    "PCM_U8": 1, "PCM_S8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8,
}  # fmt: skip


def _check_format(sample_format: str) -> None:
    if sample_format not in SAMPLE_BYTES:
        raise ParameterError(f"sample format {sample_format!r} is unknown: use one of {', '.join(SAMPLE_BYTES)}")


def to_integers(block: Samples, bits: int) -> npt.NDArray[np.int32]:
    """Round ``block`` to ``bits``-bit integers, right-aligned in int32; beyond full scale it stops."""
    if not np.isfinite(block).all():
        raise NonFiniteError("the block holds NaN or infinity, which an integer format cannot store: write FLOAT")
    scale = float(2 ** (bits - 1))
    # Up to 24 bits every step is exact in float32; 2^31 - 1 needs float64.
    work = block.astype(np.float64) if bits > 24 else block
    scaled: npt.NDArray[np.int32] = np.clip(np.rint(work * scale), -scale, scale - 1).astype(np.int32)
    return scaled


def quantise(block: Samples, sample_format: str) -> Samples:
    """The float32 values that come back when ``block`` is stored as ``sample_format`` and read again."""
    _check_format(sample_format)
    block = np.asarray(block, dtype=np.float32)
    bits = INTEGER_BITS.get(sample_format)
    if bits is None:
        return block.copy()
    return (to_integers(block, bits) / 2.0 ** (bits - 1)).astype(np.float32)


def count_clipped(block: Samples, sample_format: str) -> int:
    """How many samples lie beyond full scale of an integer format (0 for floating-point formats)."""
    return int(np.count_nonzero(np.abs(block) > 1.0)) if sample_format in INTEGER_BITS else 0


def encode(block: Samples, sample_format: str) -> bytes:
    """``(channels, n)`` float32 to interleaved little-endian bytes."""
    _check_format(sample_format)
    bits = INTEGER_BITS.get(sample_format)
    if bits is None:
        dtype = "<f4" if sample_format == "FLOAT" else "<f8"
        return np.ascontiguousarray(block.T, dtype=dtype).tobytes()
    integers = np.ascontiguousarray(to_integers(block, bits).T)
    if sample_format == "PCM_U8":
        return (integers + 128).astype(np.uint8).tobytes()
    if sample_format == "PCM_S8":
        return integers.astype(np.int8).tobytes()
    if bits == 24:
        return np.ascontiguousarray(integers.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3]).tobytes()
    return integers.astype(f"<i{bits // 8}").tobytes()


def decode(data: bytes, sample_format: str, channels: int) -> Samples:
    """Interleaved little-endian bytes to ``(channels, n)`` float32; a trailing partial frame is dropped."""
    _check_format(sample_format)
    width = SAMPLE_BYTES[sample_format]
    frames = len(data) // (width * channels)
    raw = np.frombuffer(data, dtype=np.uint8, count=frames * width * channels)
    flat: npt.NDArray[np.float32]
    if sample_format == "PCM_U8":
        flat = (raw.astype(np.float32) - 128.0) / np.float32(128.0)
    elif sample_format == "PCM_24":
        wide = np.zeros((frames * channels, 4), dtype=np.uint8)
        wide[:, 1:] = raw.reshape(-1, 3)  # into the upper bytes: the sign comes along
        flat = wide.view("<i4").ravel().astype(np.float32) / np.float32(2**31)
    elif sample_format in INTEGER_BITS:
        flat = raw.view(f"<i{width}").astype(np.float32) / np.float32(2 ** (8 * width - 1))
    else:
        # float64 beyond float32 becomes infinity, and NaN stays NaN: whoever computes with them has to look.
        with np.errstate(over="ignore", invalid="ignore"):
            flat = raw.view(f"<f{width}").astype(np.float32)
    return np.ascontiguousarray(flat.reshape(frames, channels).T)
