"""The shipped mask network: what its file and its card say, and that the beam behind it is better than one without masks."""

from importlib import resources

import numpy as np
import pytest
from signals import bundled, si_sdr

from unmuffle.enhancers.base import run_offline
from unmuffle.enhancers.neural import model
from unmuffle.enhancers.registry import load

RATE = 16000


def test_facts_and_card_agree_with_the_file():
    facts = model.shipped("array-mask").facts
    folder = resources.files("unmuffle") / "models"
    assert facts.sha256 in (folder / "array-mask.md").read_text(encoding="utf-8")
    assert facts.licence
    assert facts.data["speech"]
    assert facts.recipe["seed"] == 1
    assert facts.scores["validation_si_sdr_db"] > 0.0
    assert len((folder / "array-mask.onnx").read_bytes()) < 2e6
    assert facts.sha256 in load("neural-beamformer").key()
    assert facts.sha256 in load("mask-mvdr", masks="array-mask").key()


def test_it_beats_mvdr_without_masks_in_rooms():
    # The other beam gets the true direction of the talker, and this one nothing. Both learn for a second.
    pytest.importorskip("pyroomacoustics")
    from unmuffle.degrade.array_rooms import random_scene, simulate

    voice = bundled("clean")[: 5 * RATE]
    gains = []
    for seed in range(3):
        rng = np.random.default_rng(100 + seed)
        scene = random_scene(
            rng, t60_s=0.4, apart_deg=45.0, level_db=-3.0, noise_snr_db=3.0, noise_color="white", sample_rate=RATE
        )
        other = rng.standard_normal(voice.size).astype(np.float32)
        heard = simulate(scene, [voice, np.convolve(other, [1.0, 0.9], "same").astype(np.float32)])
        place = scene.sources[0]
        steering = {"array": scene.array, "azimuth_deg": place.azimuth_deg, "elevation_deg": place.elevation_deg}
        scores = []
        for beam in (load("neural-beamformer"), load("mvdr", form="steered", **steering)):
            out = run_offline(beam, heard.mix, RATE)[0, RATE:]
            scores.append(max(si_sdr(e[RATE:], out) for e in heard.early[0]))
        gains.append(scores[0] - scores[1])
    assert np.mean(gains) > 1.0


@pytest.mark.parametrize("microphones", [2, 3, 6])
def test_any_number_of_microphones(microphones):
    x = bundled("noisy")[: 2 * RATE]
    rows = np.stack([np.roll(x, 2 * m) for m in range(microphones)])
    out = run_offline(load("neural-beamformer"), rows, RATE)
    assert out.shape == (1, x.size)
    assert np.isfinite(out).all()
