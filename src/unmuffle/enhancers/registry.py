"""Which enhancers there are: one literal table, and how to make one of them by name.

Nothing is registered by import. A third party adds methods through the entry-point group
``unmuffle.enhancers`` (``name = "package.module:Class"``); it may not shadow a name of ours.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

from ..errors import MissingExtraError, ParameterError, UnknownMethodError
from . import params
from .base import Enhancer

GROUP = "unmuffle.enhancers"


@dataclass(frozen=True)
class Entry:
    """One line of the registry.

    Attributes:
        where: ``module:Class``; a module that starts with a dot is one of ours.
        summary: what it does, in a line.
        family: the folder it lives in.
        extra: the optional dependency group it needs, or "".
        causal: answers within a bounded latency.
        gain_db: SI-SDR that it adds, at least, to the bundled recording (for repair: to that recording
            with the damage it repairs); ``None`` where raising the SI-SDR is not its job.
        clean_db: SI-SDR, at least, that clean speech keeps when it passes through.
        noise_db: level by which it lowers noise without speech, at least, once it has settled.
        scales: louder input gives louder output by as much (false for loudness and gain control).
        channels: fewest channels that it takes; more than 1 for methods with a reference.
    """

    where: str
    summary: str
    family: str
    extra: str = ""
    causal: bool = True
    gain_db: float | None = None
    clean_db: float = 10.0
    noise_db: float = 0.0
    scales: bool = True
    channels: int = 1


REGISTRY: dict[str, Entry] = {
    "identity": Entry(".compose:Identity", "gives the input back unchanged", "basic", clean_db=100.0),
    "classic": Entry(
        ".spectral.classic:Classic",
        "the best untrained setting: cepstral SNR, super-Gaussian",
        "spectral",
        gain_db=3.0,
        clean_db=13.0,
        noise_db=7.0,
    ),
    "spectral-subtraction": Entry(
        ".spectral.subtraction:SpectralSubtraction",
        "subtracts the noise spectrum (Boll, Berouti)",
        "spectral",
        gain_db=3.5,
        clean_db=15.0,
        noise_db=7.0,
    ),
    "multiband": Entry(
        ".spectral.multiband:Multiband",
        "subtracts band by band (Kamath & Loizou)",
        "spectral",
        gain_db=3.3,
        clean_db=14.0,
        noise_db=8.5,
    ),
    "wiener": Entry(
        ".spectral.wiener:Wiener",
        "Wiener filter from the a-priori SNR",
        "spectral",
        gain_db=3.1,
        clean_db=13.5,
        noise_db=9.5,
    ),
    "wiener-gamma": Entry(
        ".spectral.wiener:WienerGamma",
        "Wiener filter from the a-posteriori SNR",
        "spectral",
        gain_db=3.9,
        clean_db=16.5,
        noise_db=5.0,
    ),
    "parametric-wiener": Entry(
        ".spectral.wiener:ParametricWiener",
        "Wiener filter with strength and exponent",
        "spectral",
        gain_db=4.2,
        clean_db=17.0,
        noise_db=5.5,
    ),
    "mmse-stsa": Entry(
        ".spectral.mmse_stsa:MmseStsa",
        "amplitude estimator (Ephraim & Malah 1984)",
        "spectral",
        gain_db=3.5,
        clean_db=15.0,
        noise_db=8.0,
    ),
    "log-mmse": Entry(
        ".spectral.log_mmse:LogMmse",
        "log-amplitude estimator (Ephraim & Malah 1985)",
        "spectral",
        gain_db=3.3,
        clean_db=14.0,
        noise_db=9.0,
    ),
    "omlsa": Entry(
        ".spectral.omlsa:Omlsa",
        "log-amplitude with speech presence (Cohen)",
        "spectral",
        gain_db=3.1,
        clean_db=13.5,
        noise_db=11.0,
    ),
    "mosie": Entry(
        ".spectral.mosie:Mosie",
        "amplitude estimator with a super-Gaussian prior",
        "spectral",
        gain_db=3.6,
        clean_db=14.0,
        noise_db=9.0,
    ),
    "live": Entry(
        ".neural.live:Live",
        "trained network: 20 ms, any rate, stereo linked",
        "neural",
        gain_db=5.0,
        clean_db=20.0,
        noise_db=30.0,
    ),
    "live-low": Entry(
        ".neural.live:LiveLow",
        "trained network for hearing aids and musicians: 8 ms, any rate, stereo linked",
        "neural",
        gain_db=4.5,
        clean_db=19.0,
        noise_db=25.0,
    ),
    "tiny": Entry(
        ".neural.tiny:Tiny",
        "very small trained network: 97 kB, 20 ms, any rate",
        "neural",
        gain_db=4.6,
        clean_db=18.0,
        noise_db=20.0,
    ),
    "declip": Entry(
        ".repair.declip:Declip",
        "rebuilds clipped tops by sparsity (A-SPADE)",
        "repair",
        gain_db=10.0,
        clean_db=100.0,
    ),
    "declick": Entry(
        ".repair.declick:Declick",
        "finds clicks by prediction and interpolates them",
        "repair",
        gain_db=9.0,
        clean_db=45.0,
    ),
    "dehum": Entry(
        ".repair.dehum:Dehum", "finds, follows and subtracts mains hum", "repair", gain_db=10.0, clean_db=35.0
    ),
    "detone": Entry(
        ".repair.detone:Detone",
        "follows steady tones (whistles, beeps, feedback) and subtracts them",
        "repair",
        gain_db=8.0,
        clean_db=25.0,
    ),
    "dewind": Entry(
        ".repair.dewind:Dewind",
        "high-pass that follows wind and rumble",
        "repair",
        gain_db=15.0,
        clean_db=25.0,
    ),
    "low-cut": Entry(
        ".repair.low_cut:LowCut", "Butterworth high-pass without latency", "repair", gain_db=6.0, clean_db=8.0
    ),
    "wpe": Entry(
        ".dereverb.wpe:Wpe",
        "subtracts predicted reverberation, streaming (RLS)",
        "dereverb",
        gain_db=2.2,
        clean_db=13.0,
        noise_db=0.1,
    ),
    "wpe-batch": Entry(
        ".dereverb.wpe_batch:WpeBatch",
        "subtracts predicted reverberation of a file (WPE)",
        "dereverb",
        causal=False,
        gain_db=2.0,
        clean_db=24.0,
    ),
    "late-reverb": Entry(
        ".dereverb.late_reverb:LateReverb",
        "turns late reverberation down (Lebart, Habets)",
        "dereverb",
        gain_db=1.7,
        clean_db=25.0,
        noise_db=0.7,
    ),
    "delay-and-sum": Entry(
        ".spatial.delay_and_sum:DelayAndSum", "averages microphones turned to one phase", "spatial", clean_db=100.0
    ),
    "superdirective": Entry(
        ".spatial.superdirective:Superdirective", "the narrowest fixed beam of an array", "spatial", clean_db=100.0
    ),
    "gsc": Entry(".spatial.gsc:Gsc", "adaptive beam without matrices (Griffiths, Jim)", "spatial", clean_db=100.0),
    "lcmv": Entry(".spatial.lcmv:Lcmv", "keeps one direction and nulls others (Frost)", "spatial", clean_db=100.0),
    "mvdr": Entry(
        ".spatial.mvdr:Mvdr", "least noise, voice untouched; masks, no geometry (Souden)", "spatial", clean_db=100.0
    ),
    "gev": Entry(".spatial.gev:Gev", "best ratio of voice to noise, normalised", "spatial", clean_db=100.0),
    "mwf": Entry(".spatial.mwf:Mwf", "multichannel Wiener filter", "spatial", clean_db=100.0),
    "neural-beamformer": Entry(
        ".spatial.neural_beamformer:NeuralBeamformer",
        "MVDR from masks of a network trained through it",
        "spatial",
        clean_db=100.0,
    ),
    "meeting": Entry(
        ".meeting:Meeting",
        "a voice in a room: WPE, beamformer, post-filter",
        "spatial",
        gain_db=2.0,
        clean_db=10.0,
        noise_db=5.0,
    ),
    "mask-mvdr": Entry(
        ".spatial.batch:BatchBeamformer",
        "MVDR for a whole recording, masks by EM (CGMM)",
        "spatial",
        causal=False,
        clean_db=100.0,
    ),
    "echo-canceller": Entry(
        ".echo.canceller:EchoCanceller",
        "takes a loudspeaker's echo out of microphones (last channel: its signal)",
        "echo",
        clean_db=100.0,
        channels=2,
    ),
    "phone": Entry(
        ".phone.level_difference:PhoneNoise",
        "two microphones of a phone: noise by the level difference",
        "phone",
        clean_db=30.0,
        noise_db=10.0,
        channels=2,
    ),
    "limiter": Entry(
        ".repair.limiter:Limiter", "look-ahead true-peak limiter", "repair", clean_db=20.0, scales=False
    ),
    "loudness": Entry(
        ".repair.normalise:Loudness",
        "EBU R 128 normalisation of a file",
        "repair",
        causal=False,
        scales=False,
    ),
    "agc": Entry(".repair.agc:Agc", "slow, speech-gated automatic gain", "repair", scales=False),
    "kalman": Entry(
        ".kalman.ar:Kalman",
        "Kalman filter, AR speech in white or AR noise (Paliwal & Basu, Gibson)",
        "kalman",
        extra="kalman",
        gain_db=3.6,
        clean_db=7.0,
        noise_db=9.0,
    ),
    "kalman-fast": Entry(
        ".kalman.fast:KalmanFast",
        "Kalman filter with a gain frozen within each hop",
        "kalman",
        extra="kalman",
        gain_db=3.6,
        clean_db=8.5,
        noise_db=9.0,
    ),
    "kalman-vb": Entry(
        ".kalman.variational:KalmanVb",
        "Kalman filter that adapts the noise variance (variational Bayes)",
        "kalman",
        extra="kalman",
        gain_db=3.6,
        clean_db=7.0,
        noise_db=9.0,
    ),
    "kalman-ekf": Entry(
        ".kalman.extended:KalmanEkf",
        "samples and AR coefficients jointly, linearised",
        "kalman",
        extra="kalman",
        gain_db=3.0,
        clean_db=9.0,
        noise_db=8.0,
    ),
    "kalman-ukf": Entry(
        ".kalman.unscented:KalmanUkf",
        "samples and AR coefficients jointly, sigma points",
        "kalman",
        extra="kalman",
        gain_db=2.6,
        clean_db=9.0,
        noise_db=6.5,
    ),
    "kalman-subband": Entry(
        ".kalman.subband:KalmanSubband",
        "a small complex Kalman filter in each bin of an STFT",
        "kalman",
        extra="kalman",
        gain_db=3.4,
        clean_db=7.0,
        noise_db=11.0,
    ),
}

MODEL = "model"
"""Name under which a network file of one's own is loaded: ``load("model", path="mine.onnx")``. It is not in the
table, as it can do nothing without a file."""

_FILE = Entry(".neural.network:NeuralEnhancer", "runs a network file: path=FILE.onnx", "neural")

DEFAULT = "classic"
"""What ``method="auto"`` means."""


def names() -> list[str]:
    """Names of all enhancers, ours first, then those of installed third parties."""
    return [*REGISTRY, *_third_party()]


def entry(name: str) -> Entry:
    """The registry's line for a name (``auto`` is the default method).

    Raises:
        UnknownMethodError: no such method; the message names the nearest one.
    """
    name = DEFAULT if name == "auto" else name
    found = _FILE if name == MODEL else REGISTRY.get(name) or _third_party().get(name)
    if found is None:
        near = difflib.get_close_matches(str(name), names(), 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise UnknownMethodError(f"no method is called {name!r}{hint}; `unmuffle methods` lists them all")
    return found


def kind(name: str) -> type[Enhancer]:
    """The class behind a name; imports it.

    Raises:
        UnknownMethodError: no such method.
        MissingExtraError: the method needs an optional package.
    """
    line = entry(name)
    module, _, attribute = line.where.partition(":")
    try:
        found = getattr(import_module(module, __package__), attribute)
    except ModuleNotFoundError as error:
        if line.extra and (error.name or "").split(".")[0] != "unmuffle":
            raise MissingExtraError(f"method {name!r}", line.extra) from None
        raise
    if not (isinstance(found, type) and issubclass(found, Enhancer)):
        raise ParameterError(f"{line.where} is not an Enhancer")
    return found


def load(name: str = "auto", /, **values: Any) -> Enhancer:
    """Make an enhancer by name, with parameters; a network file of one's own is ``load("model", path="mine.onnx")``.

    >>> load("identity").stream(16000).latency_samples
    0

    Raises:
        UnknownMethodError, UnknownParameterError, ParameterError, MissingExtraError.
        ModelError: a network file that is missing, broken, foreign or does not fit.
    """
    return params.build(kind(name), values, name)


def from_dict(table: dict[str, Any]) -> Enhancer:
    """Make an enhancer from what ``Enhancer.to_dict`` gave."""
    from .compose import AtRate, Chain, MidSide, PerChannel

    rest = dict(table)
    name = rest.pop("method", "auto")
    if not isinstance(name, str):
        raise ParameterError(f"method = {name!r} is not a name")
    if name == Chain.name:
        stages = rest.pop("stages", [])
        if rest or not isinstance(stages, list) or not all(isinstance(s, dict) for s in stages):
            raise ParameterError('a chain has nothing but "stages", an array of tables')
        return Chain(tuple(from_dict(s) for s in stages))
    wrappers: dict[str, type[Any]] = {w.name: w for w in (AtRate, MidSide, PerChannel)}
    if name in wrappers:
        inner = rest.pop("inner", None)
        if not isinstance(inner, dict) or set(rest) - {"inner_rate", "high_band_db"}:
            raise ParameterError(f'{name} needs a table "inner"; got {sorted(table)}')
        wrapped: Enhancer = wrappers[name](from_dict(inner), **rest)
        return wrapped
    return load(name, **rest)


def from_toml(text: str) -> Enhancer:
    """Make an enhancer from TOML: ``method = "name"`` and its parameters, or ``[[stages]]`` of a chain."""
    return from_dict(params.from_toml(text))


@lru_cache(maxsize=1)
def _third_party() -> dict[str, Entry]:
    from importlib.metadata import entry_points

    found: dict[str, Entry] = {}
    for point in entry_points(group=GROUP):
        if point.name in REGISTRY or point.name == MODEL:
            raise ParameterError(
                f"the installed package behind {point.value!r} calls its method {point.name!r}, "
                "which is one of ours; it must choose another name"
            )
        found[point.name] = Entry(point.value, f"third party: {point.value}", "third party")
    return found
