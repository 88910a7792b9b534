"""A network trained for a moment on made-up sounds, exported and run: the whole path of docs/training.md in Python."""

import importlib.util
import sys

import numpy as np
import soundfile

import unmuffle

if importlib.util.find_spec("torch") is None:
    sys.exit(print("this example needs the extra [train]: pip install 'unmuffle[train]'"))
from pathlib import Path

from unmuffle.data import layouts, manifest, pool
from unmuffle.export.graph import export
from unmuffle.train import presets
from unmuffle.train.loop import Trainer

rng, time = np.random.default_rng(0), np.arange(16000) / 16000
for kind, names in (("speech", ("anna", "ben", "cleo")), ("noise", ("fan", "street"))):
    for i, name in enumerate(names):
        Path("recordings", kind, name).mkdir(parents=True)
        voice = sum(np.sin(2 * np.pi * k * (120 + 40 * i) * time) / k for k in range(1, 10)) * (np.sin(9 * time) > 0)
        sound = 0.1 * (voice if kind == "speech" else rng.standard_normal(16000))
        soundfile.write(f"recordings/{kind}/{name}/1.wav", sound, 16000)
clips, _ = manifest.hold_out(layouts.prepare("folders", "recordings").clips)
pool.pack(clips, "pool")
small = {"steps": 8, "batch": 4, "epoch_items": 16, "valid_items": 4, "sizes": {"width": 8}, "mix": {"seconds": 0.5}}
Trainer("run", pool.Pool("pool"), presets.layered(presets.table("live"), small)).run()
export("run/last.pt", "mine.onnx", licence="MIT")
stream = unmuffle.load("model", path="mine.onnx").stream(48000)
print(
    f"trained, exported, {stream.latency_ms:.0f} ms late, {stream.process(np.zeros(4800, np.float32)).size} samples out"
)
