"""Every error that unmuffle raises on purpose, in one tree.

::

    UnmuffleError
    ├── InputError            the samples handed in cannot be used          (also a ValueError)
    │   ├── ShapeError        not (samples,) or (channels, samples)
    │   ├── DtypeError        not a floating-point array
    │   ├── NonFiniteError    NaN or infinity among the samples
    │   └── SampleRateError   outside 8..192 kHz, or not the stream's
    ├── ParameterError        a parameter or option has no meaning           (also a ValueError)
    │   ├── UnknownMethodError
    │   └── UnknownParameterError
    ├── StreamError           a stream is used in a way its contract excludes
    │   └── UnboundedLatencyError   the method needs the whole signal
    ├── MediaError            a file cannot be read or written               (exit code 3)
    │   ├── MediaNotFoundError
    │   ├── NotAudioError     no audio inside, or not a media file
    │   ├── TruncatedError    the file ends before it should
    │   └── OutputError       the result cannot be written
    ├── DeviceError           a sound device is missing, refuses, or has gone      (exit code 3)
    ├── ModelError            a network file is broken, foreign or does not fit
    └── MissingExtraError     an optional part is not installed              (also an ImportError)

Each message names the value that was wrong and the way out of it.
"""

from __future__ import annotations


class UnmuffleError(Exception):
    """Base of every error that unmuffle raises on purpose."""


class InputError(UnmuffleError, ValueError):
    """The samples handed in cannot be used."""


class ShapeError(InputError):
    """The array is neither ``(samples,)`` nor ``(channels, samples)``."""


class DtypeError(InputError):
    """The array does not hold floating-point samples."""


class NonFiniteError(InputError):
    """The array holds NaN or infinity."""


class SampleRateError(InputError):
    """The sample rate lies outside 8..192 kHz, or differs from the stream's."""


class ParameterError(UnmuffleError, ValueError):
    """A parameter or option has no meaning."""


class UnknownMethodError(ParameterError):
    """No enhancer has that name."""


class UnknownParameterError(ParameterError):
    """The enhancer has no parameter of that name."""


class StreamError(UnmuffleError):
    """A stream is used in a way that its contract excludes."""


class UnboundedLatencyError(StreamError):
    """The method needs the whole signal and cannot run in real time."""


class MediaError(UnmuffleError):
    """A media file cannot be read or written."""


class MediaNotFoundError(MediaError):
    """The file does not exist."""


class NotAudioError(MediaError):
    """The file is no media file, or has no audio in it."""


class TruncatedError(MediaError):
    """The file ends before it should."""


class OutputError(MediaError):
    """The result cannot be written."""


class DeviceError(UnmuffleError):
    """A sound device is missing, refuses what is asked of it, or has gone."""


class ModelError(UnmuffleError):
    """A network file is broken, foreign, or does not fit."""


class MissingExtraError(UnmuffleError, ImportError):
    """An optional part is not installed; the message holds the ``pip install`` line."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional package: run  pip install 'unmuffle[{extra}]'")
        self.extra = extra
