"""Does a file come back as long, and in time, in every format?

    python bench/codecs.py

For every container: sound of known samples goes into a file, the file through
``enhance_file(method="identity")``, and both files are decoded. Two decoders look at the result:

ours      ``unmuffle.io.read``, which everything in unmuffle uses
libav     PyAV without any of our code: what other programs see, by the time stamps in the file

length    decoded samples of the output minus those of the source, in ms
shift     by how much the output's sound is later than the source's, in ms (cross-correlation; in videos a
          click against the first picture, by time stamps)

The sound is low-passed noise (no periodicity: one clear peak), 10 s and an odd number of samples, at 48 and
44.1 kHz, mono and stereo; each case is repeated with several lengths. Shown is the worst case of each format.
Videos have a picture that must come out with the same bytes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import common  # isort: skip  # one thread: before numpy
import numpy as np

SOUND = ("wav", "flac", "mp3", "m4a", "ogg", "opus", "webm")
VIDEO = {"mp4": ("mpeg4", "aac"), "mov": ("mpeg4", "aac"), "mkv": ("mpeg4", "aac"), "webm": ("libvpx", "libopus")}
RATES = (48000, 44100)
LENGTHS_S = (1.0, 3.7, 10.0)
ODD = 77  # samples more than a round number of frames of any codec
CLICK_S = 0.8
SHIFT_TARGET_MS = 1.0
LENGTH_TARGET_MS = 0.0


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    before = common.load_average()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        for kind in SOUND:
            for rate in RATES:
                for channels in (1, 2):
                    for seconds in LENGTHS_S:
                        rows.append(sound_case(Path(name), kind, rate, channels, seconds))
            print(kind, flush=True)
        for kind in VIDEO:
            for rate in RATES:
                for channels in (1, 2):
                    rows.append(video_case(Path(name), kind, rate, channels))
            print(kind, "with picture", flush=True)
    common.save("codecs", ("av", "soundfile", "soxr"), {"rows": rows}, load_before=before)


def signal(channels: int, samples: int) -> np.ndarray:
    """Low-passed noise, other noise in every channel."""
    rough = np.random.default_rng(3).standard_normal((channels, samples + 16))
    smooth = np.apply_along_axis(np.convolve, 1, rough, np.ones(16) / 16, "valid")[:, :samples]
    return (0.5 * smooth).astype(np.float32)


def sound_case(folder: Path, kind: str, rate: int, channels: int, seconds: float) -> dict[str, Any]:
    """One file without a picture."""
    from unmuffle import enhance_file
    from unmuffle.io import read, write

    source, output = folder / f"source.{kind}", folder / f"output.{kind}"
    x = signal(channels, round(seconds * rate) + ODD)
    write(source, x, rate)
    enhance_file(source, output, method="identity")
    first, first_rate = read(source)
    second, second_rate = read(output)
    outside, outside_rate = libav(output)
    inside, inside_rate = libav(source)
    row = {
        "kind": kind,
        "rate": rate,
        "file_rate": second_rate,
        "rate_kept": first_rate == second_rate,
        "channels": channels,
        "channels_kept": second.shape[0] == channels,
        "seconds": x.shape[1] / rate,
        "length_ms": 1000 * (second.shape[1] / second_rate - first.shape[1] / first_rate),
        "shift_ms": 1000 * later(first, second) / first_rate,
        "libav_length_ms": 1000 * (outside.shape[1] / outside_rate - inside.shape[1] / inside_rate),
        "libav_shift_ms": 1000 * later(inside, outside) / inside_rate,
        # against the samples that were written at first, where the format keeps their rate
        "first_length_ms": 1000 * (second.shape[1] / second_rate - x.shape[1] / rate),
        "first_shift_ms": 1000 * later(x, second) / rate if second_rate == rate else None,
        "exact": bool(first.shape == second.shape and np.array_equal(first, second)),
    }
    source.unlink()
    output.unlink()
    return row


def video_case(folder: Path, kind: str, rate: int, channels: int) -> dict[str, Any]:
    """One file with a picture and a click."""
    from unmuffle import enhance_file
    from unmuffle.io import read

    source, output = folder / f"video.{kind}", folder / f"copy.{kind}"
    sound_rate = 48000 if kind == "webm" else rate  # Opus has no other
    make_video(source, kind, sound_rate, channels)
    enhance_file(source, output, method="identity")
    first, first_rate = read(source)
    second, second_rate = read(output)
    outside, outside_rate = libav(output)
    inside, inside_rate = libav(source)
    shown = click_after_picture_ms(output) - click_after_picture_ms(source)
    row = {
        "kind": f"{kind} (video)",
        "rate": sound_rate,
        "file_rate": second_rate,
        "rate_kept": first_rate == second_rate,
        "channels": channels,
        "channels_kept": second.shape[0] == channels,
        "seconds": first.shape[1] / first_rate,
        "length_ms": 1000 * (second.shape[1] / second_rate - first.shape[1] / first_rate),
        "shift_ms": 1000 * later(first, second) / first_rate,
        "libav_length_ms": 1000 * (outside.shape[1] / outside_rate - inside.shape[1] / inside_rate),
        "libav_shift_ms": shown,
        "first_length_ms": None,
        "first_shift_ms": None,
        "exact": False,
        "picture_kept": pictures(source) == pictures(output),
    }
    source.unlink()
    output.unlink()
    return row


def make_video(path: Path, kind: str, rate: int, channels: int) -> None:
    """Three seconds of small pictures, 25 a second, and noise with a click at 0.8 s."""
    import av

    codec, sound_codec = VIDEO[kind]
    x = 0.02 * signal(channels, 3 * rate + ODD)
    at, n = round(CLICK_S * rate), rate // 1000
    x[:, at : at + n] += 0.9 * np.sin(2 * np.pi * 2000 / rate * np.arange(n)).astype(np.float32)
    with av.open(str(path), "w") as out:
        picture = out.add_stream(codec, rate=25)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        picture.codec_context.time_base = Fraction(1, 25)
        stream = out.add_stream(sound_codec, rate=rate)
        stream.codec_context.layout = "mono" if channels == 1 else "stereo"
        layout = stream.codec_context.layout.name
        kind_of_sample = "flt" if sound_codec == "libopus" else "fltp"
        stream.codec_context.format = kind_of_sample
        stream.codec_context.time_base = Fraction(1, rate)
        out.start_encoding()
        step = stream.codec_context.frame_size or 1024
        for index in range(75):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), index * 3, np.uint8), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(picture.encode(frame))
        out.mux(picture.encode(None))
        for start in range(0, x.shape[1], step):
            piece = x[:, start : start + step]
            piece = piece if kind_of_sample == "fltp" else piece.T.reshape(1, -1)
            made = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece), kind_of_sample, layout)
            made.sample_rate, made.pts, made.time_base = rate, start, Fraction(1, rate)
            out.mux(stream.encode(made))
        out.mux(stream.encode(None))


def libav(path: Path) -> tuple[np.ndarray, int]:
    """All that libav decodes, ``(channels, samples)``, without our reader."""
    x, _, rate = _decoded(path)
    return x, rate


def _decoded(path: Path) -> tuple[np.ndarray, float, int]:
    """Samples, time of the first one in seconds by its stamp, rate."""
    import av

    parts, start, rate = [], 0.0, 0
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            data = frame.to_ndarray()
            data = data if frame.format.is_planar else data.reshape(-1, frame.layout.nb_channels).T
            scale = 1.0 if data.dtype.kind == "f" else 2.0 ** (8 * data.dtype.itemsize - 1)
            if not parts:
                start = float(frame.pts * frame.time_base) if frame.pts is not None else 0.0
                rate = frame.sample_rate
            parts.append(data / scale)
    return np.concatenate(parts, axis=1), start, rate


def later(reference: np.ndarray, other: np.ndarray) -> int:
    """Samples by which ``other`` is late: the peak of the cross-correlation of the first channels."""
    a, b = reference[0].astype(float), other[0].astype(float)
    size = 1 << (a.size + b.size).bit_length()
    correlation = np.fft.irfft(np.conj(np.fft.rfft(a, size)) * np.fft.rfft(b, size))
    best = int(np.argmax(correlation))
    return best - size if best > size // 2 else best


def click_after_picture_ms(path: Path) -> float:
    """When the click sounds after the first picture shows, by the time stamps in the file."""
    import av

    with av.open(str(path)) as container:
        picture = next(container.decode(video=0))
        shown = float(picture.pts * picture.time_base)
    x, start, rate = _decoded(path)
    n = rate // 1000
    burst = np.sin(2 * np.pi * 2000 / rate * np.arange(n))
    heard = start + int(np.argmax(np.correlate(x[0], burst, "valid"))) / rate
    return 1000 * (heard - shown)


def pictures(path: Path) -> list[bytes]:
    """The coded pictures."""
    import av

    with av.open(str(path)) as container:
        return [bytes(p) for p in container.demux(video=0) if p.size]


# -- the page -----------------------------------------------------------------------------------


def section(data: dict[str, Any]) -> list[str]:
    """This question's part of docs/numbers.md."""
    rows = data["results"]["rows"]
    lines = [
        "## Formats",
        "",
        'Files through `enhance_file(source, output, method="identity")`: how much longer and how much later the '
        "output's sound is than the source's, in ms; the worst case of each format over mono and stereo, 48 and "
        "44.1 kHz, and lengths from 1 to 10 s. *ours*: decoded by unmuffle; *libav*: decoded by PyAV alone, in videos "
        "a click against the first picture by the time stamps.",
        "",
    ]
    made = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        own = [row for row in rows if row["kind"] == kind]
        other = ["bit-exact"] if all(row["exact"] for row in own) else []
        if any("picture_kept" in row for row in own):
            other.append("picture untouched" if all(row["picture_kept"] for row in own) else "**picture changed**")
        if not all(row["rate_kept"] and row["channels_kept"] for row in own):
            other.append("**rate or channels changed**")
        cells = [_worst(own, key) for key in ("length_ms", "shift_ms", "libav_length_ms", "libav_shift_ms")]
        made.append([kind, str(len(own)), *cells, ", ".join(other)])
    head = ["format", ">files", ">length, ours", ">shift, ours", ">length, libav", ">shift, libav", ""]
    lines += [*common.table(head, made), ""]
    length = max(abs(row["length_ms"]) for row in rows)
    shift = max(abs(row[key]) for row in rows for key in ("shift_ms", "libav_shift_ms"))
    lines.append(common.verdict("largest change of length, ours", length, LENGTH_TARGET_MS, unit=" ms"))
    lines.append(common.verdict("largest shift, either decoder", shift, SHIFT_TARGET_MS, unit=" ms"))
    return [*lines, "", common.provenance(data), ""]


def _worst(rows: list[dict[str, Any]], key: str) -> str:
    worst = max((row[key] for row in rows), key=abs)
    return "0" if abs(worst) < 5e-4 else f"{worst:+.3f}"


if __name__ == "__main__":
    main()
