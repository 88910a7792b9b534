"""The processes of one run: a single one, or several that share each batch (Lightning Fabric).

With ``n`` processes each makes and learns from an ``n``-th of every batch; gradients are averaged before each step,
so that all hold the same weights, and those are the weights that one process with the whole batch would have (up to
rounding: sums are added in another order). Two things are not shared, and differ a little: batch statistics are
those of each part (``r-ced``, ``unet``, ``dccrn``), and parts of the loss that leave silent clips out (SI-SDR, STOI,
disturbance) are averaged over parts.

The first process alone writes files. If one process fails, all end.
"""

from __future__ import annotations

import gc
import json
import pickle
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import errors
from ..errors import MissingExtraError, ParameterError, UnmuffleError

BACKENDS = {"cpu": "gloo", "cuda": "nccl"}


class Crew:
    """What a trainer asks of the other processes; alone, it does everything itself.

    Attributes:
        rank, count: number of this process, and of all.
        device: where its network lives.
    """

    def __init__(self, fabric: Any = None, device: str = "cpu") -> None:
        self._fabric = fabric
        self.rank = 0 if fabric is None else int(fabric.global_rank)
        self.count = 1 if fabric is None else int(fabric.world_size)
        self.device = torch.device(device) if fabric is None else fabric.device

    @property
    def first(self) -> bool:
        """Is this the process that writes files?"""
        return self.rank == 0

    def share(self, net: nn.Module, optimiser: Any) -> tuple[Any, Any]:
        """A network whose gradients are averaged over all processes, and its optimiser."""
        if self._fabric is None:
            return net, optimiser
        made = self._fabric.setup(net, optimiser, move_to_device=False)
        return made[0], made[1]

    def apart(self, net: Any, wanted: bool) -> AbstractContextManager[Any]:
        """Within it gradients are added up in each process for itself, if ``wanted``; the next ones are shared."""
        if self._fabric is None or not wanted:
            return nullcontext()
        context: AbstractContextManager[Any] = self._fabric.no_backward_sync(net)
        return context

    def backward(self, loss: Any) -> None:
        """Gradients of a loss, averaged."""
        if self._fabric is None:
            loss.backward()
        else:
            self._fabric.backward(loss)

    def mean(self, *values: float) -> list[float]:
        """Each value averaged over all processes."""
        if self._fabric is None:
            return list(values)
        together = self._fabric.all_reduce(torch.tensor(values, dtype=torch.float64).to(self.device), reduce_op="mean")
        return [float(v) for v in together]

    def from_first(self, value: float) -> float:
        """The first process's value, such as what its clock says."""
        return value if self._fabric is None else float(self._fabric.broadcast(value))


def launch(work: Callable[..., Any], count: int, accelerator: str, *arguments: Any) -> Any:
    """Run ``work(crew, *arguments)`` in several new processes, one a device.

    Args:
        work: a function of a module, as new processes look it up by name.
        count: processes; on ``cuda`` at most as many as there are devices.
        accelerator: ``cpu`` or ``cuda``.

    Returns:
        What the first process returned.

    Raises:
        ParameterError: fewer devices than asked for.
        MissingExtraError: Lightning Fabric is not installed.
        UnmuffleError: what a process raised.
    """
    if accelerator not in BACKENDS or count < 1:
        raise ParameterError(f"{count} devices of kind {accelerator!r}; give 1 or more, of {', '.join(BACKENDS)}")
    if accelerator == "cuda" and count > torch.cuda.device_count():
        raise ParameterError(f"{count} devices asked for, this machine has {torch.cuda.device_count()}")
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies import DDPStrategy
    except ModuleNotFoundError:
        raise MissingExtraError("training on several devices", "train") from None
    strategy = DDPStrategy(start_method="spawn", process_group_backend=BACKENDS[accelerator])
    fabric = Fabric(accelerator=accelerator, devices=count, strategy=strategy, precision="32-true")
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder) / "error.json"
        try:
            # As bytes: Fabric walks through what it hands over, and refuses frozen dataclasses.
            return fabric.launch(_member, work, str(note), pickle.dumps(arguments))
        except Exception as error:  # multiprocessing wraps what a process raised into text
            if not note.is_file():
                raise UnmuffleError(f"a training process ended: {str(error).strip().splitlines()[-1]}") from None
            name, text = json.loads(note.read_text(encoding="utf-8"))
        kind = getattr(errors, name, UnmuffleError)
        raise (UnmuffleError if kind is MissingExtraError else kind)(text)


def _member(fabric: Any, work: Callable[..., Any], note: str, arguments: bytes) -> Any:
    """One process: what it raises on purpose is noted for the one that waits."""
    try:
        result = work(Crew(fabric), *pickle.loads(arguments))
        fabric.barrier()  # nobody leaves while another still waits for something
        return result
    except UnmuffleError as error:
        content = json.dumps([type(error).__name__, str(error)])
        temporary = Path(f"{note}.{fabric.global_rank}")
        temporary.write_text(content, encoding="utf-8")
        if not Path(note).exists():
            temporary.replace(note)
        raise
    finally:
        # A thread of gloo that drops its last tensor while the interpreter shuts down aborts the process, after all
        # work was done: so its threads end here. What still refers to the group goes first, or it lives on.
        gc.collect()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
