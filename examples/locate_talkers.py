"""Where is the talker, and a beam that goes there: four microphones on a circle, noise from all around."""

import numpy as np

import unmuffle
from unmuffle.engine.beams import ArrayPlan, direction_of
from unmuffle.signal.arrays import parse_array
from unmuffle.signal.steering import far_field

rate, array = 16000, parse_array("circle:4:0.05")
rng = np.random.default_rng(0)
voice = rng.standard_normal(3 * rate) * np.clip(np.sin(2 * np.pi * 2 * np.arange(3 * rate) / rate), 0, 1)
wave = far_field(array, np.fft.rfftfreq(voice.size, 1 / rate), azimuth_deg=130.0, reference=0)
clean = np.fft.irfft(np.fft.rfft(voice)[:, None] * wave, voice.size, axis=0).T
noisy = (0.1 * clean + 0.02 * rng.standard_normal(clean.shape)).astype(np.float32)

azimuth, elevation = direction_of(noisy, rate, array)
print(f"the talker is at {azimuth:.0f} degrees")
plan = ArrayPlan("circle:4:0.05", f"{azimuth},{elevation}", "delay-and-sum")
beam = unmuffle.enhance(noisy, rate, plan.enhancer())[0]
for name, x in (("one microphone", noisy[0]), ("the beam", beam)):
    print(f"noise in {name}: {20 * np.log10(np.std(x - 0.1 * clean[0])):.1f} dB")
