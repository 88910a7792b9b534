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
