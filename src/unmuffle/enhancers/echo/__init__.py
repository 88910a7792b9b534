"""Methods with a reference of what is to be removed: the loudspeaker's signal, recorded as a channel of its own.

``canceller``   acoustic echo, by a partitioned-block frequency-domain Kalman filter
"""
