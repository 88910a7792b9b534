r"""``bandwise``: one small recurrent network that every band shares, and dense layers that mix the bands.

What makes speech speech is much the same in all bands: onsets, pitch pulses, decays. A network whose
recurrence is shared by all bands learns it from every band at once, and so from far less speech than
a dense one of the same strength (GTCRN, FastEnhancer); what the bands must tell each other goes
through dense layers over frequency, which cost a fraction of attention. The design:

* **Invariant features.** Per bin the compressed magnitude :math:`|X_t|^{0.3}`, the phase advance
  :math:`X_t X_{t-1}^*` in time and the phase step :math:`X_k X_{k-1}^*` along frequency (both
  compressed alike): where in its bin a tone lies, and where in the frame a pulse; with ``lags`` above 1 also
  the advance since the frame before the last, and so on: how steady a tone is. The absolute phase says nothing
  and is not shown. All are divided by the mean compressed magnitude over the last
  second: scaling the input scales the output.
  With ``steady`` above 0 also what is usual in the bin: leaky means of its magnitude and of its phase advance. Those
  of a hum or a whistle are what it has now, those of a voice are not; and a band, which is several bins wide, need not
  remember in which of them something steady lies.
  A tone in the middle of a bin goes on from bin to bin by half a turn more a frame, as 10 ms steps have
  it: the same for every patch. Shorter steps turn it by less, and so the frame before is turned by what
  lacks (:attr:`Bandwise.turn`), in the features as under the filters: both stay shared by all patches.
* **Quadratic in the input**, so all channels share one set of features (means over the channels:
  nothing cancels) and one set of filters.
* **Patches**: a strided convolution over frequency turns 160 bins into 40 patches, a learned dense
  layer turns those into fewer, wider bands.
* **Blocks**: an LSTM in time, shared by the bands; a dense layer over the bands for each feature; a
  dense layer over the features.
* **Context**: after the first block, one small dense recurrence sees all bands at once and tells each
  of them what it found: who speaks, what the noise is.
* **Output**: for each bin a complex filter of a few taps in time,
  :math:`Y_t = \sum_n a_{n,t} X_{t-n}` (deep filtering, Mack & Habets 2020). Two taps span 30 ms, four 50 ms: what is
  longer tells a whistle from the harmonic of a voice that lies in the same bin, and takes it out alone.

Shapes: ``(batch, channels, frames, bins, 2)`` in and out; ``bins`` = 161, 50 Hz apart (8 kHz).
State: see :meth:`Bandwise.initial`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...errors import ParameterError
from ...signal.stft import StftSpec
from .parts import erb_bands

BINS = 161
PATCH = 4
PATCHES = (BINS - 1) // PATCH
USUAL = 3  # numbers of a bin of which the usual value is seen: the magnitude and the advance of one frame
_POWER = 0.15  # of |X|^2
_EPS = 1e-12
_FLOOR = 0.01  # smallest mean magnitude that is taken for a signal: that of noise at -170 dBFS


@dataclass(frozen=True)
class BandwiseConfig:
    """Sizes of :class:`Bandwise`.

    Attributes:
        bands: that share the recurrence.
        width: features of a band, and units of each LSTM.
        blocks: of recurrence and mixing.
        context: units of the recurrence that sees all bands; 0 for none.
        memory: frames over which the level is averaged.
        taps: frames under the filter of a bin, the present one among them.
        lags: past frames since which the advance of phases is seen.
        steady: frames over which what is usual in a bin is averaged (time constant); 0 where it is not seen.
    """

    bands: int = 24
    width: int = 48
    blocks: int = 2
    context: int = 96
    memory: int = 100
    taps: int = 2
    lags: int = 1
    steady: int = 0

    def __post_init__(self) -> None:
        if not (
            4 <= self.bands <= PATCHES
            and self.width >= 4
            and self.blocks >= 1
            and self.memory >= 2
            and self.context >= 0
            and 1 <= self.taps <= 8
            and 1 <= self.lags <= 8
            and (self.steady == 0 or self.steady >= 2)
        ):
            raise ParameterError(
                f"{self} makes no network; bands 4..{PATCHES}, width 4, blocks 1, context 0, memory 2 or more, "
                "taps and lags 1..8, steady 0 or 2 and more"
            )

    @property
    def present(self) -> int:
        """Numbers that are seen of a bin in a frame: its magnitude, its phase along frequency, that of each lag."""
        return 3 + 2 * self.lags

    @property
    def features(self) -> int:
        """Numbers that are seen of a bin: those of the frame, and what is usual."""
        return self.present + (USUAL if self.steady else 0)

    @property
    def kept(self) -> int:
        """Past frames that are needed."""
        return max(self.taps - 1, self.lags)


class Block(nn.Module):
    """Recurrence in time, then a mix over bands and over features; each adds to what it was given."""

    def __init__(self, bands: int, width: int) -> None:
        super().__init__()
        self.time = nn.LSTM(width, width)
        self.across = nn.Parameter(torch.randn(width, bands, bands) / math.sqrt(bands))
        self.shift = nn.Parameter(torch.zeros(bands, width))
        self.blend = nn.Linear(width, width)
        with torch.no_grad():
            self.blend.weight.mul_(0.3)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """``x`` (frames, rows, bands, width); state (1, rows * bands, width) each."""
        t, rows, bands, width = x.shape
        y, state = self.time(x.reshape(t, rows * bands, width), state)
        x = x + y.reshape(t, rows, bands, width)
        # One dense layer over the bands for each feature: (width, frames * rows, bands) x (width, bands, bands).
        z = torch.bmm(x.reshape(t * rows, bands, width).permute(2, 0, 1), self.across.to(x.dtype))
        z = z.permute(1, 2, 0) + self.shift
        z = self.blend(torch.relu(z)).reshape(t, rows, bands, width)
        return x + z, state


class Context(nn.Module):
    """A dense recurrence over a few features of every band; adds what it found to all of them."""

    def __init__(self, bands: int, width: int, units: int) -> None:
        super().__init__()
        self.few = 4
        self.take = nn.Linear(width, self.few)
        self.time = nn.LSTM(bands * self.few, units)
        self.give = nn.Linear(units, bands * self.few)
        self.widen = nn.Linear(self.few, width)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """``x`` (frames, rows, bands, width); state (1, rows, units) each."""
        t, rows, bands, _ = x.shape
        y, state = self.time(self.take(x).reshape(t, rows, bands * self.few), state)
        return x + self.widen(torch.relu(self.give(y)).reshape(t, rows, bands, self.few)), state


class Bandwise(nn.Module):
    """The network; see the module's text."""

    domain = "spectrum"
    spec = StftSpec()
    sample_rate = 16_000
    frame = latency = 0  # of waveforms only
    causal = True
    linked = True

    turn: Tensor | None

    def __init__(self, config: BandwiseConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or BandwiseConfig()
        self.patch = nn.Conv1d(c.features, c.width, 2 * PATCH, PATCH, PATCH // 2)
        erb = erb_bands(PATCHES, 8000.0, c.bands)  # each row adds up to one
        self.gather = nn.Linear(PATCHES, c.bands)
        self.spread = nn.Linear(c.bands, PATCHES)
        self.place = nn.Parameter(0.3 * torch.randn(c.bands, c.width))
        self.blocks = nn.ModuleList(Block(c.bands, c.width) for _ in range(c.blocks))
        self.context = Context(c.bands, c.width, c.context) if c.context else None
        self.taps = nn.Conv1d(c.width, PATCH * 2 * c.taps, 3, 1, 1)
        self.register_buffer("turn", _turn(self.spec, c.kept), persistent=False)
        with torch.no_grad():
            self.gather.weight.copy_((erb / erb.sum(0, keepdim=True)).T)
            self.spread.weight.copy_(erb)
            # Begin as a wire: unit gain on the present frame, nothing from past ones.
            self.taps.weight.mul_(0.2)
            self.taps.bias.zero_()
            self.taps.bias[:PATCH] = 1.0

    def state_names(self) -> list[str]:
        """Names of the state tensors, in order."""
        names = ["level", "past"] + (["usual"] if self.config.steady else [])
        for i in range(self.config.blocks):
            names += [f"h{i}", f"c{i}"]
        return names + (["h_all", "c_all"] if self.config.context else [])

    def initial(self, batch: int = 1, channels: int = 1) -> list[Tensor]:
        """State before the first frame.

        ``level`` (batch, 2, memory - 1): mean magnitudes of past frames, and 1 where there was one;
        ``past`` (batch, channels, kept, bins, 2): the frames before; ``usual`` (batch, 3 * 160 + 1): means of each
        bin, not yet divided by the mean of ones, which is the last number; ``h*``, ``c*`` (1, batch * bands, width);
        ``h_all``, ``c_all`` (1, batch, context).
        """
        c = self.config
        state = [torch.zeros(batch, 2, c.memory - 1), torch.zeros(batch, channels, c.kept, BINS, 2)]
        state += [torch.zeros(batch, USUAL * (BINS - 1) + 1)] if c.steady else []
        state += [torch.zeros(1, batch * c.bands, c.width) for _ in range(2 * c.blocks)]
        return state + [torch.zeros(1, batch, c.context) for _ in range(2 if c.context else 0)]

    def forward(self, spectrum: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Filtered spectrum and the new state."""
        c = self.config
        level, past = state[0], state[1]
        batch, _, frames = spectrum.shape[:3]
        seen = torch.cat((past, spectrum), 2)
        past = seen[:, :, frames:]
        re, im = (part.contiguous() for part in seen.unbind(-1))
        # Of each frame itself, of the one before, of the one before that...
        lagged = [self.lagged(re, im, lag, frames) for lag in range(c.kept + 1)]
        features, scale, level = self.features(lagged[: c.lags + 1], level)
        carried: list[Tensor] = []
        if c.steady:
            usual, carried = self.usual(features[:, :USUAL], state[2])
            features = torch.cat((features, usual), 1)
        features = features * scale
        first = 2 + len(carried)  # of the states of recurrences
        # Patches: rows of one frame each, time first for the recurrences.
        rows = features.permute(2, 0, 1, 3).reshape(frames * batch, c.features, BINS - 1)
        patches = torch.relu(self.patch(rows))
        x = (self.gather(patches).transpose(1, 2) + self.place).reshape(frames, batch, c.bands, c.width)
        for i, block in enumerate(self.blocks):
            x, (h, cell) = block(x, (state[first + 2 * i].to(x.dtype), state[first + 1 + 2 * i].to(x.dtype)))
            carried += [h, cell]
            if i == 0 and self.context is not None:
                x, seen = self.context(x, (state[-2].to(x.dtype), state[-1].to(x.dtype)))
        if self.context is not None:
            carried += list(seen)
        wide = self.spread(x.reshape(frames * batch, c.bands, c.width).transpose(1, 2))
        taps = self.taps(torch.relu(wide + patches))
        taps = taps.reshape(frames, batch, 2 * c.taps, PATCH, PATCHES).permute(2, 1, 0, 4, 3)
        taps = taps.reshape(2 * c.taps, batch, 1, frames, BINS - 1).to(spectrum.dtype)
        # The last bin, half a bin wide, goes with the one below.
        taps = torch.cat((taps, taps[..., -1:]), -1)
        out_re, out_im = torch.zeros_like(lagged[0][0]), torch.zeros_like(lagged[0][0])
        for lag, (a, b) in enumerate(zip(taps[0::2], taps[1::2], strict=True)):
            x_re, x_im = lagged[lag]
            out_re = out_re + a * x_re - b * x_im
            out_im = out_im + a * x_im + b * x_re
        return (torch.stack((out_re, out_im), -1), level, past, *carried)

    def lagged(self, re: Tensor, im: Tensor, lag: int, frames: int) -> tuple[Tensor, Tensor]:
        """Real and imaginary part of the frames ``lag`` before the last ``frames``, turned by what steps lack."""
        start = re.shape[2] - frames - lag
        re, im = re[:, :, start : start + frames], im[:, :, start : start + frames]
        if lag and self.turn is not None:
            cos, sin = self.turn[lag - 1]
            return cos * re - sin * im, cos * im + sin * re
        return re, im

    def usual(self, rows: Tensor, before: Tensor) -> tuple[Tensor, list[Tensor]]:
        r"""Leaky means of ``rows`` (batch, 3, frames, 160) over time, and the state after.

        :math:`u_t = \sum_{s \le t} a^{t-s} x_s / \sum_{s \le t} a^{t-s}` with :math:`a = 1 - 1/\text{steady}`.
        """
        batch, count, frames, bins = rows.shape
        x = rows.permute(0, 2, 1, 3).reshape(batch, frames, count * bins)
        x = torch.cat((x, torch.ones_like(x[..., :1])), 2)
        here, carry = _decays(frames, self.config.steady, x.device)
        mean = torch.matmul(here, x) + carry[:, None] * before[:, None]
        out = (mean[..., :-1] / mean[..., -1:]).reshape(batch, frames, count, bins).permute(0, 2, 1, 3)
        return out, [mean[:, -1]]

    def features(self, lagged: list[tuple[Tensor, Tensor]], level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``(batch, features, frames, 160)``: means over the channels of products of two bins, compressed.

        And by what to multiply them, ``(batch, 1, frames, 1)``, and the new state of the level.
        """
        re, im = lagged[0]
        size = ((re.square() + im.square()).mean(1) + _EPS).pow(_POWER)
        steps = [(re * pre + im * pim, im * pre - re * pim) for pre, pim in lagged[1:]]
        pairs = [(a.mean(1)[..., 1:], b.mean(1)[..., 1:]) for a, b in steps]
        fre = (re[..., 1:] * re[..., :-1] + im[..., 1:] * im[..., :-1]).mean(1)
        fim = (im[..., 1:] * re[..., :-1] - re[..., 1:] * im[..., :-1]).mean(1)
        pairs.insert(1, (fre, fim))
        parts = [size[..., 1:]]
        for a, b in pairs:
            shrink = (a.square() + b.square() + _EPS * _EPS).pow((_POWER - 1.0) / 2.0)
            parts += [a * shrink, b * shrink]
        mean = size[..., 2:81].mean(-1)
        seen = torch.cat((level, torch.stack((mean, torch.ones_like(mean)), 1)), 2)
        pooled = nn.functional.avg_pool1d(seen, self.config.memory, stride=1)
        scale = (pooled[:, 1] / (pooled[:, 0] + _FLOOR * pooled[:, 1])).unsqueeze(1).unsqueeze(-1)
        return torch.stack(parts, 1), scale, seen[:, :, seen.shape[2] - self.config.memory + 1 :]

    def streaming(self) -> nn.Module:
        """The same network on the weights of this one, arranged for ONNX Runtime."""
        return BandwiseStream(self)


class BandwiseLow(Bandwise):
    """The same network at a total latency of 8 ms: 20 ms frames every 4 ms, of which synthesis uses the last 8.

    An output sample is done 4 ms after it came in, and a step collects 4 ms. ``memory`` counts
    shorter steps, as does ``steady``: a second is 250 of them.
    """

    spec = StftSpec(20.0, 4.0, "asymmetric")


class BandwiseStream(nn.Module):
    """:class:`Bandwise` for one or more streams, arranged for ONNX Runtime.

    With one frame at a time a small operator costs as much as a large one; with many, what counts is to go
    through memory seldom and in order. Here

    * whatever is linear in rows (re, im, ...) of a frame is a product with a constant matrix from the left,
      sums over pairs and repeated rows included;
    * powers of magnitudes are taken by logarithm and exponential, which are vectorised (``Pow`` is not), and
      the mean over channels by a running sum (a reduction over one channel takes the time of a convolution);
    * biases that only shift the features of all bands alike go on, added up, to the layers that come later;
    * patches lie as (position, feature): no dense layer over positions or bands needs a transposition;
    * no shape depends on anything but the number of frames, channels and streams;
    * several streams are frames side by side: only what has a memory must know which frame is whose.

    All of this is computed from the parameters inside the graph, where onnxruntime does it once, at loading:
    a file holds the parameters as they were trained, under their names.

    ``forward(spectrum, *state)``: ``spectrum`` is ``(channels, frames, 2, bins)``, and so is the
    first result. The state is that of :meth:`Bandwise.initial` with tensors in another shape:
    ``level`` (1, 1, memory - 1, 2), ``past`` (channels, kept, 2, bins) and ``usual`` (1, 1, 3 * bins + 1).

    What is usual is taken by a product with a matrix of (frames, frames): a run of more than some thousand frames
    wants its memory, and is better made of several.

    Of ``n`` streams the frames are those of each moment, one of every stream, and then those of the next: ``n`` times
    as many. Their states lie side by side along the axes of :attr:`streams`, which are ``n`` times as long.
    """

    keeps_parameters = True

    products: Tensor
    floor: Tensor
    squares: Tensor
    least: Tensor
    powers: Tensor
    meter: Tensor
    offset: Tensor
    quarter: Tensor
    filter: Tensor

    def __init__(self, net: Bandwise) -> None:
        super().__init__()
        self.net = net
        c = net.config
        # Rows of a product: (re, im of the bin, of the bin below, of each lag) x (re, im of the bin). Taken of it:
        # the square of the bin, and the turns since the first lag, since the bin below, and since further lags.
        others = [2, 1, *range(3, c.lags + 2)]  # so that the rows of USUAL come first
        turns: list[dict[int, float]] = []
        for at in others:
            turns += [{4 * at: 1, 4 * at + 3: 1}, {4 * at + 1: 1, 4 * at + 2: -1}]
        self._constant("products", _matrix(4 * (c.lags + 2), {0: 1, 3: 1}, *turns))
        self._constant("floor", torch.tensor([_EPS] + [0.0] * (c.present - 1)).reshape(-1, 1))
        squares = _matrix(c.present, {0: 1}, *({1 + 2 * i: 1.0, 2 + 2 * i: 1.0} for i in range(c.lags + 1)))
        self._constant("squares", squares)
        # The lowest bin has no bin below and takes no part: a huge square makes it vanish.
        least = torch.tensor([0.0] + [_EPS * _EPS] * (c.lags + 1)).reshape(-1, 1).repeat(1, BINS)
        least[:, 0] = 1e38
        self._constant("least", least)
        self._constant("powers", squares.T * ((_POWER - 1.0) / 2.0))
        meter = torch.zeros(c.present, BINS, 2)
        meter[0, 2:81, 0] = 1.0 / 79.0
        self._constant("meter", meter.reshape(-1, 2))
        self._constant("offset", torch.tensor([_FLOOR, 1.0]))
        self._constant("quarter", _matrix(2, {1: -1}, {0: 1}))  # of a turn
        # Rows (a re, a im, b re, b im) of this frame and of those before, to the real and the imaginary part.
        real = {4 * i + j: sign for i in range(c.taps) for j, sign in ((0, 1.0), (3, -1.0))}
        imaginary = {4 * i + j: 1.0 for i in range(c.taps) for j in (1, 2)}
        self._constant("filter", _matrix(4 * c.taps, real, imaginary))

    def _constant(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value.contiguous(), persistent=False)

    def state_names(self) -> list[str]:
        """Names of the state tensors, in order."""
        return self.net.state_names()

    @property
    def streams(self) -> dict[str, int]:
        """The axis of each state along which streams lie side by side."""
        return {name: {"level": 3, "past": 2}.get(name, 1) for name in self.state_names()}

    def initial(self, channels: int = 1) -> list[Tensor]:
        """State before the first frame."""
        c, rest = self.net.config, self.net.initial(1, channels)[2:]
        if c.steady:
            rest[0] = torch.zeros(1, 1, USUAL * BINS + 1)
        return [torch.zeros(1, 1, c.memory - 1, 2), torch.zeros(channels, c.kept, 2, BINS), *rest]

    def forward(self, spectrum: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Filtered spectrum and the new state."""
        net, c = self.net, self.net.config
        channels, streams = spectrum.shape[0], state[0].shape[3] // 2
        # Of several streams: the oldest frame of each, then the next one of each, as the new frames come.
        seen = torch.cat((state[1].reshape(channels, c.kept * streams, 2, BINS), spectrum), 1)
        # The frame itself, the one before, the one before that...
        lagged = [spectrum]
        for lag in range(1, c.kept + 1):
            start = (c.kept - lag) * streams
            before = seen[:, start : start - c.kept * streams]
            if net.turn is not None:
                turn = net.turn[lag - 1]
                before = turn[0] * before + torch.matmul(self.quarter, turn[1] * before)
            lagged.append(before)
        features, scale, level = self.features(lagged[: c.lags + 1], state[0])
        carried: list[Tensor] = []
        if c.steady:
            usual, known, carried = self.usual(features[:, :USUAL], state[2], streams)
            features = torch.cat((features * scale, usual * (scale / known)), 1)
        else:
            features = features * scale
        first = 2 + len(carried)  # of the states of recurrences
        # A column of zeros in front of the filters: the lowest bin is there and counts for nothing.
        kernel = torch.cat((torch.zeros(c.width, c.features, 1), net.patch.weight), 2).unsqueeze(2)
        features = features.reshape(-1, c.features, 1, BINS)
        patches = nn.functional.conv2d(features, kernel, net.patch.bias, (1, PATCH), (0, PATCH // 2))
        patches = torch.relu(patches).permute(0, 2, 3, 1).reshape(-1, PATCHES, c.width)
        x = torch.matmul(net.gather.weight, patches) + (net.gather.bias[:, None] + net.place)
        owed = torch.zeros(c.width)  # what the features of every band still lack
        for i, block in enumerate(net.blocks):
            assert isinstance(block, Block)  # ModuleList knows only Module
            y, h, cell = _recurrence(block.time, x, state[first + 2 * i], state[first + 1 + 2 * i], owed)
            carried += [h, cell]
            x = x + y.reshape(-1, c.bands, c.width)
            shift = block.shift + (owed[:, None] * block.across.sum(1)).T
            z = torch.relu(torch.matmul(x.permute(2, 0, 1), block.across).permute(1, 2, 0) + shift)
            x = x + torch.matmul(z, block.blend.weight.T)
            owed = owed + block.blend.bias
            if i == 0 and net.context is not None:
                x, owed, seen_all = self.context(net.context, x, state[-2], state[-1], owed)
        if net.context is not None:
            carried += seen_all
        # The bias of each position and what the bands still lack, as two bands more: cheaper than to add them later.
        spread = torch.cat((net.spread.weight, net.spread.bias[:, None], net.spread.weight.sum(1)[:, None]), 1)
        rest = torch.stack((torch.ones_like(owed), owed)).repeat(x.shape[0], 1, 1)
        wide = torch.relu(torch.matmul(spread, torch.cat((x, rest), 1)) + patches)
        wide = wide.reshape(-1, 1, PATCHES, c.width).permute(0, 3, 1, 2)
        taps = nn.functional.conv2d(wide, net.taps.weight.unsqueeze(2), net.taps.bias, padding=(0, 1))
        taps = taps.reshape(-1, 2 * c.taps, PATCH, PATCHES).transpose(2, 3).reshape(-1, 2 * c.taps, BINS - 1)
        taps = nn.functional.pad(taps, (0, 1), mode="replicate").reshape(-1, c.taps, 2, 1, BINS)
        under = torch.cat(lagged[: c.taps], 2).reshape(channels, -1, c.taps, 1, 2, BINS)
        out = (taps * under).reshape(channels, -1, 4 * c.taps, BINS)
        past = seen[:, -c.kept * streams :].reshape(channels, c.kept, 2 * streams, BINS)
        return (torch.matmul(self.filter, out), level, past, *carried)

    def usual(self, rows: Tensor, before: Tensor, streams: Tensor | int) -> tuple[Tensor, Tensor, list[Tensor]]:
        """:meth:`Bandwise.usual` of ``rows`` (frames, 3, bins), and what it is still to be divided by."""
        here, carry = _decays(rows.shape[0] // streams, self.net.config.steady, rows.device)
        # Of several streams the numbers lie side by side: a row for each moment.
        x, old = rows.reshape(-1, streams * USUAL * BINS), before[:, :, :-1].reshape(1, -1)
        mean = torch.matmul(here, x) + carry[:, None] * old
        # The mean of ones, added up: one minus what is left would lose digits in the first frames.
        known = here.sum(1)[:, None] + carry[:, None] * before[:, :, -1]
        after = torch.cat((mean[-1:].reshape(1, streams, -1), known[-1:].reshape(1, streams, 1)), 2)
        return mean.reshape(-1, USUAL, BINS), known.reshape(-1, 1, 1), [after]

    def features(self, lagged: list[Tensor], level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``(frames, features, bins)`` as :meth:`Bandwise.features` has them, from bin 0 on; a scale; the new level."""
        spectrum, *before = lagged
        channels, count = spectrum.shape[0], self.net.config.lags + 2
        rows = torch.cat((spectrum, nn.functional.pad(spectrum, (1, -1)), *before), 2)
        pairs = rows.reshape(channels, -1, count, 2, 1, BINS) * spectrum.reshape(channels, -1, 1, 1, 2, BINS)
        steps = torch.matmul(self.products, pairs.reshape(channels, -1, 4 * count, BINS))
        steps = torch.cumsum(steps, 0)[-1] / channels + self.floor
        norm = torch.matmul(self.squares, steps * steps) + self.least
        steps = steps * torch.exp(torch.matmul(self.powers, torch.log(norm)))
        now = torch.addmm(self.offset, steps.reshape(-1, steps.shape[1] * BINS), self.meter)
        level = torch.cat((level, now.reshape(1, 1, -1, level.shape[3])), 2)
        pooled = nn.functional.avg_pool2d(level, (self.net.config.memory, 1), stride=1).reshape(-1, 1, 2)
        mean, known = pooled.split([1, 1], -1)
        return steps, known / mean, level[:, :, 1 - self.net.config.memory :]

    def context(
        self, net: Context, x: Tensor, h: Tensor, cell: Tensor, owed: Tensor
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """:class:`Context`; ``owed`` goes in and out."""
        bands, few, units = self.net.config.bands, net.few, net.time.hidden_size
        lack = (net.take.bias + (net.take.weight * owed).sum(1)).repeat(bands)
        heard = torch.matmul(x, net.take.weight.T)
        y, h, cell = _recurrence(net.time, heard, h, cell, lack)
        y = torch.relu(nn.functional.linear(y.reshape(-1, units), net.give.weight, net.give.bias))
        x = x + torch.matmul(y.reshape(-1, bands, few), net.widen.weight.T)
        return x, owed + net.widen.bias, [h, cell]


def _recurrence(lstm: nn.LSTM, x: Tensor, h: Tensor, cell: Tensor, lack: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """An LSTM on ``x + lack``, where ``lack`` is the same at all times: it goes into the bias.

    ``x`` (..., features) holds the rows of a moment, as many as ``h`` has, and then those of the next.
    """
    bias = lstm.bias_ih_l0 + (lstm.weight_ih_l0 * lack).sum(1)
    weights = [lstm.weight_ih_l0, lstm.weight_hh_l0, bias, lstm.bias_hh_l0]
    rows = x.reshape(-1, h.shape[1], lstm.input_size)
    return torch.lstm(rows, (h, cell), weights, True, 1, 0.0, False, False, False)


def _decays(frames: int, steady: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Weights of a leaky mean: of each frame in each later one ``(frames, frames)``, of the state ``(frames,)``."""
    fall = math.log1p(-1.0 / steady) * torch.arange(frames, device=device, dtype=torch.float32)
    # What is yet to come grows without bound above the diagonal, and is cut off; 1 / steady is in the exponent.
    here = torch.tril(torch.exp((fall - math.log(steady))[:, None] - fall))
    return here, (1.0 - 1.0 / steady) * torch.exp(fall)


def _turn(spec: StftSpec, kept: int) -> Tensor | None:
    r""":math:`\cos`, :math:`\sin` of what the steps of ``spec`` lack, ``(kept, 2, bins)``; None if they lack nothing.

    From frame to frame a tone in the middle of bin k turns by :math:`2 \pi k \, h / w` for frames of w every h;
    half a turn for each bin is what the network expects.
    """
    share = spec.hop_ms / spec.window_ms - 0.5
    if share == 0:
        return None
    # Whole turns drop out before they cost digits.
    steps = share * torch.arange(1, kept + 1, dtype=torch.float64)[:, None]
    angle = 2.0 * math.pi * torch.remainder(steps * torch.arange(BINS, dtype=torch.float64), 1.0)
    return torch.stack((angle.cos(), angle.sin()), 1).float()


def _matrix(width: int, *rows: dict[int, float]) -> Tensor:
    """A sparse matrix: for each row, column -> value."""
    out = torch.zeros(len(rows), width)
    for place, row in enumerate(rows):
        for column, value in row.items():
            out[place, column] = value
    return out
