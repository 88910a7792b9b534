"""Scores for enhanced speech, and the run that fills a table with them.

Every metric is a function ``metric(reference, degraded, sample_rate) -> float`` in a module of its own::

    snr.py si_sdr.py     pesq.py stoi.py
"""
