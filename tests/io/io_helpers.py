"""Signals and files that the io tests share; everything is synthesised."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from unmuffle.io import MediaInfo, MediaWriter, open_reader, open_writer

RATE = 48000


def copy(source: str | Path, target: str | Path, **options: object) -> MediaWriter:
    """Identity: what is read is written; odd block lengths on purpose."""
    with open_reader(source) as reader, open_writer(target, reader.info, **options) as writer:  # type: ignore[arg-type]
        for block in reader.blocks(1013):
            writer.write(block)
    return writer


def noise(channels: int = 2, samples: int = 24_777, seed: int = 3) -> np.ndarray:
    """Low-passed noise: no periodicity, so that a correlation has one peak, and easy for every codec."""
    white = np.random.default_rng(seed).standard_normal((channels, samples + 16))
    smooth = np.apply_along_axis(np.convolve, 1, white, np.ones(16) / 16, "valid")[:, :samples]
    return (0.5 * smooth).astype(np.float32)


def memory_info(channels: int, rate: int = RATE, sample_format: str = "FLOAT") -> MediaInfo:
    return MediaInfo("-", "memory", "pcm", rate, channels, sample_format)


def lag(reference: np.ndarray, other: np.ndarray) -> int:
    """By how many samples ``other`` is late against ``reference`` (first channels)."""
    a, b = reference[0, :20000].astype(float), other[0, :20000].astype(float)
    size = 1 << 16
    correlation = np.fft.irfft(np.conj(np.fft.rfft(a, size)) * np.fft.rfft(b, size))
    best = int(np.argmax(correlation))
    return best - size if best > size // 2 else best


CLICK_S = 0.8


def click(seconds: float = 1.3, rate: int = RATE) -> np.ndarray:
    """A burst of 1 ms of 2 kHz at :data:`CLICK_S` in faint noise."""
    x = 0.003 * np.random.default_rng(0).standard_normal((1, int(seconds * rate)))
    at = int(CLICK_S * rate)
    n = rate // 1000
    x[0, at : at + n] += 0.9 * np.sin(2 * np.pi * 2000 / rate * np.arange(n))
    return x.astype(np.float32)


def make_video(
    path: Path, *, audio_codec: str = "aac", video_codec: str = "libx264", sound: np.ndarray | None = None,
    rate: int = RATE, audio_start_s: float = 0.0, video_start_s: float = 0.0, tracks: int = 1, kind: str = "fltp",
    chapters: list[dict[str, object]] | None = None,
) -> None:  # fmt: skip
    """A 64x48 video of 25 pictures per second whose brightness counts, with sound beside it."""
    sound = click() if sound is None else sound
    with av.open(str(path), "w") as out:
        out.metadata["title"] = "Köln 東京"
        picture = out.add_stream(video_codec, rate=25)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        picture.codec_context.time_base = Fraction(1, 25)
        picture.codec_context.thread_count = 1
        if video_codec == "libx264":
            picture.codec_context.options = {"preset": "veryfast"}  # has B-pictures, which ultrafast has not
        elif video_codec == "libvpx-vp9":
            picture.codec_context.options = {"cpu-used": "8", "deadline": "realtime"}
        audios = []
        for _ in range(tracks):
            stream = out.add_stream(audio_codec, rate=rate)
            stream.codec_context.layout = "mono" if sound.shape[0] == 1 else "stereo"
            stream.codec_context.format = kind
            stream.codec_context.time_base = Fraction(1, rate)
            audios.append(stream)
        if chapters:
            out.set_chapters(chapters)
        out.start_encoding()
        for index in range(int(sound.shape[1] / rate * 25)):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), index * 4 % 256, dtype=np.uint8), format="rgb24")
            frame.pts, frame.time_base = index + round(video_start_s * 25), Fraction(1, 25)
            out.mux(picture.encode(frame))
        out.mux(picture.encode(None))
        for stream in audios:
            step = stream.codec_context.frame_size or 1024
            for at in range(0, sound.shape[1], step):
                data = sound[:, at : at + step]
                if kind == "s16":
                    data = np.rint(data * 32767).astype(np.int16)
                data = data if kind.endswith("p") else data.T.reshape(1, -1)
                frame = av.AudioFrame.from_ndarray(
                    np.ascontiguousarray(data), format=kind, layout=stream.codec_context.layout.name
                )
                frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
                frame.pts = at + round(audio_start_s * rate)
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))


def picture_packets(path: Path) -> list[tuple[float, bytes]]:
    """Every packet of the moving picture: its time relative to the first, and its bytes."""
    with av.open(str(path)) as container:
        packets = [(float(p.pts * p.time_base), bytes(p)) for p in container.demux(video=0) if p.size]
    first = min(time for time, _ in packets)
    return [(round(time - first, 3), data) for time, data in packets]


def click_against_picture_ms(path: Path) -> float:
    """When the click sounds after the first picture shows, in ms, by time stamps and plain libav decoding."""
    with av.open(str(path)) as container:
        first_picture = next(container.decode(video=0))
        shown = float(first_picture.pts * first_picture.time_base)
    with av.open(str(path)) as container:
        times, samples = [], []
        for frame in container.decode(audio=0):
            data = frame.to_ndarray()
            data = data if frame.format.is_planar else data.reshape(-1, frame.layout.nb_channels).T
            scale = 1.0 if data.dtype.kind == "f" else 2.0 ** (8 * data.dtype.itemsize - 1)
            times.append(float(frame.pts * frame.time_base) + np.arange(data.shape[1]) / frame.sample_rate)
            samples.append(data[0] / scale)
            rate = frame.sample_rate
    x, t = np.concatenate(samples), np.concatenate(times)
    burst = np.sin(2 * np.pi * 2000 / rate * np.arange(rate // 1000))
    return float(t[np.argmax(np.correlate(x, burst, "valid"))] - shown) * 1000
