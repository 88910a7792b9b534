"""Repair first, then reduce noise, with chosen parameters; and keep the recipe as a TOML file."""

import numpy as np

import unmuffle
from unmuffle.enhancers.base import run_offline
from unmuffle.enhancers.registry import from_toml

chain = unmuffle.Chain((unmuffle.load("low-cut", cutoff_hz=90.0), unmuffle.load("wiener")))
recipe = chain.to_toml()
assert from_toml(recipe) == chain  # unmuffle enhance talk.wav --config recipe.toml

noise = 0.05 * np.random.default_rng(0).standard_normal((2, 32000)).astype(np.float32)
quieter = run_offline(chain, noise, 16000)
print(f"{10 * np.log10(np.mean(quieter[:, 16000:] ** 2) / np.mean(noise[:, 16000:] ** 2)):.1f} dB of noise left")
