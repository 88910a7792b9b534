"""What the stages of a suppressor hand to each other: some frames, and what is known about them."""

from __future__ import annotations

from dataclasses import dataclass

from .gain import Array


@dataclass
class Scene:
    """What is known about some frames when their gain is formed; arrays are ``(frames, bins)``.

    Attributes:
        power: :math:`|Y|^2`, mean of the channels.
        noise: :math:`\\lambda_D`, same scale.
        gamma: their ratio.
        xi: a-priori SNR; for methods that do not use it, the same array as ``gamma``.
        gain: the method's gain at that ``xi``, where estimating ``xi`` took it already.
    """

    power: Array
    noise: Array
    gamma: Array
    xi: Array
    gain: Array | None
