"""Damage, on purpose: noisy recordings whose clean truth is known.

For test sets, for training, and for finding out what an enhancer does::

    from unmuffle.degrade import Noise, Pipeline, SimulatedRoom, make_set

    damaged = Noise(snr_db=5, files=("rain.wav",)).apply(clean, 16000, rng)
    damaged.noisy, damaged.target, damaged.record       # sample-aligned; the record replays it

    make_set("speech/", "test/", "room:t60=0.2..0.6; noise:snr=-5..15", noise_dir="noise/", seed=1)

===============  ============================================================================
``base``         `Damage`, `Damaged`, `Pipeline`: the contract, and what is recorded
``snr``          the one definition of SNR: over active speech (ITU-T P.56)
``noise``        `Noise` (recorded or coloured), `Babble`, `mix_at_snr`
``rooms``        `SimulatedRoom`, `MeasuredRoom`: aligned, dry or early target
``array_rooms``  `simulate`: microphone arrays in rooms, with the truth; ``diffuse`` makes their noise
``array_set``    `make_array_set`: a folder of such recordings
``clipping``     `Clip`: hard or soft, at an input SDR
``codecs``       `Codec`: Opus, MP3, AAC, AMR-NB, G.722, G.711; delay taken out
``packets``      `PacketLoss`: Gilbert-Elliott bursts
``filters``      `BandLimit`: telephone, 4 kHz, 8 kHz
``disturbances`` `Hum`, `Wind`, `Clicks`
``gains``        `LevelChange`, `DcOffset`, `Headroom`
``spec``         damage in one line of text
``make``         `make_set`, `replay_file`
``replay``       from a record to the same bytes
===============  ============================================================================
"""

from __future__ import annotations

from .array_rooms import ArrayRecording, Place, RoomScene, random_scene, simulate
from .array_set import make_array_set
from .base import Damage, Damaged, Pipeline
from .clipping import Clip
from .codecs import Codec, available_codecs
from .disturbances import Clicks, Hum, Wind
from .filters import BandLimit
from .gains import DcOffset, Headroom, LevelChange
from .make import Pair, make_set, replay_file
from .noise import Babble, Noise, mix_at_snr
from .packets import PacketLoss
from .replay import DAMAGES, from_record, replay
from .rooms import MeasuredRoom, SimulatedRoom
from .snr import active_snr_db
from .spec import Spec

__all__ = [
    "DAMAGES",
    "ArrayRecording",
    "Babble",
    "BandLimit",
    "Clicks",
    "Clip",
    "Codec",
    "Damage",
    "Damaged",
    "DcOffset",
    "Headroom",
    "Hum",
    "LevelChange",
    "MeasuredRoom",
    "Noise",
    "PacketLoss",
    "Pair",
    "Pipeline",
    "Place",
    "RoomScene",
    "SimulatedRoom",
    "Spec",
    "Wind",
    "active_snr_db",
    "available_codecs",
    "from_record",
    "make_array_set",
    "make_set",
    "mix_at_snr",
    "random_scene",
    "replay",
    "replay_file",
    "simulate",
]
