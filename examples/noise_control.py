"""A headphone that plays anti-noise: feed-forward, feedback, and with a quarter of the outside let through."""

import numpy as np

from unmuffle.signal.fxlms import AncLoop, identify, simulate_anc

rate = 8000
rng = np.random.default_rng(0)
primary = (0.0,) * 8 + tuple(0.6 ** np.arange(20))  # from outside to the ear
secondary = (0.0,) * 2 + tuple(0.5 ** np.arange(10))  # from the loudspeaker to the ear
model = tuple(identify(secondary, 16, samples=4000))  # what a calibration learns of it
roar = 0.1 * rng.standard_normal(3 * rate)
hum = 0.1 * np.sin(2 * np.pi * 120 * np.arange(3 * rate) / rate)
own = 3e-4 * rng.standard_normal(3 * rate)  # noise of the microphone at the ear: nothing gets quieter than that

for kind, name, noise, step, share in (
    ("feedforward", "roar", roar, 0.1, 0.0),
    ("feedback", "hum", hum, 0.01, 0.0),
    ("feedback", "roar", roar, 0.01, 0.0),
    ("feedforward", "roar", roar, 0.1, 0.25),
):
    run = simulate_anc(AncLoop(primary, secondary, model, kind, taps=64, step=step, transparency=share), noise, own)
    print(f"{kind}, {name}, transparency {share:g}: down by {run.attenuation_db(2 * rate):.1f} dB")
