"""Scores for enhanced speech, and the run that fills a table with them.

::

    from unmuffle.evaluate import METRICS, evaluate_pairs, find_pairs, summarise, to_markdown

    METRICS["pesq_wb"](enhanced, 16000, reference=clean)                  # one number
    rows = evaluate_pairs(find_pairs("clean", "noisy").pairs, enhance=f)  # one row per file
    print(to_markdown(summarise(rows, by=["snr_db"])))

Every metric is a module of its own: formula, variant and version, range, when it misleads, paper.

=======================  ============================================================  =========  =======
module                   what                                                          reference  extra
=======================  ============================================================  =========  =======
``snr``                  SNR and its gain over the noisy file                          yes
``si_sdr``               SI-SDR (SI-SNR) and its gain                                  yes
``seg_snr``              segmental SNR, plain and frequency-weighted                   yes
``pesq``                 PESQ wide band (P.862.2) and narrow band                      yes        pesq
``stoi``                 STOI and extended STOI                                        yes        metrics
``composite``            CSIG, CBAK, COVL of Hu & Loizou                               yes        pesq
``llr``, ``wss``         what the composites are made of                               yes
``lsd``                  log-spectral distance                                         yes
``spectral_distortion``  distance of the all-pole envelopes                            yes
``cepstral_distance``    the same, by cepstra                                          yes
``speech_loss``          speech that was taken away                                    yes
``noise_floor``          level in the pauses                                           yes
``musical_noise``        how tonal the residual noise became (log-kurtosis ratio)      and noisy
``dnsmos``               DNSMOS P.835 and P.808                                        no         dnsmos
``srmr``                 speech-to-reverberation modulation ratio, in a form of ours   no
``rooms``                T60, EDT, DRR, C50 of a room response; SRR of signals        a response
``clipping``             share of samples on a flat ceiling                            no
``dynamic_range``        loud against quiet moments                                    no
=======================  ============================================================  =========  =======

``registry`` is the table of all of them; ``pairs`` finds files that belong together; ``runner`` scores them;
``bootstrap`` and ``summary`` make the tables. ``_inputs`` holds the checks, ``_frames``, ``_spectra`` and
``_pauses`` what several metrics share.

Conventions: one channel, samples in [-1, 1], reference first, sample rate last and explicit. Metrics do
not align: `unmuffle.signal.align` does, and the runner calls it. A wrong input is a named error, never a
number; NaN is returned only where a docstring says so.
"""

from .bootstrap import Interval, mean_interval
from .pairs import Pair, Pairing, find_pairs
from .registry import DEFAULT, METRICS, Metric, score, select
from .runner import Row, evaluate_pairs
from .summary import summarise, to_markdown, write_csv, write_json

__all__ = [
    "DEFAULT",
    "METRICS",
    "Interval",
    "Metric",
    "Pair",
    "Pairing",
    "Row",
    "evaluate_pairs",
    "find_pairs",
    "mean_interval",
    "score",
    "select",
    "summarise",
    "to_markdown",
    "write_csv",
    "write_json",
]
