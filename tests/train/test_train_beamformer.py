"""Masks through a beamformer: the torch twin is the numpy one, gradients reach the mask, the graph streams."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from unmuffle.enhancers.masks import masker  # noqa: E402
from unmuffle.enhancers.neural.model import Model  # noqa: E402
from unmuffle.enhancers.registry import load  # noqa: E402
from unmuffle.enhancers.spatial import mvdr  # noqa: E402
from unmuffle.errors import ParameterError, StreamError  # noqa: E402
from unmuffle.export.graph import to_bytes  # noqa: E402
from unmuffle.signal.covariance import spatial_covariance  # noqa: E402
from unmuffle.train import beamformer  # noqa: E402
from unmuffle.train.nets import NETS, make  # noqa: E402
from unmuffle.train.nets.array_mask import BINS, ArrayMask, ArrayMaskConfig  # noqa: E402
from unmuffle.train.stft import Stft  # noqa: E402

SMALL = ArrayMaskConfig(hidden=16, memory=4)


def batch(number, microphones=3, samples=16000):
    """A voice that comes and goes, from one side, in noise from the other."""
    rng = np.random.default_rng(number)
    heard, early = [], []
    for _ in range(2):
        gate = np.repeat(rng.random(samples // 1600) > 0.5, 1600)
        voice = np.convolve(rng.standard_normal(samples), np.ones(8) / 8, "same") * gate
        noise = np.diff(rng.standard_normal(samples + 1))
        s = np.stack([np.roll(voice, m) for m in range(microphones)])
        v = np.stack([np.roll(noise, -2 * m) for m in range(microphones)]) + 0.1 * rng.standard_normal(s.shape)
        heard.append(0.1 * (s + 0.5 * v))
        early.append(0.1 * s)
    return tuple(torch.from_numpy(np.stack(x).astype(np.float32)) for x in (heard, early))


def test_the_torch_twin_gives_the_same_weights():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 40, 6)) + 1j * rng.standard_normal((3, 40, 6))
    mask = rng.uniform(0.1, 0.9, (40, 6))
    twin = torch.view_as_real(torch.from_numpy(x.astype(np.complex64))).unsqueeze(0)
    speech, noise = beamformer.covariances(twin, torch.from_numpy(mask.astype(np.float32)).unsqueeze(0))
    expected = spatial_covariance(x, mask), spatial_covariance(x, 1.0 - mask)
    np.testing.assert_allclose(speech[0].numpy(), expected[0], atol=1e-5)
    np.testing.assert_allclose(noise[0].numpy(), expected[1], atol=1e-5)
    weights = beamformer.souden(speech, noise, 1)[0].numpy()
    np.testing.assert_allclose(weights, mvdr.souden(*expected, 1), atol=1e-4)


def test_the_gradient_of_the_beam_reaches_the_mask_and_is_the_right_one():
    torch.manual_seed(0)
    x = torch.randn(1, 3, 30, 2, 2)
    mask = torch.rand(1, 30, 2, requires_grad=True)

    def power(m):
        return beamformer.beamform(x, m).square().sum()

    power(mask).backward()
    step = torch.zeros_like(mask)
    step[0, 7, 1] = 1e-2
    with torch.no_grad():
        slope = (power(mask + step) - power(mask - step)) / 2e-2
    assert float(mask.grad[0, 7, 1]) == pytest.approx(float(slope), rel=0.05, abs=1e-3)


def test_training_raises_the_si_sdr_of_the_beam():
    torch.manual_seed(1)
    net = ArrayMask(SMALL)
    stft = Stft(net.spec.at(16000))
    same = batch(100, samples=8000)
    recipe = beamformer.BeamformerRecipe(steps=30, learning_rate=1e-2, mask_weight=1.0, ema=0.5)
    facts = beamformer.train(net, lambda i: same, recipe)
    with torch.no_grad():
        after = beamformer.loss(net, stft, *same, 0.0)[1][0]
    assert facts["steps"] == 30
    assert after > facts["si_sdr_db"][0] + 0.5
    assert all(torch.isfinite(p).all() for p in net.parameters())


def test_a_loss_that_is_not_finite_stops_the_run():
    net = ArrayMask(SMALL)
    bad = tuple(x * float("nan") for x in batch(0))
    with pytest.raises(StreamError, match="step 0"):
        beamformer.train(net, lambda i: bad, beamformer.BeamformerRecipe(steps=2))
    with pytest.raises(ParameterError):
        beamformer.BeamformerRecipe(minutes=0.0)
    with pytest.raises(ParameterError):
        ArrayMaskConfig(hidden=1)


def test_one_network_serves_any_array_in_any_split():
    torch.manual_seed(2)
    assert "array-mask" in NETS
    net = make("array-mask", {"hidden": 16, "memory": 4}).eval()
    for microphones in (1, 2, 5):
        x = torch.randn(1, microphones, 9, BINS, 2)
        with torch.no_grad():
            whole, *_ = net(x, *net.initial(1, microphones))
            state, parts = net.initial(1, microphones), []
            for l in range(9):
                part, *state = net(x[:, :, l : l + 1], *state)
                parts.append(part)
        torch.testing.assert_close(torch.cat(parts, 2), whole, atol=1e-5, rtol=1e-4)
    # The order of all microphones but the first makes no difference: no geometry can be learnt.
    with torch.no_grad():
        swapped = net.mask(x[:, [0, 3, 2, 4, 1]], *net.initial(1, 5))[0]
        torch.testing.assert_close(swapped, net.mask(x, *net.initial(1, 5))[0], atol=1e-5, rtol=1e-4)


def test_exported_it_steers_the_streaming_beamformer(tmp_path):
    torch.manual_seed(3)
    net = ArrayMask(SMALL).eval()
    content = to_bytes(net, {"name": "array-mask", "licence": "MIT", "data": {}, "recipe": {}, "scores": {}})
    path = tmp_path / "mask.onnx"
    path.write_bytes(content)
    Model(content, str(path))
    heard, _ = batch(5, samples=8000)
    x = heard[0].numpy()
    stft = Stft(net.spec.at(16000))
    with torch.no_grad():
        expected = net.mask(stft(heard[:1]), *net.initial(1, 3))[0][0].numpy()
    source = masker(str(path), net.spec, 16000, 3)
    frames = net.spec.at(16000)
    padded = np.pad(x, ((0, 0), (0, frames.size)))[:, : expected.shape[0] * frames.hop]
    spectra, _ = frames.forward(padded, np.zeros((3, frames.size - frames.hop), np.float32))
    found, _ = source.step(spectra, source.begin())
    # The mask of the bench is the square of the gain; silence at the end has no gain.
    np.testing.assert_allclose(np.sqrt(found[:25]), expected[:25], atol=1e-3)
    method = load("mvdr", masks=str(path))
    stream = method.stream(16000, 3)
    whole = np.concatenate((stream.process(x), stream.flush()), axis=1)
    parts = [stream.process(x[:, i : i + 500]) for i in range(0, 8000, 500)]
    assert np.abs(np.concatenate((*parts, stream.flush()), axis=1) - whole).max() < 1e-4
    with pytest.raises(ParameterError, match="frames"):
        load("mvdr", masks=str(path), window_ms=32.0).stream(16000, 3)
