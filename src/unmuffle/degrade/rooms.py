"""Rooms: speech as it arrives at a distant microphone, aligned with the dry original.

A room impulse response h is convolved with the speech. Its **direct sound** sits at sample d; the
output is shifted back by d, so that the direct sound of the noisy signal lies on the dry speech,
sample for sample. h is scaled so that the direct sound (2.5 ms either side of its peak) has unit
energy: the voice keeps its level, and the room comes on top.

Targets: ``dry`` is the speech as it was. ``early`` is the speech with the first 50 ms of the
room, which help intelligibility and colour the voice: a gentler aim for dereverberation.

`SimulatedRoom` uses the image-source method of pyroomacoustics (extra ``rooms``; Allen & Berkley
1979) in a random shoebox. Sabine's formula alone misses the wanted T60 by 10-40 %, since image
sources in a small box are no diffuse field; so the absorption is corrected until the T60 that
Schroeder's integration measures on the response itself is within 5 %, which may need another box.
The talker is moved by less than half a sample's path so that the delay is a whole number of samples.

T60 (`schroeder_t60_s`): energy left after time t, ``E(t) = sum_{u>=t} h^2``, in decibels; a line is
fitted from -5 to -25 dB and extrapolated to -60 (T20 of ISO 3382).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from ..errors import InputError, MissingExtraError, ParameterError
from ..signal.blocks import Samples, as_block
from .base import Damage, Record, Scene, check_choice
from .sources import load_first_channel

TARGETS = ("dry", "early")
EARLY_MS = 50.0
_DIRECT_MS = 2.5
SPEED_OF_SOUND_M_PER_S = 343.0
_T60_TOLERANCE = 0.05
_WALL_M = 0.5  # least distance of talker and microphone from every wall

_Response = NDArray[np.float64]


@dataclass(frozen=True)
class SimulatedRoom(Damage):
    """A random shoebox room with a given reverberation time."""

    kind: ClassVar[str] = "room"
    t60_s: float = 0.4
    """Reverberation time, 0.1..2 s."""
    distance_m: float = 1.5
    """From talker to microphone, 0.2..6 m; shortened where the room is too small."""
    target: str = "dry"

    def __post_init__(self) -> None:
        if not 0.1 <= self.t60_s <= 2.0:
            raise ParameterError(f"t60_s must lie in 0.1..2 s, got {self.t60_s}")
        if not 0.2 <= self.distance_m <= 6.0:
            raise ParameterError(f"distance_m must lie in 0.2..6 m, got {self.distance_m}")
        check_choice("target", self.target, TARGETS)

    def _apply(self, scene: Scene, rng: np.random.Generator) -> tuple[Scene, Record]:
        response, direct, drawn = simulate_response(self.t60_s, self.distance_m, scene.sample_rate, rng)
        drawn["drr_db"] = direct_to_reverberant_db(response, direct, scene.sample_rate)
        return _reverberate(scene, response, direct, self.target), drawn


@dataclass(frozen=True)
class MeasuredRoom(Damage):
    """A room whose impulse response was measured; the file's first channel is used."""

    kind: ClassVar[str] = "rir"
    file: str
    target: str = "dry"

    def __post_init__(self) -> None:
        check_choice("target", self.target, TARGETS)

    def _apply(self, scene: Scene, rng: np.random.Generator) -> tuple[Scene, Record]:
        source = load_first_channel(self.file, scene.sample_rate)
        response = source.samples[0].astype(np.float64)
        if not np.any(response):
            raise InputError(f"{self.file} is silent; it holds no impulse response")
        direct = find_direct(response)
        drawn: Record = {"sources": [source.origin], "direct_sample": direct}
        drawn["t60_s"] = schroeder_t60_s(response, scene.sample_rate)
        drawn["drr_db"] = direct_to_reverberant_db(response, direct, scene.sample_rate)
        return _reverberate(scene, response, direct, self.target), drawn


def find_direct(response: _Response) -> int:
    """Sample of the direct sound: the first peak that comes within 6 dB of the highest.

    A reflection can be stronger than the direct sound, but seldom by more than 6 dB. A response
    without line of sight has no direct sound at all; then this is its first strong arrival.
    """
    magnitude = np.abs(response)
    first = int(np.argmax(magnitude >= 0.5 * magnitude.max()))
    while first + 1 < magnitude.size and magnitude[first + 1] > magnitude[first]:
        first += 1
    return first


def direct_to_reverberant_db(response: _Response, direct: int, sample_rate: int) -> float:
    """Energy of the direct sound (2.5 ms either side) over that of all that follows, in decibels.

    Below about -10 dB there is hardly a direct sound: the talker is in the next room, or the file was
    cut too late, and what the output is aligned to is merely the first strong reflection.
    """
    end = direct + max(1, round(_DIRECT_MS * 1e-3 * sample_rate)) + 1
    near = float(np.sum(np.square(response[max(0, 2 * direct - end + 1) : end])))
    far = float(np.sum(np.square(response[end:])))
    return 10.0 * float(np.log10(near / far)) if far > 0.0 else np.inf


def schroeder_t60_s(response: _Response, sample_rate: int) -> float:
    """Reverberation time by backward integration, T20; NaN where it does not decay by 25 dB."""
    energy = np.cumsum(np.square(response[::-1]))[::-1]
    decay_db = 10.0 * np.log10(np.maximum(energy / energy[0], 1e-30))
    begin = int(np.argmax(decay_db <= -5.0))
    end = int(np.argmax(decay_db <= -25.0))
    if end <= begin + 1:
        return float("nan")
    time = np.arange(begin, end) / sample_rate
    slope = float(np.polyfit(time, decay_db[begin:end], 1)[0])
    return -60.0 / slope if slope < -1.0 else float("nan")  # not a decay, but two separate echoes


def simulate_response(
    t60_s: float, distance_m: float, sample_rate: int, rng: np.random.Generator
) -> tuple[_Response, int, Record]:
    """Impulse response of a random shoebox, the sample of its direct sound, and what was drawn."""
    # Long reverberation needs a large room and short a small one, or the walls would have to be
    # mirrors or open windows.
    scale = float(np.clip((t60_s / 0.4) ** (1.0 / 3.0), 0.7, 1.7))
    size = scale * rng.uniform([4.0, 3.2, 2.4], [7.0, 5.5, 3.0])
    microphone = rng.uniform(_WALL_M, size - _WALL_M)
    talker, distance, delay = _place_talker(microphone, size, distance_m, sample_rate, rng)
    absorption, response, offset = fit_absorption(size, talker, microphone, t60_s, sample_rate)
    drawn: Record = {
        "size_m": list(size),
        "talker_m": list(talker),
        "microphone_m": list(microphone),
        "distance_m": distance,
        "absorption": absorption,
        "t60_s": schroeder_t60_s(response, sample_rate),
    }
    return response, delay + offset, drawn


def fit_absorption(
    size: _Response, talker: _Response, microphone: _Response, t60_s: float, sample_rate: int
) -> tuple[float, _Response, int]:
    """Absorption of the walls with which the response measures the wanted T60, and that response.

    Returns:
        Absorption of energy, 0..1; the response; the samples its interpolation filter adds in front.
    """
    absorption = float(np.clip(1.0 - np.exp(-_eyring_exponent(size, t60_s)), 0.02, 0.98))
    best = (np.inf, absorption, np.ones(1), 0)
    for _ in range(8):
        responses, offset = shoebox(size, talker[None], microphone[None], absorption, t60_s, sample_rate)
        response = responses[0][0]
        measured = schroeder_t60_s(response, sample_rate)
        error = abs(measured / t60_s - 1.0) if np.isfinite(measured) else np.inf
        if error <= best[0]:
            best = (error, absorption, response, offset)
        if error <= _T60_TOLERANCE or not np.isfinite(measured):
            break
        # Decay rate goes with -ln(1 - a): correct it by the ratio that was missed.
        exponent = -np.log1p(-absorption) * measured / t60_s
        absorption = float(np.clip(1.0 - np.exp(-exponent), 0.005, 0.99))
    return best[1], best[2], best[3]


def _place_talker(
    microphone: _Response, size: _Response, distance_m: float, sample_rate: int, rng: np.random.Generator
) -> tuple[_Response, float, int]:
    """A point about ``distance_m`` away inside the room, a whole number of samples of path off."""
    step = SPEED_OF_SOUND_M_PER_S / sample_rate
    wanted = distance_m
    for attempt in range(200):
        direction = rng.standard_normal(3) * [1.0, 1.0, 0.2]  # heads are at similar heights
        direction /= np.linalg.norm(direction)
        delay = max(1, round(wanted / step))
        talker = microphone + direction * delay * step
        if np.all(talker > 0.3) and np.all(talker < size - 0.3):
            return talker, delay * step, delay
        if attempt % 20 == 19:
            wanted *= 0.8
    raise ParameterError(
        f"no place for a talker {distance_m} m away in a room of {size} m"
    )  # pragma: no cover


def _eyring_exponent(size: _Response, t60_s: float) -> float:
    """-ln(1 - absorption) by Eyring's formula, ``T60 = 24 ln 10 / c * V / (S * exponent)``."""
    volume = float(np.prod(size))
    surface = 2.0 * float(size[0] * size[1] + size[0] * size[2] + size[1] * size[2])
    return 24.0 * np.log(10.0) / SPEED_OF_SOUND_M_PER_S * volume / (surface * t60_s)


def shoebox(
    size: _Response,
    talkers: _Response,
    microphones: _Response,
    absorption: float,
    t60_s: float,
    sample_rate: int,
    speed_m_per_s: float = SPEED_OF_SOUND_M_PER_S,
) -> tuple[list[list[_Response]], int]:
    """Responses ``[talker][microphone]`` by image sources.

    Args:
        size: of the box, ``(3,)`` in metres.
        talkers, microphones: ``(n, 3)`` in metres from a lower corner.
        absorption: of energy at the walls, 0..1.
        t60_s: how far out images are needed; 0 means none at all (free field).
        sample_rate: in Hz.
        speed_m_per_s: of sound.

    Returns:
        The responses, and the samples their interpolation filter adds in front.
    """
    try:
        import pyroomacoustics
    except ImportError as error:  # pragma: no cover - the extra is there in the tests
        raise MissingExtraError("simulated rooms", "rooms") from error
    # Images out to the path that sound travels until it has decayed by 40 dB: T20 needs 25.
    reach = speed_m_per_s * t60_s * 40.0 / 60.0
    order = int(np.clip(np.ceil(reach / float(np.min(size))), 3, 60)) if t60_s > 0.0 else 0
    room = pyroomacoustics.ShoeBox(
        size, fs=sample_rate, materials=pyroomacoustics.Material(absorption), max_order=order
    )
    room.set_sound_speed(speed_m_per_s)
    for talker in talkers:
        room.add_source(talker)
    room.add_microphone_array(microphones.T)
    room.compute_rir()
    responses = [
        [np.asarray(room.rir[m][s], dtype=np.float64) for m in range(len(microphones))] for s in range(len(talkers))
    ]
    return responses, int(pyroomacoustics.constants.get("frac_delay_length")) // 2


def _reverberate(scene: Scene, response: _Response, direct: int, target: str) -> Scene:
    rate = scene.sample_rate
    around = max(1, round(_DIRECT_MS * 1e-3 * rate))
    energy = float(np.sum(np.square(response[max(0, direct - around) : direct + around + 1])))
    response = response / np.sqrt(energy)
    after = replace(scene, signal=_convolve(scene.signal, response, direct))
    after = replace(after, speech=_convolve(scene.speech, response, direct))
    if target == "early":
        early = response[: direct + max(1, round(EARLY_MS * 1e-3 * rate))]
        after = replace(after, target=_convolve(scene.target, early, direct))
    return after


def _convolve(x: Samples, response: _Response, direct: int) -> Samples:
    """Causal convolution, shifted so that ``response[direct]`` is time zero, of the input's length."""
    y = scipy.signal.fftconvolve(x.astype(np.float64), response[np.newaxis], axes=-1)
    return as_block(y[:, direct : direct + x.shape[1]])
