"""The table of metrics: name -> what to call, what it needs, how to read it.

>>> METRICS["si_sdr"].unit, METRICS["si_sdr"].needs
('dB', ('reference', 'degraded'))
>>> METRICS["pesq_wb"].extra
'pesq'
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import ArrayLike

from ..errors import MissingExtraError, ParameterError, UnmuffleError
from . import composite as _composite
from . import dnsmos as _dnsmos
from . import pesq as _pesq
from . import seg_snr as _seg_snr
from . import si_sdr as _si_sdr
from . import snr as _snr
from . import stoi as _stoi
from .cepstral_distance import cepstral_distance
from .clipping import clipping
from .dynamic_range import dynamic_range
from .llr import llr
from .lsd import lsd
from .musical_noise import musical_noise
from .noise_floor import noise_floor
from .rooms import SRR_RANGE_DB, srr
from .spectral_distortion import spectral_distortion
from .speech_loss import speech_loss
from .srmr import srmr
from .wss import wss

Signals = Literal["reference", "noisy", "degraded"]


@dataclass(frozen=True)
class Metric:
    """One row of the table. Call it as ``metric(degraded, sample_rate, reference=..., noisy=...)``."""

    name: str
    function: Callable[..., Any]
    needs: tuple[Signals, ...]
    """Signals that the function takes, in its order; the sample rate comes last."""
    unit: str
    higher_is_better: bool | None
    """``None``: neither end is good as such, or 0 is best on both sides."""
    range: tuple[float, float]
    extra: str | None = None
    """The optional part of unmuffle that has to be installed."""
    field: str | None = None
    """Which field of the function's answer; several metrics share one call."""
    decimals: int = 2

    @property
    def needs_reference(self) -> bool:
        """Whether the clean signal is needed."""
        return "reference" in self.needs

    @property
    def needs_noisy(self) -> bool:
        """Whether the unprocessed signal is needed."""
        return "noisy" in self.needs

    def __call__(
        self,
        degraded: ArrayLike,
        sample_rate: int,
        *,
        reference: ArrayLike | None = None,
        noisy: ArrayLike | None = None,
    ) -> float:
        """The score as a float; NaN where the metric's docstring says so."""
        signals = {"reference": reference, "noisy": noisy, "degraded": degraded}
        missing = [name for name in self.needs if signals[name] is None]
        if missing:
            raise ParameterError(f"metric {self.name} needs the {' and the '.join(missing)} signal")
        answer = self.function(*(signals[name] for name in self.needs), sample_rate)
        return float(answer if self.field is None else getattr(answer, self.field))


_PAIR: tuple[Signals, ...] = ("reference", "degraded")
_ALL: tuple[Signals, ...] = ("reference", "noisy", "degraded")
_ALONE: tuple[Signals, ...] = ("degraded",)
_DB = (-150.0, 150.0)
_MOS = (1.0, 5.0)

METRICS: Mapping[str, Metric] = {
    m.name: m
    for m in (
        Metric("pesq_wb", _pesq.pesq_wb, _PAIR, "MOS-LQO", True, (1.0, 4.65), "pesq", decimals=3),
        Metric("pesq_nb", _pesq.pesq_nb, _PAIR, "MOS-LQO", True, (1.0, 4.56), "pesq", decimals=3),
        Metric("stoi", _stoi.stoi, _PAIR, "", True, (-1.0, 1.0), "metrics", decimals=3),
        Metric("estoi", _stoi.estoi, _PAIR, "", True, (-1.0, 1.0), "metrics", decimals=3),
        Metric("si_sdr", _si_sdr.si_sdr, _PAIR, "dB", True, _DB),
        Metric("delta_si_sdr", _si_sdr.delta_si_sdr, _ALL, "dB", True, (-300.0, 300.0)),
        Metric("snr", _snr.snr, _PAIR, "dB", True, _DB),
        Metric("delta_snr", _snr.delta_snr, _ALL, "dB", True, (-300.0, 300.0)),
        Metric("seg_snr", _seg_snr.seg_snr, _PAIR, "dB", True, (-10.0, 35.0)),
        Metric("fwseg_snr", _seg_snr.fwseg_snr, _PAIR, "dB", True, (-10.0, 35.0)),
        Metric("csig", _composite.composite, _PAIR, "MOS", True, _MOS, "pesq", "csig", decimals=3),
        Metric("cbak", _composite.composite, _PAIR, "MOS", True, _MOS, "pesq", "cbak", decimals=3),
        Metric("covl", _composite.composite, _PAIR, "MOS", True, _MOS, "pesq", "covl", decimals=3),
        Metric("llr", llr, _PAIR, "", False, (0.0, 2.0), decimals=3),
        Metric("wss", wss, _PAIR, "", False, (0.0, math.inf)),
        Metric("lsd", lsd, _PAIR, "dB", False, (0.0, math.inf)),
        Metric("spectral_distortion", spectral_distortion, _PAIR, "dB", False, (0.0, math.inf)),
        Metric("cepstral_distance", cepstral_distance, _PAIR, "dB", False, (0.0, 10.0)),
        Metric("speech_loss", speech_loss, _PAIR, "dB", False, (0.0, 60.0)),
        Metric("noise_floor", noise_floor, _PAIR, "dBFS", False, (-120.0, 60.0)),
        Metric("musical_noise", musical_noise, _ALL, "", None, (-math.inf, math.inf)),
        Metric("dnsmos_sig", _dnsmos.dnsmos, _ALONE, "MOS", True, _MOS, "dnsmos", "sig", decimals=3),
        Metric("dnsmos_bak", _dnsmos.dnsmos, _ALONE, "MOS", True, _MOS, "dnsmos", "bak", decimals=3),
        Metric("dnsmos_ovrl", _dnsmos.dnsmos, _ALONE, "MOS", True, _MOS, "dnsmos", "ovrl", decimals=3),
        Metric("dnsmos_p808", _dnsmos.dnsmos, _ALONE, "MOS", True, _MOS, "dnsmos", "p808", decimals=3),
        Metric("srr", srr, _PAIR, "dB", True, SRR_RANGE_DB),
        Metric("srmr", srmr, _ALONE, "", True, (0.0, math.inf)),
        Metric("clipping", clipping, _ALONE, "", False, (0.0, 1.0), decimals=4),
        Metric("dynamic_range", dynamic_range, _ALONE, "dB", None, (0.0, 170.0)),
    )
}
"""Every metric by name."""

DEFAULT = ("pesq_wb", "stoi", "estoi", "si_sdr", "covl", "dnsmos_ovrl")
"""What the published comparisons of enhancers show."""


def select(names: Iterable[str] | None = None) -> tuple[Metric, ...]:
    """Metrics by name, in the order given and without repeats; ``"all"`` stands for every one.

    An unknown name is a `ParameterError` that lists the known ones.
    """
    wanted: dict[str, Metric] = {}
    for name in DEFAULT if names is None else names:
        if name == "all":
            wanted.update(METRICS)
        elif name in METRICS:
            wanted[name] = METRICS[name]
        else:
            raise ParameterError(f"no metric is called {name!r}; known are {', '.join(METRICS)}, all")
    if not wanted:
        raise ParameterError("no metric chosen; name at least one, or 'all'")
    return tuple(wanted.values())


def score(
    metrics: Iterable[Metric],
    degraded: ArrayLike,
    sample_rate: int,
    *,
    reference: ArrayLike | None = None,
    noisy: ArrayLike | None = None,
) -> tuple[dict[str, float], dict[str, str]]:
    """Many metrics on one file: values by name, and the reason for every metric that could not answer.

    Functions that serve several metrics are called once. A metric that refuses the input (silence, too
    short, wrong rate) gets NaN and its message; a missing package is raised, since it would fail for every
    file.
    """
    signals = {"reference": reference, "noisy": noisy, "degraded": degraded}
    answers: dict[Callable[..., Any], Any] = {}
    values: dict[str, float] = {}
    problems: dict[str, str] = {}
    for metric in metrics:
        absent = [name for name in metric.needs if signals[name] is None]
        if absent:
            values[metric.name], problems[metric.name] = math.nan, f"no {' and no '.join(absent)} signal"
            continue
        if metric.function not in answers:
            try:
                arguments = [signals[name] for name in metric.needs]
                answers[metric.function] = metric.function(*arguments, sample_rate)
            except MissingExtraError:
                raise
            except UnmuffleError as error:
                answers[metric.function] = error
        answer = answers[metric.function]
        if isinstance(answer, UnmuffleError):
            values[metric.name], problems[metric.name] = math.nan, str(answer)
        else:
            values[metric.name] = float(answer if metric.field is None else getattr(answer, metric.field))
    return values, problems
