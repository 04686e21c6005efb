"""Bias and noise of planted images: each is found where it was put."""

import numpy as np
import pytest

from bench import bias
from ptycho.judge.cramer_rao import InformationBound
from ptycho.judge.frc import Rings, evaluation_window, ring_power
from ptycho.physics.samples import make_object

SIZE, SIGMA = 96, 0.05


@pytest.mark.parametrize("level", [1.0, 0.8])
def test_planted_noise_and_a_planted_level_are_told_apart(level):
    truth = make_object("lines", SIZE, 1).astype(np.complex128)
    mask = np.zeros((SIZE, SIZE), bool)
    mask[8:-8, 8:-8] = True
    rng = np.random.default_rng(0)
    noise = SIGMA * (rng.standard_normal((2, 40, SIZE, SIZE)) * [[[[1]]], [[[1j]]]]).sum(axis=0)
    power = np.mean(np.abs(truth[mask]) ** 2)
    # white noise of half the planted variance is the least at 10 photons
    frequency, signal, n = ring_power(np.abs(truth[8:-8, 8:-8]), evaluation_window(mask[8:-8, 8:-8]))
    least = 10 * SIGMA**2 / 2 * np.sum(evaluation_window(mask[8:-8, 8:-8]) ** 2)
    rings = {"amplitude": Rings(frequency, signal, np.full(n.shape, least), n)}
    bound = InformationBound(10 * SIGMA**2 / power, 0.0, rings, 1.0, mask, mask)
    row = bias.row_of(level * truth + noise, truth, bound, 10.0)
    assert row["variance"] == pytest.approx(2, rel=0.02)
    assert row["bias"] == pytest.approx((1 - level) ** 2 * power / SIGMA**2, rel=0.02, abs=0.01)
    assert row["error"] == pytest.approx(row["bias"] + row["variance"])
    for _, high in bias.BANDS:
        assert row[f"kept_{high:g}"] == pytest.approx(level, abs=0.02)
        assert row[f"variance_{high:g}"] == pytest.approx(2, rel=0.06)


def test_the_resolution_is_that_of_every_image_with_its_interval():
    truth = make_object("lines", SIZE, 1).astype(np.complex128)
    found = np.zeros((3, SIZE, SIZE), np.complex128)
    found[:, 8:-8, 8:-8] = truth[8:-8, 8:-8]
    assert bias.resolved(found, truth).mean == 1
    noise = np.random.default_rng(0).standard_normal(found.shape)
    noisy = bias.resolved(np.where(found != 0, found + noise, 0), truth)
    assert noisy.n == 3 and noisy.low < noisy.mean < noisy.high < 0.5
