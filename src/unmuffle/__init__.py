"""unmuffle: clear speech out of recordings that noise, rooms, clipping or bad microphones have damaged.

Three ways in::

    import unmuffle

    clean = unmuffle.enhance(noisy, sample_rate)              # an array
    unmuffle.enhance_file("interview.mp4", "clean.mp4")       # a file, sound or video
    stream = unmuffle.load("log-mmse").stream(48000)          # 10 ms at a time
    out = stream.process(block)

The map, in the direction in which imports go:

================  ==============================================================================
``errors``        every error there is, in one tree
``io``            media files and pipes in and out, block by block, written atomically
``signal``        STFT, resampling, bands, LPC, levels, loudness, alignment
``noise``         what the noise is: voice activity, noise trackers, SNR, speech presence
``enhancers``     the methods; ``base`` is the contract, ``registry`` the list
``engine``        arrays and files through an enhancer: channels, rates, loudness, residual
``cache``         results that were made before, on disk or in Redis
``live``          microphone to output while somebody speaks (extra ``live``)
``cli``           the command ``unmuffle``
``server``        files over HTTP and live streams over WebSocket (extra ``serve``)
``integrations``  Pipecat, LiveKit, aiortc, FastRTC: a file for each
----------------  ------------------------------------------------------------------------------
``degrade``       damage on purpose, seeded and recorded
``evaluate``      metrics, and their tables over whole folders
``quality``       watching streams and files: figures, drift, alerts, pass or fail, and a method to fall back to
``data``          recordings for training: manifests, packed pools, mixtures made on the fly
``train``         networks, losses and the training loop (extra ``train``)
``export``        trained weights to one ONNX graph with explicit state
================  ==============================================================================

Arrays are float32 in [-1, 1], ``(channels, samples)``; one-dimensional ones are mono. Importing this
package loads neither torch nor onnxruntime nor matplotlib; names below are loaded when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_EXPORTS = {
    "enhance": ".engine.arrays",
    "enhance_file": ".engine.files",
    "load": ".enhancers.registry",
    "Chain": ".enhancers.compose",
    "Enhancer": ".enhancers.base",
    "Stream": ".enhancers.base",
    "UnmuffleError": ".errors",
}
__all__ = ["Chain", "Enhancer", "Stream", "UnmuffleError", "__version__", "enhance", "enhance_file", "load"]

if TYPE_CHECKING:
    from .engine.arrays import enhance as enhance
    from .engine.files import enhance_file as enhance_file
    from .enhancers.base import Enhancer as Enhancer
    from .enhancers.base import Stream as Stream
    from .enhancers.compose import Chain as Chain
    from .enhancers.registry import load as load
    from .errors import UnmuffleError as UnmuffleError


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        from importlib import import_module

        value = getattr(import_module(_EXPORTS[name], __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})
