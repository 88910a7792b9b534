"""Lossy codecs: encode and decode in memory, delay taken out, same rate and length back.

What each does to speech at a low rate: MP3 and AAC smear onsets and drop highs ("birdies"); Opus
turns to narrow band and linear prediction below about 12 kbit/s; AMR-NB (mobile telephony, a CELP
codec) keeps 8 kHz sampling whatever goes in; G.722 adds quantisation noise; G.711 (``mulaw``,
``alaw``) is 8-bit telephony.

Codecs come with PyAV's build of FFmpeg; which of them there are differs between builds
(`available_codecs`), and an absent one is an error that says so, never silently another.

Alignment: encoder look-ahead, decoder delay and resampling together delay a signal by an amount that
depends on codec, bit rate and sample rate, and hardly on the signal. It is measured once on a speech-like probe
(cross-correlation, whole samples), then corrected by at most 0.25 ms on the signal itself, and removed.
Channels are coded one by one, as mono.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from ..errors import ParameterError
from ..signal.align import MIN_CONFIDENCE, find_delay
from ..signal.blocks import Samples, as_block
from ..signal.resample import convert
from .base import Damage, Record, Scene, check_choice, check_positive


@dataclass(frozen=True)
class CodecInfo:
    """How FFmpeg calls a codec, and what it takes."""

    encoder: str
    decoder: str
    rates_hz: tuple[int, ...]
    """Sample rates it codes, ascending."""
    bitrates_kbps: tuple[float, ...]
    """All that exist, or, for a continuous choice, the lowest and the highest."""
    continuous: bool = True


CODECS: dict[str, CodecInfo] = {
    "opus": CodecInfo("libopus", "libopus", (8000, 12000, 16000, 24000, 48000), (6.0, 256.0)),
    "mp3": CodecInfo(
        "libmp3lame", "mp3float", (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000), (8.0, 320.0)
    ),
    "aac": CodecInfo(
        "aac", "aac", (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000), (8.0, 320.0)
    ),
    "amr-nb": CodecInfo(
        "libopencore_amrnb", "amrnb", (8000,), (4.75, 5.15, 5.9, 6.7, 7.4, 7.95, 10.2, 12.2), False
    ),
    "g722": CodecInfo("g722", "g722", (16000,), (64.0,), False),
    "mulaw": CodecInfo("pcm_mulaw", "pcm_mulaw", (8000,), (64.0,), False),
    "alaw": CodecInfo("pcm_alaw", "pcm_alaw", (8000,), (64.0,), False),
}
"""Every codec by the name that specs use."""

_PROBE_S = 1.5
_TAIL_S = 0.5  # silence behind the signal, so that the delayed end comes out
_MAX_DELAY_S = 0.25
_MODE_SPREAD_S = 0.25e-3  # by how much the delay may differ from the probe's: two samples at 8 kHz


@dataclass(frozen=True)
class Codec(Damage):
    """One pass through a codec."""

    kind: ClassVar[str] = "codec"
    name: str = "opus"
    bitrate_kbps: float = 12.0
    """Taken to the nearest that the codec has (`nearest_bitrate_kbps`); the record says which."""

    def __post_init__(self) -> None:
        check_choice("codec", self.name, tuple(CODECS))
        check_positive("bitrate_kbps", self.bitrate_kbps)

    def _apply(self, scene: Scene, rng: np.random.Generator) -> tuple[Scene, Record]:
        kbps = nearest_bitrate_kbps(self.name, self.bitrate_kbps)
        rate = scene.sample_rate
        delay = codec_delay_samples(self.name, kbps, rate)
        n = scene.signal.shape[1]
        decoded, size = [], 0
        for x in scene.signal:
            coded, coded_bytes = _round_trip(x, self.name, kbps, rate)
            decoded.append(coded)
            size += coded_bytes
        out = _advanced(decoded, delay, n)
        # Codecs that choose their mode by what they hear (Opus, AMR) are a sample early or late then.
        rest, confidence = find_delay(scene.signal, out, round(_MODE_SPREAD_S * rate))
        if rest and confidence >= MIN_CONFIDENCE:
            delay += rest
            out = _advanced(decoded, delay, n)
        drawn: Record = {
            "bitrate_kbps": kbps,
            "reached_kbps": 8e-3 * size * rate / (n + _TAIL_S * rate) / scene.signal.shape[0],
            "coded_rate_hz": coding_rate_hz(self.name, kbps, rate),
            "delay_samples": delay,
        }
        return replace(scene, signal=as_block(out)), drawn


def available_codecs() -> list[str]:
    """Names of the codecs that this machine's PyAV can both encode and decode."""
    return [name for name in CODECS if _missing(name) is None]


def nearest_bitrate_kbps(name: str, bitrate_kbps: float) -> float:
    """The codec's own bit rate that is nearest: within its limits, or one of its few.

    So that one range can serve several codecs: ``codec:name=opus|amr-nb|mp3,bitrate=6..24``.
    """
    info = CODECS[name]
    if info.continuous:
        return float(np.clip(bitrate_kbps, min(info.bitrates_kbps), max(info.bitrates_kbps)))
    return min(info.bitrates_kbps, key=lambda b: abs(b - bitrate_kbps))


def coding_rate_hz(name: str, bitrate_kbps: float, sample_rate: int) -> int:
    """Rate at which a signal of ``sample_rate`` is coded: the next one up, or the highest there is."""
    rates = CODECS[name].rates_hz
    if name == "mp3" and bitrate_kbps < 32.0:
        rates = rates[: rates.index(32000)]  # from 32 kHz on (MPEG-1) 32 kbit/s is the least
    return next((r for r in rates if r >= sample_rate), rates[-1])


@lru_cache(maxsize=256)
def codec_delay_samples(name: str, bitrate_kbps: float, sample_rate: int) -> int:
    """Delay of coding and resampling together, in samples at ``sample_rate``.

    Opus takes out its own delay and can end up a sample or two early: negative.
    """
    probe = _probe(sample_rate)
    decoded, _ = _round_trip(probe, name, bitrate_kbps, sample_rate)
    delay, _ = find_delay(probe, decoded, round(_MAX_DELAY_S * sample_rate))
    return delay


def _missing(name: str) -> str | None:
    """Why a codec cannot be used here, or None if it can."""
    import av

    info = CODECS[name]
    for codec, mode in ((info.encoder, "w"), (info.decoder, "r")):
        try:
            av.Codec(codec, mode)  # type: ignore[arg-type]
        except av.codec.codec.UnknownCodecError:
            return f"{codec} ({'encoder' if mode == 'w' else 'decoder'})"
    return None


def _probe(sample_rate: int) -> NDArray[np.float32]:
    """Speech-like and without a period: irregular pulses and noise through three resonances."""
    rng = np.random.default_rng(1)
    n = round(_PROBE_S * sample_rate)
    pulses = np.zeros(n)
    at = np.cumsum(rng.uniform(0.004, 0.012, n // (sample_rate // 250)))  # 80..250 Hz, never regular
    pulses[np.minimum((at * sample_rate).astype(int), n - 1)] = 1.0
    x = pulses + 0.02 * rng.standard_normal(n)
    for hz, width in ((500.0, 80.0), (1400.0, 120.0), (2500.0, 160.0)):
        radius, angle = np.exp(-np.pi * width / sample_rate), 2.0 * np.pi * hz / sample_rate
        x = scipy.signal.lfilter([1.0, 0.0, -1.0], [1.0, -2.0 * radius * np.cos(angle), radius**2], x)
    x *= 0.6 + 0.4 * np.sin(2.0 * np.pi * 3.0 * np.arange(n) / sample_rate)
    return (0.3 * x / np.max(np.abs(x))).astype(np.float32)


def _advanced(channels: list[NDArray[np.float32]], delay: int, length: int) -> Samples:
    """The decoded channels ``delay`` samples earlier (later, if negative), ``length`` long."""
    out = np.zeros((len(channels), length), np.float32)
    for row, x in zip(out, channels, strict=True):
        part = np.concatenate([np.zeros(max(0, -delay), np.float32), x])[max(0, delay) :][:length]
        row[: part.size] = part
    return out


def _round_trip(
    x: NDArray[np.float32], name: str, bitrate_kbps: float, sample_rate: int
) -> tuple[NDArray[np.float32], int]:
    """Code one channel: the delayed result at the same rate, and the bytes it took."""
    rate = coding_rate_hz(name, bitrate_kbps, sample_rate)
    tail = np.zeros(round(_TAIL_S * sample_rate), np.float32)
    inside = convert(np.concatenate([x, tail]), sample_rate, rate)
    decoded, decoded_rate, size = _code(inside, name, bitrate_kbps, rate)
    return convert(decoded, decoded_rate, sample_rate), size


def _code(x: Samples, name: str, bitrate_kbps: float, rate: int) -> tuple[NDArray[np.float32], int, int]:
    """Through encoder and decoder, packet by packet: samples, their rate, bytes."""
    import av

    missing = _missing(name)
    if missing:
        others = ", ".join(available_codecs())
        raise ParameterError(f"this PyAV has no {missing}, which {name} needs; codecs here: {others}")
    info = CODECS[name]
    encoder: Any = av.CodecContext.create(info.encoder, "w")
    formats = [f.name for f in encoder.codec.audio_formats or []]
    wanted = next((f for f in ("fltp", "flt", "s16p", "s16") if f in formats), "s16")
    encoder.sample_rate = rate
    encoder.layout = "mono"
    encoder.format = wanted
    encoder.bit_rate = round(bitrate_kbps * 1000)
    encoder.open()
    decoder: Any = av.CodecContext.create(info.decoder, "r")
    decoder.sample_rate = rate
    decoder.layout = "mono"
    if encoder.extradata:
        decoder.extradata = encoder.extradata

    block = encoder.frame_size or rate // 50
    x = np.concatenate([x, np.zeros(-x.size % block, np.float32)])
    pieces: list[NDArray[np.float32]] = []
    decoded_rate, size = rate, 0

    def take(packets: list[Any]) -> None:
        nonlocal decoded_rate, size
        for packet in packets:
            size += packet.size
            for frame in decoder.decode(packet):
                decoded_rate = frame.sample_rate
                pieces.append(_to_float(frame))

    for start in range(0, x.size, block):
        frame = _to_frame(av, x[start : start + block], wanted, rate)
        frame.pts = start
        take(encoder.encode(frame))
    take(encoder.encode(None))
    pieces.extend(_to_float(frame) for frame in decoder.decode(None))
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32), decoded_rate, size


def _to_frame(av: Any, x: NDArray[np.float32], sample_format: str, rate: int) -> Any:
    data = x[np.newaxis]
    if sample_format.startswith("s16"):
        data = np.clip(np.rint(data * 32768.0), -32768, 32767).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(data), format=sample_format, layout="mono")
    frame.sample_rate = rate
    return frame


def _to_float(frame: Any) -> NDArray[np.float32]:
    """One mono frame in [-1, 1]."""
    data = np.ravel(frame.to_ndarray())
    if data.dtype.kind == "i":
        return (data / -float(np.iinfo(data.dtype).min)).astype(np.float32)
    return data.astype(np.float32)
