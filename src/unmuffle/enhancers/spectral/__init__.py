"""Spectral enhancers: a gain for every bin, from the ratio of the noisy power to the noise.

One method a file, each with its formula and its limits in the docstring; what they share (noise
tracking, SNR estimates, smoothing, streaming) is in :mod:`.suppressor`. Any noise tracker of
:mod:`unmuffle.noise` goes with any of them, and so does a measured noise profile.
"""
