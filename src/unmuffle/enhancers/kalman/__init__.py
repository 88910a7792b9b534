"""Kalman filters for speech: time-domain models instead of spectral gains. Needs the extra ``[kalman]``.

Speech is modelled as an autoregressive process whose coefficients change every 12 ms, the noise as
another; given both, the Kalman filter is the best linear estimate of each *sample* of the speech from
all that was heard so far and ``lag`` samples beyond. No frames are cut out of the signal and none are
overlapped, so there is no musical noise of the usual kind and little latency.

===================  =======================  =====================================================
:mod:`.ar`           ``kalman``               AR(p) speech in white or AR(q) noise, fixed-lag
                                              smoothing, re-estimation. **Start here.**
:mod:`.fast`         ``kalman-fast``          the same with a gain that is frozen once it has settled
:mod:`.variational`  ``kalman-vb``            the same with a noise variance found sample by sample
:mod:`.extended`     ``kalman-ekf``           samples and coefficients found jointly, linearised
:mod:`.unscented`    ``kalman-ukf``           the same with sigma points
:mod:`.subband`      ``kalman-subband``       a small complex filter in each bin of an STFT
===================  =======================  =====================================================

What they share
    :mod:`.framing` (frames, noise tracking, models per hop, sample rates), :mod:`.linear` and
    :mod:`.joint` (the two kinds of running filter), :mod:`.estimation` (AR models from noisy power
    spectra), :mod:`.recursion` (the recursions themselves, in square-root form), :mod:`..compiling` (their machine
    code: made once, by a process of its own).

What the state is not
    The state of these filters holds *samples* of speech, which the AR coefficients carry forward. A
    filter whose state is the vector of coefficients, and whose "output" is its first element, is
    found in tutorials; it enhances nothing.
"""
