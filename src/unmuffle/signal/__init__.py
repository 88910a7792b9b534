"""Signal tools in plain numpy and scipy, one idea a file.

``blocks``      checking and queueing samples        ``stft``        frames and spectra, streamed
``resample``    other sample rates, exact delay      ``align``       how late one signal is
``bands``       ERB and Bark bands                   ``lpc``         linear prediction
``levels``      RMS, peak, active speech level       ``loudness``    EBU R128
``spectrum``    centroid, flatness, roll-off         ``covariance``  spatial covariances
``arrays``      where microphones are        ``steering``    waves at an array, diffuse noise
``gcc``         delay between two microphones ``channels``   dead, copied, turned, late channels
``direction``   where talkers are             ``tracking``    ... and where they go
``fxlms``       active noise control, simulated
``fractional``  delays of any size           ``toml``        reading TOML
"""
