"""Microphone arrays: one voice out of several microphones.

=====================  ====================================================  =========  =================
method                 how                                                   geometry   latency
=====================  ====================================================  =========  =================
``delay-and-sum``      turns the microphones to one phase, averages          yes        48 ms
``superdirective``     the narrowest fixed beam                              yes        48 ms
``gsc``                delay-and-sum, and an adaptive filter on the rest     yes        48 ms
``lcmv``               keeps one direction, nulls others                     yes        48 ms
``mvdr``               least noise, the voice untouched; follows masks       no         48 ms
``gev``                best ratio of voice to noise                          no         48 ms
``mwf``                Wiener filter with a weight on speech distortion      no         48 ms
``mask-mvdr``          MVDR for a whole recording, masks by EM               no         unbounded
=====================  ====================================================  =========  =================

In a room, take ``mvdr`` (streaming) or ``mask-mvdr`` (files): the steering vector of a direction is only the direct
sound, and what follows masks learns the room as well (``bench/arrays.py`` measures by how much).

:mod:`.algebra` holds the conventions, :mod:`.beamformer` what runs them all, :mod:`..masks`, :mod:`.cgmm` and
:mod:`.tracking` where covariances come from, :mod:`.transfer` the steering vector that a room really has,
:mod:`.reference` the choice of a microphone, :mod:`.postfilter` what comes behind, :mod:`.measures` what a beam is
worth.
"""
