"""Dereverberation: taking the room off a voice.

===============  ========================================================  ===========  ==========
method           how                                                       microphones  latency
===============  ========================================================  ===========  ==========
``wpe``          predicts the late sound and subtracts it, recursively     1 to 64      30 ms
``wpe-batch``    the same for a whole recording, iteratively               1 to 64      unbounded
``late-reverb``  turns down what is mostly late reverberation              1 (linked)   24 ms
===============  ========================================================  ===========  ==========

With two microphones or more take ``wpe``; with one, either of the streaming methods helps a little
(``bench/dereverb.py`` measures by how much). :mod:`.prediction` holds the formula and the conventions
of all WPE forms, :mod:`.decay` the blind estimate of the reverberation time, :mod:`.high_band`
what happens above 8 kHz.
"""
