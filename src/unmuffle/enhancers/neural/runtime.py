"""ONNX Runtime, told to keep to itself.

From release 1.29 on its official builds report to their maker: at import they write an identifier of the machine into
the user's cache folder, and names of network files, hashes of weights and timings are sent. Whoever cleans a private
recording must not have to know that. ``ORT_DISABLE_TELEMETRY`` turns all of it off, but only if it is set before the
first import; hence this is the one place that imports onnxruntime.
"""

from __future__ import annotations

import os
from typing import Any

_SILENT = "ORT_DISABLE_TELEMETRY"


def onnx_runtime() -> Any:
    """The module ``onnxruntime``. Reports are off, unless the user set ``ORT_DISABLE_TELEMETRY`` to something else."""
    os.environ.setdefault(_SILENT, "1")
    import onnxruntime

    # Windows reports by another way, which this turns off.
    if os.environ[_SILENT] == "1" and hasattr(onnxruntime, "disable_telemetry_events"):
        onnxruntime.disable_telemetry_events()
    return onnxruntime
