"""DNSMOS: opinion scores predicted by networks, without a reference.

* P.835 (`dnsmos`): SIG, BAK, OVRL, each 1 to 5 (speech, background, overall; ITU-T P.835). Reddy, Gopal &
  Cutler, "DNSMOS P.835", ICASSP 2022.
* P.808 (``p808`` of the same answer): one overall score, 1 to 5 (ITU-T P.808). Reddy, Gopal & Cutler,
  "DNSMOS", ICASSP 2021.

The weights are the ONNX files inside the PyPI package ``speechmos`` (0.0.1.1, Microsoft); only the
files are used. The package's own code needs librosa, requests, tqdm and pandas; here the features are
computed in numpy and agree with it (tests hold its numbers). Nothing is downloaded.

Procedure of the package: 16 kHz; a clip shorter than 9.01 s is appended to itself (doubling) until it is
long enough; windows of 9.01 s start every second, ``int(floor(seconds) - 9.01) + 1`` of them; each P.835
output goes through the published polynomial; scores are means over the windows. The P.808 network sees 120
mel bands (Slaney) of 20 ms frames in dB below the window's maximum, ``(dB + 40) / 40``.

Limits: trained on 16 kHz English near-end speech of the DNS challenges. The level matters: it hears what
listeners heard. Samples beyond full scale are clipped, as a file would. A wrong but clean voice scores
well: read it beside a metric that has a reference. Other rates are resampled by soxr; 8 kHz speech has an
empty upper half and is marked down. About 0.2 s of one core
for every window.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..enhancers.neural.runtime import onnx_runtime
from ..errors import MissingExtraError, ModelError, ParameterError
from ._inputs import Signal, rate, signal, to_rate

_RATE = 16000
_WINDOW = 144160  # 9.01 s
_SHORTEST_S = 0.1
POLYNOMIALS = {
    "generic": {
        "sig": [-0.08397278, 1.22083953, 0.0052439],
        "bak": [-0.13166888, 1.60915514, -0.39604546],
        "ovrl": [-0.06766283, 1.11546468, 0.04602535],
    },
    "personalized": {
        "sig": [-0.01019296, 0.02751166, 1.19576786, -0.24348726],
        "bak": [-0.04976499, 0.44276479, -0.1644611, 0.96883132],
        "ovrl": [-0.00533021, 0.005101, 1.18058466, -0.11236046],
    },
}
"""Published mappings from network output to opinion score, highest power first."""
_FILES = {
    "generic": "dnsmos_models/sig_bak_ovr.onnx",
    "personalized": "pdnsmos_models/sig_bak_ovr.onnx",
    "p808": "dnsmos_models/model_v8.onnx",
}


class Dnsmos(NamedTuple):
    """Predicted opinion scores, 1 (bad) to 5 (excellent)."""

    sig: float
    bak: float
    ovrl: float
    p808: float


def dnsmos(degraded: ArrayLike, sample_rate: int, *, model: Literal["generic", "personalized"] = "generic") -> Dnsmos:
    """DNSMOS P.835 and P.808 scores; ``personalized`` also marks other talkers as background."""
    if model not in POLYNOMIALS:
        raise ParameterError(f"model is {model!r}; choose 'generic' or 'personalized'")
    sample_rate = rate(sample_rate)
    y = signal(degraded, "degraded", at_least=int(_SHORTEST_S * sample_rate), allow_silence=False)
    y = np.clip(to_rate(y, sample_rate, _RATE), -1.0, 1.0)
    while y.size < _WINDOW:
        y = np.concatenate((y, y))
    rows = []
    for k in range(int(y.size // _RATE - _WINDOW / _RATE) + 1):
        window = y[k * _RATE : k * _RATE + _WINDOW]
        if window.size < _WINDOW:
            break
        raw = _run(model, window.astype(np.float32)[None, :])
        p808 = _run("p808", mel_features(window[:-160])[None, :, :])
        mapped = [np.polyval(POLYNOMIALS[model][n], raw[0][i]) for i, n in enumerate(("sig", "bak", "ovrl"))]
        rows.append([*mapped, p808[0][0]])
    return Dnsmos(*(float(v) for v in np.mean(np.asarray(rows, dtype=np.float64), axis=0)))


def _run(name: str, x: Any) -> Any:
    return session(name).run(None, {"input_1": x})[0]


@lru_cache(maxsize=4)
def session(name: str) -> Any:
    """The ONNX session of one of the networks, on one thread; loaded once per process."""
    path = network_file(name)
    onnxruntime = onnx_runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def network_file(name: str) -> Path:
    """Where ``speechmos`` has one of the networks: "generic", "personalized" or "p808".

    Raises:
        MissingExtraError: it is not installed.
        ModelError: it is, without the file.
    """
    spec = importlib.util.find_spec("speechmos")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("DNSMOS", "dnsmos")
    path = Path(next(iter(spec.submodule_search_locations))) / _FILES[name]
    if not path.is_file():
        raise ModelError(f"{path} is missing; reinstall: pip install --force-reinstall speechmos")
    return path


def mel_features(x: Signal) -> Any:
    """What the P.808 network hears: ``(900, 120)`` float32 for 144000 samples.

    Frames of 321 samples (periodic Hann) every 160, centred with zeros beyond the ends.
    """
    size, hop = 321, 160
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(size) / size)
    padded = np.pad(x.astype(np.float32).astype(np.float64), size // 2)
    views = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    power = np.abs(np.fft.rfft(views * window, axis=1)) ** 2
    mel = np.maximum(power @ mel_filters().T, 1e-10)
    level = 10.0 * np.log10(mel)
    level = np.maximum(level - level.max(), -80.0)
    return ((level + 40.0) / 40.0).astype(np.float32)


@lru_cache(maxsize=1)
def mel_filters() -> Signal:
    """Slaney's mel bands ``(120, 161)``, 0 to 8 kHz: linear to 1 kHz, then 27 per factor of 6.4; area 1."""
    edges_mel = np.linspace(0.0, 15.0 + 27.0 * np.log(8.0) / np.log(6.4), 122)
    edges = np.where(edges_mel < 15.0, edges_mel * 200.0 / 3.0, 1000.0 * 6.4 ** ((edges_mel - 15.0) / 27.0))
    bins = np.arange(161) * (_RATE / 321)
    low, mid, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.maximum(0.0, np.minimum((bins - low) / (mid - low), (high - bins) / (high - mid)))
    return np.asarray(triangles * 2.0 / (high - low))
