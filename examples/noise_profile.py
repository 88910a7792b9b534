"""Measure the noise where it is alone, then remove it everywhere."""

import numpy as np

import unmuffle

rate = 16000
rng = np.random.default_rng(0)
hiss = 0.02 * rng.standard_normal(3 * rate).astype(np.float32)
tone = np.where(np.arange(3 * rate) > rate, 0.3 * np.sin(2 * np.pi * 440 * np.arange(3 * rate) / rate), 0)
noisy = (hiss + tone).astype(np.float32)

clean = unmuffle.enhance(noisy, rate, "log-mmse", profile=(0.0, 0.9))  # the first 0.9 s are noise
before, after = np.std(noisy[: rate // 2]), np.std(clean[: rate // 2])
print(f"hiss down by {20 * np.log10(before / after):.1f} dB")
