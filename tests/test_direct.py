"""The network-free fit: it finds the object, from a wrong probe too, and says so when it cannot."""

from dataclasses import replace

import numpy as np
import pytest

from ptycho import acquisition, arm, direct, probes
from ptycho.callbacks import TrainingError


@pytest.fixture(scope="module")
def splits():
    return acquisition.simulate(64, 600, 40, seed=3, phase=0.5)


def judged(data, fit):
    return arm.judge(fit.reconstruction, data)


def test_high_dose_is_reconstructed_to_nyquist(splits):
    data = splits["train"].expose("1e9")
    fit = direct.fit(data, "nll", passes=40, batch_size=20)
    found = judged(data, fit)
    assert found.amplitude_frc50 > 0.9
    assert found.phase_frc50 > 0.9
    assert found.relative_mse < 1e-3
    assert fit.losses[-1] < fit.losses[0]
    assert np.array_equal(fit.probe, data.probeGuess)  # not asked to refine it


def test_the_same_seed_gives_the_same_bits(splits):
    data = splits["heldout"].expose("1e4")
    one, two = (direct.fit(data, "mae", passes=2, seed=5) for _ in range(2))
    assert np.array_equal(one.reconstruction.object, two.reconstruction.object)
    other = direct.fit(data, "mae", passes=2, seed=6)
    assert not np.array_equal(one.reconstruction.object, other.reconstruction.object)


def test_frame_and_coverage_are_those_of_the_scan(splits):
    data = splits["heldout"].expose("1e4")
    found = direct.fit(data, "mse", passes=1).reconstruction
    n = probes.cropped_modes(data.probeGuess).shape[-1]
    first = np.floor([data.ycoords.min() - n // 2, data.xcoords.min() - n // 2]) - direct.MARGIN
    assert np.array_equal(found.origin_yx, first)
    light = len(data) * np.sum(np.abs(probes.cropped_modes(data.probeGuess)) ** 2)
    assert found.coverage.sum() == pytest.approx(light, rel=1e-4)
    assert np.all(found.object[found.coverage == 0] == 1)


def test_a_wrong_probe_is_refined(splits):
    data = splits["train"].expose("1e9")
    y, x = np.mgrid[:64, :64] - 32
    blurred = (np.exp(-(x**2 + y**2) / (2 * 8.0**2)) * 1.2).astype(np.complex64)
    told = replace(data, probeGuess=blurred)
    kept = direct.fit(told, "mse", passes=25, batch_size=20)
    refined = direct.fit(told, "mse", passes=25, batch_size=20, refine_probe=True)
    assert refined.losses[-1] < kept.losses[-1] - 1
    assert np.linalg.norm(refined.probe - blurred) > 0.1 * np.linalg.norm(blurred)


def test_incoherent_modes_are_added_and_explain_more(splits):
    data = splits["heldout"].expose("1e4")
    fit = direct.fit(data, "mse", passes=2, refine_probe=True, modes=3)
    assert fit.probe.shape == (3, 64, 64)
    assert all(np.linalg.norm(mode) > 0 for mode in fit.probe)


def test_a_fit_that_diverges_is_refused(splits):
    with pytest.raises(TrainingError, match="diverged"):
        direct.fit(splits["heldout"].expose("1e4"), "nll", passes=2, learning_rate=float("nan"))
