"""Does a device compute in bfloat16, or does it only pretend to?

A processor without instructions for it converts every operand, which takes twice as long as single precision (a step
of ``live`` 1.3 s for 0.75 s), and gains nothing.
"""

from __future__ import annotations

import torch

_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def computes_bfloat16(device: torch.device) -> bool:
    """Has ``device`` instructions for bfloat16?

    Where that cannot be found out (an older PyTorch does not list those of a CPU) it is taken for granted.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return True
    has = torch.cpu.get_capabilities()
    return any(has.get(name, False) for name in _INSTRUCTIONS)
