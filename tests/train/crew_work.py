"""What the processes of tests/train/test_crew.py do: found by name in new processes."""

from __future__ import annotations

from typing import Any


def train(crew: Any, folder: str, pool_folder: str, recipe: str, metric: str = "") -> tuple[int, float]:
    """Train a recipe; the number of steps and the last validation loss, as the first process sees them."""
    import torch

    from unmuffle.data.pool import Pool
    from unmuffle.train import config
    from unmuffle.train.loop import Trainer

    torch.set_num_threads(1)
    trainer = Trainer(folder, Pool(pool_folder), config.load(recipe), crew=crew)
    lines: list[dict[str, float]] = []
    trainer.run(lambda d: lines.append(d) if "valid_loss" in d else None)
    return trainer.step, lines[-1]["valid_loss"]


def fail(crew: Any) -> None:
    """The second process fails while the first waits for it."""
    from unmuffle.errors import ModelError

    if crew.rank == 1:
        raise ModelError("the loss is nan at step 7")
    crew.mean(1.0)


def leave(crew: Any, note: str) -> float:
    """At its end each process notes the threads that it still has besides its own."""
    import atexit
    from pathlib import Path

    import torch

    net = torch.nn.Linear(2, 2)
    net, _ = crew.share(net, torch.optim.SGD(net.parameters(), lr=0.1))
    crew.backward(net(torch.ones(1, 2)).sum())

    def write() -> None:
        names = [p.read_text().strip() for p in Path("/proc/self/task").glob("*/comm")]
        state = "open" if torch.distributed.is_initialized() else "left"
        Path(f"{note}.{crew.rank}").write_text(" ".join([state, *names]))

    atexit.register(write)
    return crew.mean(float(crew.rank))[0]
