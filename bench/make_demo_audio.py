"""Make the bundled demo recording: two synthetic voices, and the same with noise at 5 dB.

    python bench/make_demo_audio.py            writes src/unmuffle/assets/demo_{clean,noisy}.flac
    python bench/make_demo_audio.py --check    makes them in memory and compares (1 step of 16 bits)

Needs the program espeak-ng. All else is drawn from a seed: the same espeak-ng gives the same files.

The noise, in the order of loudness: air (pink), a distant crowd (noise with the spectrum of the speech,
its level wandering by a few decibels over seconds) and a fan (hum of 117 Hz with harmonics). It begins
0.6 s before the first word, so that noise trackers have something to go by.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

from unmuffle.degrade.noise import colored_noise
from unmuffle.degrade.snr import active_snr_db, at_snr
from unmuffle.io import read, write
from unmuffle.signal.levels import active_speech_level, gain
from unmuffle.signal.resample import convert

ASSETS = Path(__file__).resolve().parents[1] / "src" / "unmuffle" / "assets"
RATE = 16000
SNR_DB = 5.0
SPEECH_DBFS = -26.0  # the usual nominal active level of ITU-T test speech
SEED = 20
LEAD_S, PAUSE_S, TAIL_S = 0.6, 0.45, 0.5

# (voice, words per minute, sentence)
LINES = [
    ("en-us+m3", 170, "Good morning. Can you hear me over the fan?"),
    ("en-gb+f2", 165, "Only just. The street is loud."),
    ("en-us+m3", 170, "Six thick thistle sticks stay clear and crisp."),
    ("en-gb+f2", 165, "Now you sound quite near."),
]


def speak(voice: str, words_per_minute: int, text: str) -> np.ndarray:
    """One sentence at 16 kHz, silence at its ends removed, at unit active level."""
    command = ["espeak-ng", "-v", voice, "-s", str(words_per_minute), "--stdout", text]
    wav = subprocess.run(command, check=True, capture_output=True).stdout
    samples, rate = soundfile.read(io.BytesIO(wav), dtype="float32")
    loud = np.flatnonzero(np.abs(samples) > 1e-3)
    samples = samples[loud[0] : loud[-1] + 1]
    x = convert(samples, rate, RATE).astype(np.float64)
    return x * gain(-active_speech_level(x, RATE).level_dbfs)


def make() -> tuple[np.ndarray, np.ndarray]:
    """The clean and the noisy recording."""
    parts = [np.zeros(round(LEAD_S * RATE))]
    for line in LINES:
        parts += [speak(*line), np.zeros(round(PAUSE_S * RATE))]
    parts[-1] = np.zeros(round(TAIL_S * RATE))
    clean = np.concatenate(parts)
    clean *= gain(SPEECH_DBFS - active_speech_level(clean, RATE).level_dbfs)

    rng = np.random.default_rng(SEED)
    n = clean.size
    t = np.arange(n) / RATE
    air = colored_noise("pink", (1, n), RATE, rng)[0]
    crowd = colored_noise("speech", (1, n), RATE, rng, clean[np.newaxis].astype(np.float32))[0]
    crowd *= 10 ** (3.0 * np.sin(2 * np.pi * 0.23 * t + rng.uniform(0, 6.28)) / 20)
    fan = np.zeros(n)
    for k in range(1, 9):
        fan += np.sin(2 * np.pi * 117.0 * k * t + rng.uniform(0, 6.28)) / k
    noise = at_snr(clean, air + 0.7 * crowd + 0.25 * fan, RATE, SNR_DB)
    return clean.astype(np.float32), (clean + noise).astype(np.float32)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the bundled files, write nothing")
    check = parser.parse_args().check
    version = subprocess.run(["espeak-ng", "--version"], check=True, capture_output=True, text=True).stdout
    print(version.strip())
    clean, noisy = make()
    print(f"{clean.size / RATE:.2f} s, SNR {active_snr_db(clean, noisy - clean, RATE):.3f} dB")
    print(f"peak {np.max(np.abs(noisy)):.3f}")
    worst = 0.0
    for name, samples in (("demo_clean.flac", clean), ("demo_noisy.flac", noisy)):
        path = ASSETS / name
        if check:
            bundled = read(path)[0][0]
            worst = max(worst, float(np.max(np.abs(bundled - samples))) if bundled.size == samples.size else 1.0)
        else:
            write(path, samples, RATE, "PCM_16")
            print(f"{path}: {path.stat().st_size} bytes")
    if check:
        print(f"largest difference {worst * 32768:.2f} steps of 16 bits")
    return int(worst * 32768 > 1.0)


if __name__ == "__main__":
    sys.exit(main())
