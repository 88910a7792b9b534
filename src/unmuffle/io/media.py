"""Whole files in one call, for those who have the memory."""

from __future__ import annotations

import os

import numpy as np
import soxr

from unmuffle.errors import OutputError, ParameterError, ShapeError
from unmuffle.io.atomic import is_special
from unmuffle.io.formats import LOSSLESS, container_for
from unmuffle.io.info import MediaInfo
from unmuffle.io.reader import open_reader
from unmuffle.io.samples import Samples
from unmuffle.io.writer import open_writer


def read(path: str | os.PathLike[str], *, sample_rate: int | None = None) -> tuple[Samples, int]:
    """All samples of a media file as float32 ``(channels, samples)``, and their rate.

    ``sample_rate`` resamples them (soxr, very high quality); None keeps the file's.
    """
    with open_reader(path) as reader:
        blocks = list(reader.blocks())
        info = reader.info
    samples = np.concatenate(blocks, axis=1) if blocks else np.zeros((info.channels, 0), dtype=np.float32)
    if sample_rate is None or sample_rate == info.sample_rate:
        return samples, info.sample_rate
    if sample_rate < 1:
        raise ParameterError(f"a sample rate of {sample_rate} Hz has no meaning: give a positive one")
    resampled = soxr.resample(samples.T, info.sample_rate, sample_rate, quality="VHQ")
    return np.ascontiguousarray(resampled.reshape(-1, info.channels).T), sample_rate


def write(
    path: str | os.PathLike[str],
    samples: Samples,
    sample_rate: int,
    subtype: str | None = None,
    *,
    bit_rate: int | None = None,
) -> None:
    """Write ``(channels, samples)`` or ``(samples,)`` as the extension says, atomically.

    ``subtype`` is a sample format (``PCM_16``, ``PCM_24``, ``FLOAT`` ...); None means FLOAT where the format has it
    (nothing is lost), PCM_24 in flac.
    """
    data = np.asarray(samples)
    if data.ndim not in (1, 2):
        raise ShapeError(f"samples of shape {data.shape} cannot be written: use (channels, samples) or (samples,)")
    if sample_rate < 1:
        raise OutputError(f"{os.fspath(path)!r} cannot have a sample rate of {sample_rate} Hz: give a positive one")
    stream = os.fspath(path) == "-" or is_special(path)
    default = "FLOAT" if stream or container_for(os.fspath(path)).codecs[0] not in LOSSLESS else "PCM_24"
    like = MediaInfo(
        path="-", container="memory", codec="pcm", sample_rate=int(sample_rate),
        channels=1 if data.ndim == 1 else data.shape[0], sample_format=subtype or default,
    )  # fmt: skip
    with open_writer(path, like, length=data.shape[-1], sample_format=subtype, bit_rate=bit_rate) as writer:
        writer.write(data)
