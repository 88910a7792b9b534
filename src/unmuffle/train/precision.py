"""Does a device compute in bfloat16, does it only pretend to, and does it do so rightly?

A processor without instructions for it converts every operand, which takes twice as long as single precision (a step
of ``live`` 1.3 s for 0.75 s), and gains nothing.

One that has them may still be wrong. PyTorch 2.13 with oneDNN 3.12 on a processor with AMX: the output of a convolution
of an even number of channels below 16 that spans 64 numbers or more (as the first one of ``live``: 8 channels, 8 bins)
has nothing to do with its input, while its gradients are right. A network learns in spite of it, but what it learns is
of no use in single precision. So every layer is tried before it is trusted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
_LAYERS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.Linear, nn.LSTM, nn.GRU)

LIMIT = 0.2
"""Share of its size by which an output or a gradient of a layer may differ: rounding makes some 0.005 of it."""


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


def wrong_layers(net: nn.Module, run: Callable[[], object]) -> list[str]:
    """Names of the layers that do not give in bfloat16 what they give in single precision, or whose gradients do not.

    Args:
        net: whose convolutions, dense and recurrent layers are tried, each by itself with what it is given in ``run``.
        run: the network on a short signal, of any level and length.
    """
    names = {module: name for name, module in net.named_modules() if isinstance(module, _LAYERS)}
    wrong: list[str] = []

    def look(module: nn.Module, given: tuple[Any, ...], _: object) -> None:
        handles[module].remove()  # once is enough; and what follows calls the layer again
        module.train()  # a GPU's recurrences have no gradients otherwise
        with torch.enable_grad():
            right, tried = (_worked(module, given, bfloat16) for bfloat16 in (False, True))
        module.eval()
        alike = (float((b - a).norm()) <= LIMIT * float(a.norm()) + 1e-6 for a, b in zip(right, tried, strict=True))
        if not all(alike):  # nor is what is no number
            wrong.append(names[module])

    handles = {module: module.register_forward_hook(look) for module in names}
    was = net.training
    net.eval()  # means of a batch norm stay as they are
    try:
        with torch.no_grad():
            run()
    finally:
        net.train(was)
        for handle in handles.values():
            handle.remove()
    return wrong


def _worked(module: nn.Module, given: tuple[Any, ...], bfloat16: bool) -> list[Tensor]:
    """Outputs of a layer, and the gradients of what went in and of its weights."""
    inputs: list[Tensor] = []

    def taken(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(taken(v) for v in value)
        if isinstance(value, Tensor):
            value = value.detach().float().requires_grad_()
            inputs.append(value)
        return value

    arguments = taken(given)
    with torch.autocast(_device(module).type, torch.bfloat16, enabled=bfloat16):
        out = module(*arguments)
    found = [t.float() for t in _tensors(out)]
    # Of one sign: where they cancelled, nothing but rounding would be left of a bias.
    slopes = [torch.linspace(0.5, 1.5, t.numel(), device=t.device).reshape(t.shape) for t in found]
    wanted = [*inputs, *module.parameters()]
    gradients = torch.autograd.grad(found, wanted, slopes, allow_unused=True)
    return [t.detach() for t in found] + [g.float() for g in gradients if g is not None]


def _tensors(out: Any) -> list[Tensor]:
    return [out] if isinstance(out, Tensor) else [t for part in out for t in _tensors(part)]


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device


def in_single(module: nn.Module) -> None:
    """From now on ``module`` computes in single precision, also where all around it is in bfloat16."""
    forward = module.forward

    def single(*given: Any) -> Any:
        with torch.autocast(_device(module).type, enabled=False):
            return forward(*_floats(given))

    module.forward = single  # type: ignore[method-assign]


def _floats(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_floats(v) for v in value)
    return value.float() if isinstance(value, Tensor) else value
