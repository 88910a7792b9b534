"""Microphone to output while you speak (extra ``live``): devices, the running session, its screen.

::

    devices -> session (engine.stream beside a sounddevice stream) -> view
                  |-- blocks     which block size, and when to take a larger one
                  '-- recorder   both sides to files, aligned

===========  ==================================================================================
devices      what there is, found by number or name; the only place that imports sounddevice
session      one running connection: controls, status, loss of the device, larger blocks
blocks       the block size that gives the smallest delay that this machine can keep
recorder     both sides to WAV files, aligned to the sample
measure      the device's own delay: a chirp out, a correlation on what comes back
keys, view   the terminal: single keys, and one screen that says all
fake         sound devices made of nothing: for tests, and for a look without a microphone
===========  ==================================================================================

Importing this package loads neither sounddevice nor rich.
"""
