"""Repair: damage that has a known form is found and undone; levels are set.

``declip``     tops of the waveform that were cut off     sparsity, 76 ms
``declick``    clicks and pops up to 2 ms                 linear prediction, 16 ms
``dehum``      mains hum and its harmonics                subtraction of lines, no latency
``detone``     steady tones: whistles, beeps, feedback    subtraction of lines, 24 ms
``dewind``     wind and rumble                            moving high-pass, 24 ms
``low_cut``    rumble and DC                              fixed high-pass, no latency
``limiter``    true peaks above a ceiling                 look-ahead gain, 5 ms
``normalise``  loudness of a whole file (EBU R 128)       two passes, unbounded
``agc``        level of a talker in a stream              slow gain, 10 ms

A sensible order is declip, declick, dehum, detone, dewind or low-cut, then noise reduction, then levels:
each of the first three needs the damage in the form in which it happened.
"""
