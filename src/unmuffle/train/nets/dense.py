r"""``dense``: a causal network of few, wide recurrences, made for the time of one frame on one core.

At run time a dense layer with one frame in it is limited by the memory that its weights come from,
not by arithmetic: about 0.15 ms for a million float32 weights on the machine it was designed on. So
the budget is one of weights, and what is spent per weight must pay. The design:

* **Invariant features.** The absolute phase of a frame says nothing and its absolute level little.
  The network sees compressed magnitudes :math:`|X_t|^{0.3}` and, below 4 kHz, the phase advance
  :math:`X_t X_{t-1}^*` (compressed alike), which tells a steady tone from noise and where in its
  bin the tone lies. All are divided by the mean of the compressed magnitude over the last second:
  scaling the input scales the output, exactly.
* **Quadratic in the input**, so a stereo pair is one set of features (means over the channels of
  :math:`|X|^2` and :math:`X_t X_{t-1}^*`: nothing cancels), one set of gains, and twice the signal.
* **Two wide LSTMs** with skip connections: few, large operators.
* **Output**: below 4 kHz a complex two-tap filter in time, :math:`Y_t = a_t X_t + b_t X_{t-1}`
  (deep filtering, Mack & Habets 2020), above a real gain.

Shapes: ``(batch, channels, frames, bins, 2)`` in and out; ``bins`` = 161, 50 Hz apart (8 kHz).
State: see :meth:`Dense.initial`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...errors import ParameterError
from ...signal.stft import StftSpec

BINS = 161
_POWER = 0.15  # of |X|^2
_EPS = 1e-12
_TOP = 1.5  # largest gain of a tap
_FLOOR = 0.01  # smallest mean magnitude that is taken for a signal: that of noise at -170 dBFS


@dataclass(frozen=True)
class DenseConfig:
    """Sizes of :class:`Dense`.

    Attributes:
        hidden: units of each LSTM.
        layers: LSTMs.
        low_bins: bins that get phase features and the two-tap filter.
        memory: frames over which the level is averaged.
    """

    hidden: int = 160
    layers: int = 2
    low_bins: int = 80
    memory: int = 100

    def __post_init__(self) -> None:
        if not (self.hidden >= 8 and self.layers >= 1 and 8 <= self.low_bins < BINS and self.memory >= 2):
            raise ParameterError(f"{self} makes no network; hidden >= 8, layers >= 1, low_bins 8..160, memory >= 2")


class Dense(nn.Module):
    """The network; see the module's text."""

    domain = "spectrum"
    spec = StftSpec()
    sample_rate = 16_000
    frame = latency = 0  # of waveforms only
    causal = True
    linked = True

    def __init__(self, config: DenseConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or DenseConfig()
        low, high = c.low_bins, BINS - c.low_bins
        self.encode = nn.Linear(BINS + 2 * low, c.hidden)
        self.memory = nn.ModuleList(nn.LSTM(c.hidden, c.hidden) for _ in range(c.layers))
        self.decode = nn.Linear(c.hidden, 4 * low + high)
        # Begin as a wire: unit gain on the present frame, nothing from the past one.
        with torch.no_grad():
            self.decode.weight.mul_(0.1)
            self.decode.bias.zero_()
            one = torch.atanh(torch.tensor(1.0 / _TOP))
            self.decode.bias[:low] = one
            self.decode.bias[4 * low :] = one

    def state_names(self) -> list[str]:
        """Names of the state tensors, in order."""
        names = ["level", "past"]
        for i in range(self.config.layers):
            names += [f"h{i}", f"c{i}"]
        return names

    def initial(self, batch: int = 1, channels: int = 1) -> list[Tensor]:
        """State before the first frame.

        ``level`` (batch, 2, memory - 1): mean magnitudes of past frames, and 1 where there was one;
        ``past`` (batch, channels, 1, low_bins, 2): the frame before; ``h*``, ``c*`` (1, batch, hidden).
        """
        c = self.config
        state = [torch.zeros(batch, 2, c.memory - 1), torch.zeros(batch, channels, 1, c.low_bins, 2)]
        return state + [torch.zeros(1, batch, c.hidden) for _ in range(2 * c.layers)]

    def forward(self, spectrum: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Filtered spectrum and the new state."""
        low = self.config.low_bins
        level, past = state[0], state[1]
        re, im = spectrum[..., 0].contiguous(), spectrum[..., 1].contiguous()
        before = torch.cat((past, spectrum[:, :, :, :low]), 2)
        past = before[:, :, -1:]
        before = before[:, :, :-1]
        pre, pim = before[..., 0].contiguous(), before[..., 1].contiguous()
        lre, lim = re[..., :low], im[..., :low]
        # Features: means over the channels of products of two bins.
        small = ((re.square() + im.square()).mean(1) + _EPS).pow(_POWER)
        are, aim = (lre * pre + lim * pim).mean(1), (lim * pre - lre * pim).mean(1)
        shrink = (are.square() + aim.square() + _EPS * _EPS).pow((_POWER - 1.0) / 2.0)
        mean = small[..., 2:low].mean(-1)
        seen = torch.stack((mean, torch.ones_like(mean)), 1)
        seen = torch.cat((level, seen), 2)
        level = seen[:, :, seen.shape[2] - self.config.memory + 1 :]
        pooled = nn.functional.avg_pool1d(seen, self.config.memory, stride=1)
        scale = (pooled[:, 1] / (pooled[:, 0] + _FLOOR * pooled[:, 1])).unsqueeze(-1)
        features = torch.cat((small, are * shrink, aim * shrink), -1) * scale
        # Recurrence, time first.
        y = torch.relu(self.encode(features)).transpose(0, 1)
        carried = []
        for i, lstm in enumerate(self.memory):
            z, (h, c) = lstm(y, (state[2 + 2 * i], state[3 + 2 * i]))
            y = y + z
            carried += [h, c]
        taps = torch.tanh(self.decode(y)).transpose(0, 1).unsqueeze(1).to(spectrum.dtype)
        # `split`, as the gradient of five slices would be five full-size tensors of mostly zeros.
        a, b, p, q, gain = (_TOP * tap for tap in taps.split([low, low, low, low, BINS - low], -1))
        out_re = torch.cat((a * lre - b * lim + p * pre - q * pim, gain * re[..., low:]), -1)
        out_im = torch.cat((a * lim + b * lre + p * pim + q * pre, gain * im[..., low:]), -1)
        return (torch.stack((out_re, out_im), -1), level, past, *carried)

    def streaming(self) -> nn.Module:
        """The same network on the weights of this one, in as few operators as it can be written."""
        return DenseStream(self)


class DenseStream(nn.Module):
    """:class:`Dense` for one stream, arranged for ONNX Runtime.

    With one frame at a time the many small operators of a plain export take as long as the
    recurrences. Here real and imaginary parts are rows of one tensor, so that complex products of
    all bins and taps are one multiplication and one sum; the level is one dense layer and one pool.

    ``forward(spectrum, *state)``: ``spectrum`` is ``(channels, frames, 2, bins)``, and so is the
    first result. The state is that of :meth:`Dense.initial` with two tensors in another shape:
    ``level`` (1, 1, memory - 1, 2) and ``past`` (channels, 1, 4, low_bins).
    """

    rotation: Tensor
    meter: Tensor
    offset: Tensor

    def __init__(self, net: Dense) -> None:
        super().__init__()
        self.net = net
        low = net.config.low_bins
        # Rows re, im, -im, re: S and jS.
        self.register_buffer("rotation", torch.tensor([1.0, 1.0, -1.0, 1.0]).reshape(4, 1), persistent=False)
        meter = torch.zeros(BINS, 2)
        meter[2:low, 0] = 1.0 / (low - 2)
        self.register_buffer("meter", meter, persistent=False)
        # Means over two rows, below, are halves of |X|^2: all features, their mean and its floor
        # shrink alike, and the quotient is that of Dense.
        self.register_buffer("offset", torch.tensor([_FLOOR * 0.5**_POWER, 1.0]), persistent=False)

    def state_names(self) -> list[str]:
        """Names of the state tensors, in order."""
        return self.net.state_names()

    def initial(self, channels: int = 1) -> list[Tensor]:
        """State before the first frame."""
        c = self.net.config
        rest = self.net.initial(1, channels)[2:]
        return [torch.zeros(1, 1, c.memory - 1, 2), torch.zeros(channels, 1, 4, c.low_bins), *rest]

    def forward(self, spectrum: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Filtered spectrum and the new state."""
        net, c = self.net, self.net.config
        low, high = c.low_bins, BINS - c.low_bins
        channels, bottom = spectrum.shape[0], spectrum[..., :low]
        rows = bottom[:, :, [0, 1, 1, 0]] * self.rotation
        seen = torch.cat((state[1], rows), 1)
        before, past = seen[:, :-1], seen[:, -1:]
        power = (spectrum * spectrum).mean((0, 2))
        small = (power + 0.5 * _EPS).pow(_POWER)
        advance = (bottom.unsqueeze(2) * before.reshape(channels, -1, 2, 2, low)).mean((0, 3))
        size = (advance * advance).sum(1, keepdim=True) + 0.25 * _EPS * _EPS
        advance = advance * size.pow((_POWER - 1.0) / 2.0)
        level = torch.addmm(self.offset, small, self.meter).reshape(1, 1, -1, 2)
        level = torch.cat((state[0], level), 2)
        pooled = nn.functional.avg_pool2d(level, (c.memory, 1), stride=1).reshape(-1, 2)
        mean, known = pooled.split([1, 1], -1)
        features = torch.cat((small, advance.reshape(-1, 2 * low)), -1) * (known / mean)
        y = torch.relu(net.encode(features)).unsqueeze(1)
        carried = []
        for i, lstm in enumerate(net.memory):
            z, (h, cell) = lstm(y, (state[2 + 2 * i], state[3 + 2 * i]))
            y = y + z
            carried += [h, cell]
        taps = _TOP * torch.tanh(net.decode(y.squeeze(1)))
        quad, gain = taps.split([4 * low, high], -1)
        both = torch.cat((rows, before), 2).reshape(channels, -1, 4, 2, low)
        filtered = (quad.reshape(-1, 4, 1, low) * both).sum(2)
        out = torch.cat((filtered, gain.unsqueeze(1) * spectrum[..., low:]), -1)
        return (out, level[:, :, 1 - c.memory :], past, *carried)
