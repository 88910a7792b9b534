"""Training networks, with torch (extra ``[train]``).

::

    stft      the torch twin of signal.stft, equal by test
    losses    distances between spectra and waveforms, and their weighted sum
    nets/     one network a file
    loop      configuration, training, checkpoints, logs
"""
