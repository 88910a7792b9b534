"""What are the jobs with a second channel worth: echo canceller, two-microphone phone, active noise control?

    python bench/references.py

echo    the bundled speech through a room response of 0.17 s (exponential, random), noise 30 dB below the echo; the
        near talker, as loud as the echo, from 8 to 12 s; at 14 s the room changes. Echo return loss enhancement
        (ERLE) is the level of the echo over that of what is left of it and the noise, near talker taken off
phone   the bundled speech at a mouth 5 cm from the first of two microphones 14 cm apart, diffuse noise (pink, or
        babble of six voices a microphone); SI-SDR before and after, beside the best method for one microphone
anc     a simulated headphone at 8 kHz: random primary path of 8 + 40 taps, secondary path of 2 + 20 taps known from a
        calibration (-40 dB noise); attenuation of the last second of five
speed   share of real time on one thread for both methods
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import common  # isort: skip  # one thread: before numpy
import numpy as np

RATE = 16000


def main() -> None:
    before = common.load_average()
    results = {"echo": echo(), "phone": phone(), "anc": anc(), "speed": speed()}
    common.save("references", (), results, load_before=before)


def speech() -> np.ndarray:
    from unmuffle.io import read

    x, rate = read(common.ROOT / "src" / "unmuffle" / "assets" / "demo_clean.flac")
    assert rate == RATE
    return x[0].astype(np.float64)


def level(x: np.ndarray) -> float:
    return 10.0 * float(np.log10(np.mean(np.square(x)) + 1e-30))


def response(seed: int) -> np.ndarray:
    h = np.random.default_rng(seed).standard_normal(2720) * np.exp(-np.arange(2720) / 394.0)  # T60 0.17 s
    h[:30] = 0.0
    return 0.5 * h / np.linalg.norm(h)


def echo() -> dict[str, Any]:
    from unmuffle.enhancers.base import run_offline
    from unmuffle.enhancers.registry import load

    voice = speech()
    far = np.tile(voice, -(-20 * RATE // voice.size))[: 20 * RATE]
    first, second = (np.convolve(far, response(seed))[: far.size] for seed in (0, 1))
    heard = np.concatenate((first[: 14 * RATE], second[14 * RATE :]))
    near = np.zeros_like(far)
    near[8 * RATE : 12 * RATE] = np.roll(far[::-1], 3000)[8 * RATE : 12 * RATE]
    near *= np.std(heard) / np.std(near[8 * RATE : 12 * RATE])
    noise = np.std(heard) * 10 ** (-30 / 20) * np.random.default_rng(2).standard_normal(far.size)
    rows = {}
    for memory in (0.999, 0.9995, 0.9999):
        x = np.stack((heard + near + noise, far)).astype(np.float32)
        left = run_offline(load("echo-canceller", memory=memory), x, RATE)[0] - near
        erle = [level(heard[i : i + RATE]) - level(left[i : i + RATE]) for i in range(0, 20 * RATE, RATE)]
        rows[f"{memory:g}"] = {
            "after_1_s": erle[1],
            "seconds_4_to_8": float(np.mean(erle[4:8])),
            "double_talk": float(np.mean(erle[8:12])),
            "near_sdr_db": level(near[8 * RATE : 12 * RATE]) - level(left[8 * RATE : 12 * RATE]),
            "after_double_talk": float(np.mean(erle[12:14])),
            "1_s_after_the_change": erle[15],
            "5_s_after_the_change": erle[19],
        }
    return rows


def si_sdr(reference: np.ndarray, x: np.ndarray) -> float:
    part = float(x @ reference) / float(reference @ reference) * reference
    return 10.0 * float(np.log10(np.sum(part**2) / np.sum((x - part) ** 2)))


def phone() -> list[dict[str, Any]]:
    from unmuffle.degrade.diffuse import make_diffuse
    from unmuffle.degrade.noise import colored_noise
    from unmuffle.degrade.snr import at_snr
    from unmuffle.enhancers.base import run_offline
    from unmuffle.enhancers.registry import load
    from unmuffle.signal.arrays import parse_array
    from unmuffle.signal.steering import near_field

    array = parse_array("phone")
    voice = np.concatenate((np.zeros(RATE // 2), speech()))
    f = np.fft.rfftfreq(voice.size, 1 / RATE)
    mouth = near_field(array, f, [0.0, 0.03, -0.12], reference=0)
    clean = np.fft.irfft(np.fft.rfft(voice)[:, None] * mouth, voice.size, axis=0).T
    rng = np.random.default_rng(0)
    crowd = [sum(np.roll(voice[::-1], int(k)) for k in rng.integers(0, voice.size, 6)) for _ in range(2)]
    noises = {"pink": colored_noise("pink", clean.shape, RATE, rng), "babble": np.stack(crowd)}
    rows = []
    for kind, noise in noises.items():
        for snr in (0.0, 5.0, 10.0):
            x = (clean + at_snr(clean[:1], make_diffuse(noise, array, RATE), RATE, snr)).astype(np.float32)
            unequal = x * np.array([[1.0], [10 ** (4 / 20)]], np.float32)
            rows.append(
                {
                    "noise": kind,
                    "snr_db": snr,
                    "before": si_sdr(clean[0], x[0]),
                    "phone": si_sdr(clean[0], run_offline(load("phone"), x, RATE)[0]),
                    "phone_unequal": si_sdr(clean[0], run_offline(load("phone"), unequal, RATE)[0]),
                    "classic": si_sdr(clean[0], run_offline(load("classic"), x[0], RATE)),
                }
            )
    return rows


def anc() -> list[dict[str, Any]]:
    from unmuffle.degrade.noise import colored_noise
    from unmuffle.signal.fxlms import AncLoop, identify, simulate_anc

    rate = 8000

    def path(delay: int, length: int, seed: int, decay: float) -> tuple[float, ...]:
        h = np.random.default_rng(seed).standard_normal(length) * np.exp(-np.arange(length) / decay)
        h[0] = 2.0
        return tuple(np.concatenate((np.zeros(delay), h / np.linalg.norm(h))))

    primary, secondary = path(8, 40, 1, 6.0), path(2, 20, 2, 3.0)
    model = tuple(identify(secondary, 32))
    rng = np.random.default_rng(0)
    t = np.arange(5 * rate) / rate
    pink = 0.1 * colored_noise("pink", (1, t.size), rate, rng)[0]
    hum = 0.1 * np.sin(2 * np.pi * 150 * t) + 0.05 * np.sin(2 * np.pi * 410 * t) + 1e-3 * rng.standard_normal(t.size)
    rows = []
    for kind, name, x, step, share in (
        ("feedforward", "pink", pink, 0.02, 0.0),
        ("feedforward", "two tones", hum, 0.02, 0.0),
        ("feedforward", "pink", pink, 0.02, 0.25),
        ("feedback", "pink", pink, 0.005, 0.0),
        ("feedback", "two tones", hum, 0.005, 0.0),
    ):
        run = simulate_anc(AncLoop(primary, secondary, model, kind, 128, step, share), x)
        row = {"kind": kind, "noise": name, "transparency": share}
        rows.append({**row, "attenuation_db": run.attenuation_db(4 * rate)})
    return rows


def speed() -> dict[str, float]:
    from unmuffle.enhancers.registry import load

    rng = np.random.default_rng(0)
    rows = {}
    for name in ("echo-canceller", "phone"):
        stream = load(name).stream(RATE, 2, block_size=160)
        blocks = (0.05 * rng.standard_normal((1000, 2, 160))).astype(np.float32)
        for block in blocks[:50]:
            stream.process_block(block)
        began = time.process_time()
        for block in blocks[50:]:
            stream.process_block(block)
        rows[name] = (time.process_time() - began) / (950 * 0.01)
    return rows


def section(data: dict[str, Any]) -> list[str]:
    """The part of docs/numbers.md."""
    found = data["results"]
    lines = ["## Methods with a reference", "", "Echo canceller, ERLE in dB (noise limits it to 30):", ""]
    head = ["memory", *(f">{key.replace('_', ' ')}" for key in next(iter(found["echo"].values())))]
    lines += [*common.table(head, [[k, *(f"{v:.1f}" for v in r.values())] for k, r in found["echo"].items()]), ""]
    lines += ["Two-microphone phone, SI-SDR in dB:", ""]
    head = ["noise", ">SNR", ">before", ">phone", ">phone, second 4 dB hotter", ">classic (first microphone)"]
    lines += [*common.table(head, [[r["noise"], f"{r['snr_db']:g}", *(f"{r[k]:.1f}" for k in
              ("before", "phone", "phone_unequal", "classic"))] for r in found["phone"]]), ""]  # fmt: skip
    lines += ["Active noise control, simulated:", ""]
    rows = [[r["kind"], r["noise"], f"{r['transparency']:g}", f"{r['attenuation_db']:.1f}"] for r in found["anc"]]
    lines += [*common.table(["loop", "noise", ">transparency", ">attenuation, dB"], rows), ""]
    times = ", ".join(f"`{name}` {share:.3f}" for name, share in found["speed"].items())
    return [*lines, f"Share of real time, 10 ms blocks of two channels at 16 kHz: {times}.", "",
            common.provenance(data), ""]  # fmt: skip


if __name__ == "__main__":
    main()
