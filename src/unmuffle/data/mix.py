"""Mixtures on the fly: (epoch, index) -> what the microphone heard, and what should come out.

Every choice is drawn from a generator seeded with (seed, split, epoch, index), so a mixture is the
same in any process, in any order, with any number of workers, and an epoch never repeats another.

What is done to a mixture, in the order in which the world does it:

1. a voice: clips of one speaker with pauses between them, speed and pitch changed together by
   resampling (a factor of 0.85 to 1.18 moves the formants as a change of head size does);
2. a room, measured or simulated; the target keeps its first 50 ms (:mod:`.rooms`);
3. an equaliser: a smooth random curve, for microphones and mouths;
4. one to three noises: recordings, music, babble of other speakers, computed ones (:mod:`.noises`);
   also in a room, with an equaliser of their own;
5. the SNR, -5 to 25 dB over the active part of the voice, and the level of the whole;
6. now and then what equipment does: a band limit (input and target), clipping, 8-bit companding,
   lost packets (input only).

A few mixtures are clean speech only (the network must let it pass) or noise only (silence).

Speed matters: with a trainer on the same core, each millisecond here is one less there. Filters and
rooms share one pair of FFTs a signal, and single precision throughout.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ..errors import ParameterError
from . import noises, rooms, voices
from .pool import Entry

Signal = NDArray[np.float32]

_SPLIT_NUMBER: Final = {"train": 0, "valid": 1}
_ACTIVE_DB = 35.0
_EQ_POINTS = 12
_FRAME_S = 0.02


@dataclass(frozen=True)
class MixConfig:
    """What is drawn how often. Shares are probabilities, ranges are drawn from evenly.

    Attributes:
        seconds: length of a mixture.
        snr_low_db, snr_high_db: range of the SNR over active speech.
        level_low_db, level_high_db: range of the active level of the target, in dBFS.
        clean_share, noise_share: mixtures without noise, and without speech.
        room_share: voices in a room; ``measured_share`` of those in a measured one.
        eq_share, eq_db: signals with an equaliser, and its standard deviation.
        speed_share: voices with a changed speed.
        whisper_share, song_share: voices made into whispers and singing, see :mod:`.voices`.
        pop_share: voices whose breath is heard below 80 Hz, as a close microphone has it.
        music_share, babble_share, synthetic_share, tone_share, rumble_share: of the noises (synthetic: coloured noise
            and hum; tones: alarms, bells, engines, whines; rumble: of traffic and wind); the rest are recordings.
        band_share: mixtures cut off at 3.4 to 7.5 kHz.
        edge_share: mixtures in which the filter of some converter takes the uppermost part away, from 0.85 to
            0.99 of half the sample rate on: in half of them from all, in the others from the noise alone.
        clip_share, codec_share, loss_share: inputs clipped, companded, with lost packets.
        seed: of all chance.
    """

    seconds: float = 3.0
    snr_low_db: float = -5.0
    snr_high_db: float = 25.0
    level_low_db: float = -42.0
    level_high_db: float = -12.0
    clean_share: float = 0.03
    noise_share: float = 0.04
    room_share: float = 0.35
    measured_share: float = 0.4
    eq_share: float = 0.5
    eq_db: float = 4.0
    speed_share: float = 0.5
    whisper_share: float = 0.0
    song_share: float = 0.0
    pop_share: float = 0.0
    music_share: float = 0.1
    babble_share: float = 0.1
    synthetic_share: float = 0.08
    tone_share: float = 0.0
    rumble_share: float = 0.0
    band_share: float = 0.1
    edge_share: float = 0.0
    clip_share: float = 0.02
    codec_share: float = 0.01
    loss_share: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_share") and not 0 <= value <= 1:
                raise ParameterError(f"{field.name} = {value!r}; give a probability, 0 to 1")
        for low, high in (("snr_low_db", "snr_high_db"), ("level_low_db", "level_high_db")):
            if getattr(self, low) > getattr(self, high):
                raise ParameterError(f"{low} = {getattr(self, low)!r} lies above {high}")
        if not 0.2 <= self.seconds <= 60:
            raise ParameterError(f"seconds = {self.seconds!r}; give 0.2 to 60")
        kinds = ("music_share", "babble_share", "synthetic_share", "tone_share", "rumble_share")
        if sum(getattr(self, kind) for kind in kinds) > 1:
            raise ParameterError(f"{' + '.join(kinds)} is above 1")
        if self.whisper_share + self.song_share > 1:
            raise ParameterError("whisper_share + song_share is above 1")
        if self.clean_share + self.noise_share > 1:
            raise ParameterError("clean_share + noise_share is above 1")


@dataclass(frozen=True)
class Mixture:
    """An input and its target.

    Attributes:
        noisy: float32 ``(samples,)``, what the microphone heard.
        target: float32 ``(samples,)``, what should come out; zeros if there was no speech.
        band_hz: above it the target says nothing.
        snr_db: over the active part; ``inf`` without noise, ``-inf`` without speech.
    """

    noisy: Signal
    target: Signal
    band_hz: float
    snr_db: float


class Clips(Protocol):
    """Where a mixer reads: a :class:`~.pool.Pool`, or something that looks like one."""

    folder: Path
    sample_rate: int

    def of(self, kind: str, split: str) -> list[Entry]:
        """Clips of a kind and split."""

    def read(self, entry: Entry, start: int = 0, length: int | None = None) -> Signal:
        """Samples of a clip."""


class _Deck:
    """Draws entries: first a group (speaker or category), then a clip by its length."""

    def __init__(self, entries: list[Entry], key: str, power: float) -> None:
        groups: dict[str, list[Entry]] = {}
        for entry in entries:
            groups.setdefault(getattr(entry, key), []).append(entry)
        self.groups = [groups[name] for name in sorted(groups)]
        lengths = [np.array([e.length for e in g], np.float64) for g in self.groups]
        # Length to a power below one: short groups are heard more often than their share of time.
        self._groups = _cumulative(np.array([n.sum() ** power for n in lengths]))
        self._clips = [_cumulative(n) for n in lengths]

    def group(self, rng: np.random.Generator) -> int:
        return int(np.searchsorted(self._groups, rng.random(), side="right"))

    def clip(self, rng: np.random.Generator, group: int) -> Entry:
        return self.groups[group][int(np.searchsorted(self._clips[group], rng.random(), side="right"))]


def _cumulative(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    total = np.cumsum(weights)
    out: NDArray[np.float64] = total / total[-1]
    out[-1] = 1.0
    return out


class Mixer:
    """Makes mixtures from a pool.

    Args:
        pool: packed recordings.
        config: what is drawn how often.
        split: ``train`` or ``valid``: which speakers and recordings may be used.

    Raises:
        ParameterError: the pool has no speech or no noise of this split.
    """

    def __init__(self, pool: Clips, config: MixConfig | None = None, split: str = "train") -> None:
        if split not in _SPLIT_NUMBER:
            raise ParameterError(f"split = {split!r}; choose one of {', '.join(_SPLIT_NUMBER)}")
        self.pool = pool
        self.config = config or MixConfig()
        self.split = split
        self.sample_rate = pool.sample_rate
        self.length = round(self.config.seconds * self.sample_rate)
        speech, noise = pool.of("speech", split), pool.of("noise", split)
        for kind, found in (("speech", speech), ("noise", noise)):
            if not found:
                raise ParameterError(f"{pool.folder}: no {kind} in split {split!r}; add clips to the manifest")
        self._voices = _Deck(speech, "speaker", 0.7)
        self._noises = _Deck(noise, "category", 0.6)
        music = pool.of("music", split)
        self._music = _Deck(music, "category", 0.6) if music else None
        longest = 0.6
        measured = [rooms.trim(pool.read(e), self.sample_rate, longest) for e in pool.of("room", split)]
        self._rooms = measured
        times = np.array([rooms.decay_time(h, self.sample_rate) for h in measured])
        # Halls outnumber living rooms among the measured ones; people talk in living rooms.
        self._room_weights = _cumulative(1.0 / (0.1 + times) ** 2) if measured else None
        self._size = int(fft.next_fast_len(self.length + int(longest * self.sample_rate), real=True))
        bins = np.arange(self._size // 2 + 1) * (self.sample_rate / self._size)
        self._hertz = bins.astype(np.float32)
        points = np.linspace(np.log(50.0), np.log(self.sample_rate / 2.0), _EQ_POINTS)
        place = np.interp(np.log(np.maximum(bins, 1.0)), points, np.arange(_EQ_POINTS))
        self._eq_left = np.minimum(place.astype(np.int32), _EQ_POINTS - 2)
        self._eq_share = (place - self._eq_left).astype(np.float32)

    def item(self, epoch: int, index: int) -> Mixture:
        """The mixture of a place in an epoch; the same for the same arguments, always."""
        c = self.config
        seed = np.random.SeedSequence((c.seed, _SPLIT_NUMBER[self.split], epoch, index))
        rng = np.random.Generator(np.random.PCG64(seed))
        draw = rng.random()
        has_speech = draw >= c.noise_share
        has_noise = not c.noise_share <= draw < c.noise_share + c.clean_share
        band = float("inf")
        cut = None
        if rng.random() < c.band_share:
            cut = float(rng.choice((3400.0, 4000.0, 5500.0, 7000.0, 0.45 * self.sample_rate)))
            band = cut
        limit = None if cut is None else self._fall(cut - 200.0, cut)
        around = limit  # of the noise
        if c.edge_share and rng.random() < c.edge_share:
            edge = self._edge(rng)
            around = edge if limit is None else limit * edge
            if rng.random() < 0.5:
                limit = around
        target = wet = np.zeros(self.length, np.float32)
        if has_speech:
            target, wet, top = self._speech(rng, limit)
            band = min(band, top)
        noise = self._noise_mix(rng, around) if has_noise else None
        snr = float(rng.uniform(c.snr_low_db, c.snr_high_db))
        level = 10.0 ** (float(rng.uniform(c.level_low_db, c.level_high_db)) / 20.0)
        loud = active_rms(wet, self.sample_rate)
        if loud > 0:
            target = target * np.float32(level / loud)
            wet = wet * np.float32(level / loud)
        noisy = wet
        if noise is not None:
            power = float(np.sqrt(np.mean(noise * noise)))
            if power > 0:
                noisy = wet + noise * np.float32(level * 10.0 ** (-snr / 20.0) / power)
        noisy = self._equipment(rng, noisy)
        peak = max(float(np.max(np.abs(noisy))), float(np.max(np.abs(target))))
        if peak > 0.99:
            noisy, target = noisy * np.float32(0.99 / peak), target * np.float32(0.99 / peak)
        if not has_speech:
            snr = float("-inf")
        elif noise is None:
            snr = float("inf")
        return Mixture(noisy, target, min(band, self.sample_rate / 2.0), snr)

    # -- speech ----------------------------------------------------------------------------------

    def _speech(self, rng: np.random.Generator, limit: Signal | None) -> tuple[Signal, Signal, float]:
        """Target, input part and band of a voice in its room, through its equaliser."""
        c = self.config
        voice, band = self._voice(rng, self._voices.group(rng), self.length, c.speed_share)
        if c.whisper_share or c.song_share:
            draw = rng.random()
            if draw < c.whisper_share:
                voice = voices.whispered(voice, self.sample_rate, rng)
            elif draw < c.whisper_share + c.song_share:
                voice = voices.sung(voice, self.sample_rate, rng)
        if c.pop_share and rng.random() < c.pop_share:
            voice = voices.breathed(voice, self.sample_rate, rng)
        in_room = rng.random() < c.room_share
        shape = self._curve(rng, limit)
        if not in_room and shape is None:
            return voice, voice, band
        spectrum = fft.rfft(voice, self._size)
        if shape is not None:
            spectrum *= shape
        if not in_room:
            dry = fft.irfft(spectrum, self._size)[: self.length]
            return dry, dry, band
        response = self._room(rng)
        part = rooms.early(response, self.sample_rate)
        wet = fft.irfft(spectrum * fft.rfft(response, self._size), self._size)[: self.length]
        target = fft.irfft(spectrum * fft.rfft(part, self._size), self._size)[: self.length]
        return target, wet, band

    def _voice(self, rng: np.random.Generator, group: int, n: int, speed_share: float) -> tuple[Signal, float]:
        """Clips of one speaker with pauses, ``n`` samples, and the band they all have."""
        speed = 1.0
        if rng.random() < speed_share:
            speed = round(float(rng.uniform(0.85, 1.18)), 2)
        need = int(np.ceil(n * speed)) + 64
        out = np.zeros(need, np.float32)
        band = float("inf")
        # Sometimes speech starts later: the network must know rooms without a voice.
        at = int(rng.uniform(0.0, 0.4) * need) if rng.random() < 0.25 else 0
        while at < need:
            entry = self._voices.clip(rng, group)
            start = int(rng.integers(0, max(entry.length - need + at, 0) + 1)) if entry.length > need - at else 0
            piece = self.pool.read(entry, start, need - at)
            out[at : at + piece.size] = piece
            band = min(band, entry.band_hz)
            at += piece.size + int(rng.uniform(0.05, 0.6) * self.sample_rate)
        if speed != 1.0:
            out = _change_speed(out, speed)
            band *= min(speed, 1.0)
        return out[:n], band

    def _room(self, rng: np.random.Generator) -> Signal:
        if self._room_weights is not None and rng.random() < self.config.measured_share:
            return self._rooms[int(np.searchsorted(self._room_weights, rng.random(), side="right"))]
        rt60 = float(np.exp(rng.uniform(np.log(0.12), np.log(0.65))))
        return rooms.simulate(rng, self.sample_rate, rt60, float(rng.uniform(-2.0, 15.0)))

    # -- noise -----------------------------------------------------------------------------------

    def _noise_mix(self, rng: np.random.Generator, limit: Signal | None) -> Signal:
        """One to three noises, mixed at random levels, in a room of their own now and then."""
        count = int(np.searchsorted((0.55, 0.85), rng.random(), side="right")) + 1
        total = np.zeros(self.length, np.float32)
        for _ in range(count):
            noise = self._one_noise(rng)
            power = float(np.sqrt(np.mean(noise * noise)))
            if power > 0:
                total += noise * np.float32(10.0 ** (float(rng.uniform(-12.0, 0.0)) / 20.0) / power)
        in_room = rng.random() < 0.5 * self.config.room_share
        shape = self._curve(rng, limit)
        if shape is None and not in_room:
            return total
        spectrum = fft.rfft(total, self._size)
        if shape is not None:
            spectrum *= shape
        if in_room:
            spectrum *= fft.rfft(self._room(rng), self._size)
        return np.asarray(fft.irfft(spectrum, self._size)[: self.length], np.float32)

    def _one_noise(self, rng: np.random.Generator) -> Signal:
        c = self.config
        n, rate = self.length, self.sample_rate
        kinds: tuple[tuple[float, Callable[[], Signal]], ...] = (
            (c.babble_share, lambda: self._babble(rng)),
            (c.synthetic_share, lambda: noises.coloured(n, rate, rng)),
            (c.tone_share, lambda: noises.tones(n, rate, rng)),
            (c.rumble_share, lambda: noises.rumble(n, rate, rng)),
            (c.music_share, lambda: self._recording(rng, self._music or self._noises)),
        )
        draw = rng.random()
        for share, make in kinds:
            if draw < share:
                return make()
            draw -= share
        return self._recording(rng, self._noises)

    def _recording(self, rng: np.random.Generator, deck: _Deck) -> Signal:
        group = deck.group(rng)
        n = self.length
        speed = round(float(rng.uniform(0.75, 1.35)), 2) if rng.random() < 0.3 else 1.0
        need = int(np.ceil(n * speed)) + 64
        out = np.zeros(need, np.float32)
        at = 0
        gap = float(rng.uniform(0.0, 0.7)) if rng.random() < 0.3 else 0.0
        entry = deck.clip(rng, group)
        while at < need:
            start = int(rng.integers(0, entry.length - (need - at))) if entry.length > need - at else 0
            piece = self.pool.read(entry, start, need - at)
            out[at : at + piece.size] = piece
            at += piece.size + int(gap * rng.random() * self.sample_rate)
            if rng.random() < 0.5:
                entry = deck.clip(rng, group)
        return (_change_speed(out, speed) if speed != 1.0 else out)[:n]

    def _babble(self, rng: np.random.Generator) -> Signal:
        """Three to eight other voices talking at once."""
        total = np.zeros(self.length, np.float32)
        for _ in range(int(rng.integers(3, 9))):
            voice, _band = self._voice(rng, self._voices.group(rng), self.length, 0.0)
            total += voice * np.float32(10.0 ** (float(rng.uniform(-9.0, 0.0)) / 20.0))
        return total

    # -- equipment -------------------------------------------------------------------------------

    def _fall(self, start: float, stop: float) -> Signal:
        """One up to ``start`` Hz, nothing from ``stop`` on, a straight line between them."""
        return np.clip((np.float32(stop) - self._hertz) / np.float32(stop - start), 0.0, 1.0)

    def _edge(self, rng: np.random.Generator) -> Signal:
        """Gains of a converter's filter: half a cosine to some power, from full to nothing near half the rate."""
        half = self.sample_rate / 2.0
        start = float(rng.uniform(0.85, 0.97)) * half
        stop = max(float(rng.uniform(0.95, 1.03)) * half, start + 0.02 * half)
        fall = self._fall(start, stop)
        return np.sin(np.float32(0.5 * np.pi) * fall) ** np.float32(rng.uniform(1.0, 6.0))

    def _curve(self, rng: np.random.Generator, limit: Signal | None) -> Signal | None:
        """Gains of an equaliser and a band limit, one a bin; ``None`` if there is neither."""
        gains: Signal | None = None
        if rng.random() < self.config.eq_share:
            steps = rng.standard_normal(_EQ_POINTS).astype(np.float32)
            steps = np.convolve(steps, (0.25, 0.5, 0.25), "same").astype(np.float32)  # neighbours alike
            curve = steps * np.float32(self.config.eq_db * 1.6 / 6.02)
            curve += np.linspace(-0.5, 0.5, _EQ_POINTS, dtype=np.float32) * np.float32(rng.uniform(-2.0, 2.0))
            left = curve[self._eq_left]
            gains = np.exp2(left + (curve[self._eq_left + 1] - left) * self._eq_share)
        if limit is not None:
            gains = limit if gains is None else gains * limit
        return gains

    def _equipment(self, rng: np.random.Generator, x: Signal) -> Signal:
        """What microphones and telephones do to the input now and then."""
        c = self.config
        draws = rng.random(3)
        if draws[0] < c.clip_share:
            limit = np.float32(np.max(np.abs(x)) * rng.uniform(0.15, 0.7))
            x = np.clip(x, -limit, limit)
        if draws[1] < c.codec_share:
            top = float(np.max(np.abs(x))) + 1e-9
            steps = np.round(np.sign(x) * np.log1p(255.0 * np.abs(x) / top) / np.log(256.0) * 127.0) / 127.0
            x = (np.sign(steps) * np.expm1(np.abs(steps) * np.log(256.0)) / 255.0 * top).astype(np.float32)
        if draws[2] < c.loss_share:
            packet = int(_FRAME_S * self.sample_rate)
            count = -(-x.size // packet)
            kept = (rng.random(count) >= rng.uniform(0.02, 0.15)).astype(np.float32)
            x = x * np.repeat(kept, packet)[: x.size]
        return x


class Source(Protocol):
    """Where a trainer gets mixtures: a :class:`Mixer`, a :class:`Blend`, or rendered ones."""

    sample_rate: int

    def item(self, epoch: int, index: int) -> Mixture:
        """The mixture of a place in an epoch; the same for the same arguments, always."""


class Blend:
    """Mixtures of several mixers in turn: which one, is drawn anew for each place of an epoch.

    Args:
        mixers: of one sample rate and length.
        shares: how often each is drawn; they need not add up to one.
    """

    def __init__(self, mixers: Sequence[Mixer], shares: Sequence[float]) -> None:
        if len(mixers) != len(shares) or not mixers or min(shares) < 0 or sum(shares) <= 0:
            raise ParameterError(f"{len(mixers)} mixers and the shares {tuple(shares)} do not fit together")
        if len({(m.sample_rate, m.length) for m in mixers}) > 1:
            raise ParameterError("mixers of different sample rates or lengths cannot be blended")
        self.mixers = list(mixers)
        self.sample_rate = mixers[0].sample_rate
        self._edges = _cumulative(np.array(shares, np.float64))

    def item(self, epoch: int, index: int) -> Mixture:
        """The mixture of a place in an epoch; the same for the same arguments, always."""
        rng = np.random.default_rng(np.random.SeedSequence((self.mixers[0].config.seed, 2, epoch, index)))
        chosen = int(np.searchsorted(self._edges, rng.random(), side="right"))
        return self.mixers[chosen].item(epoch, index)


def active_rms(x: Signal, sample_rate: int) -> float:
    """RMS over the 20 ms frames that lie within 35 dB of the loud ones (their 95th percentile)."""
    size = int(_FRAME_S * sample_rate)
    count = x.size // size
    if not count:
        return float(np.sqrt(np.mean(x * x))) if x.size else 0.0
    frames = x[: count * size].reshape(count, size)
    power = np.einsum("ij,ij->i", frames, frames) / size
    top = float(np.partition(power, int(0.95 * (count - 1)))[int(0.95 * (count - 1))])
    active = power[power > top * 10.0 ** (-_ACTIVE_DB / 10.0)]
    return float(np.sqrt(active.mean())) if active.size else 0.0


def _change_speed(x: Signal, speed: float) -> Signal:
    """Play ``x`` faster (above 1) or slower: pitch, formants and tempo move together."""
    import soxr

    return np.asarray(soxr.resample(x, round(1000 * speed), 1000, quality="LQ"), np.float32)
