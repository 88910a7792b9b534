"""A phone with two microphones: noise from all around is equally loud in both, the voice is not."""

import numpy as np

import unmuffle
from unmuffle.signal.arrays import parse_array
from unmuffle.signal.steering import near_field

rate, phone = 16000, parse_array("phone")
rng = np.random.default_rng(0)
t = np.arange(4 * rate) / rate
rhythm = (np.sin(2 * np.pi * 1.5 * t) > 0) * (t > 0.5)
voice = 0.3 * np.sin(2 * np.pi * 220 * t + 5 * np.sin(2 * np.pi * 3 * t)) * rhythm
mouth = near_field(phone, np.fft.rfftfreq(t.size, 1 / rate), [0.0, 0.03, -0.12], reference=0)  # 5 cm away
at_microphones = np.fft.irfft(np.fft.rfft(voice)[:, None] * mouth, t.size, axis=0).T
noisy = (at_microphones + 0.05 * rng.standard_normal((2, t.size))).astype(np.float32)

clean = unmuffle.enhance(noisy, rate, "phone")[0]  # one channel: the microphone at the mouth
for name, x in (("before", noisy[0]), ("after", clean)):
    error = x - at_microphones[0]
    print(f"SNR {name}: {10 * np.log10(np.sum(at_microphones[0] ** 2) / np.sum(error**2)):.1f} dB")
