"""How long the steps of a scan are: a planted stretch is found from the patterns alone."""

from dataclasses import replace

import numpy as np
import pytest

from ptycho.physics import photons, probes, samples
from ptycho.reconstruct import alignment
from ptycho.scans.rawdata import RawData


@pytest.fixture(scope="module")
def scan():
    rng = np.random.default_rng(0)
    P, O = probes.make_probe("disk", 64), samples.make_object("lines", 160, 3, phase=1.0)
    x, y = samples.random_positions(300, 160, 64, rng)
    diff3d, s = photons.expose(photons.ideal_amplitude(O, P, x, y), 1e6, rng)
    return RawData(diff3d, x, y, P, xcoords_start=x + 1, ycoords_start=y, intensity_scale=s, pixel_size=1e-8)


@pytest.mark.parametrize(("planted", "tried"), [(1.08, 4), pytest.param(1.0, 3, marks=pytest.mark.slow)])
def test_a_planted_magnification_is_found(scan, planted, tried):
    error = np.random.default_rng(3).uniform(-1, 1, (2, len(scan)))
    off = alignment.magnify(scan, planted)
    off = replace(off, xcoords=off.xcoords + error[0], ycoords=off.ycoords + error[1])
    factor, losses = alignment.find_magnification(off, seed=1)
    assert (
        factor == pytest.approx(1 / planted, rel=0.01) and len(losses) == tried and losses[1.0] >= min(losses.values())
    )
    if planted == 1:
        assert factor == 1 and alignment.magnify(off, factor) is off


def test_what_a_magnification_does_to_a_scan(scan):
    framed = replace(scan, objectGuess=np.ones((200, 200), np.complex64))
    made = alignment.magnify(framed, 0.5)
    assert made.objectGuess is None and made.pixel_size == pytest.approx(2e-8)
    for axis in ("xcoords", "ycoords"):
        old, new = getattr(scan, axis), getattr(made, axis)
        np.testing.assert_allclose(new - new.min(), 0.5 * (old - old.min()))
        assert new.min() + new.max() == pytest.approx(old.min() + old.max())
    np.testing.assert_allclose(made.xcoords_start - made.xcoords, 0.5)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        (lambda k: -0.2 * k, 1.0),  # lower and lower as far as the walk may go
        (lambda k: -0.002 * k + 1e-4 * k**2, 1.0),  # a valley, too shallow to be believed
        (lambda k: -abs(k) - 0.1 * k, 1.0),  # 1 is a hill
        (lambda k: 0.02 * (k - 2.3) ** 2, np.exp(2.3 * alignment.STEP)),
        (lambda k: 0.02 * k**2, 1.0),
    ],
)
def test_a_magnification_is_believed_at_the_bottom_of_a_clear_valley(scan, monkeypatch, losses, expected):
    def loss(data, seed, curvatures):
        return losses(np.log(np.ptp(data.xcoords) / np.ptp(alignment.middle(scan).xcoords)) / alignment.STEP)

    monkeypatch.setattr(alignment, "trial_loss", loss)
    factor, tried = alignment.find_magnification(scan, seed=1)
    assert factor == pytest.approx(expected) and len(tried) <= alignment.FARTHEST + 2


@pytest.mark.slow
def test_what_only_a_bad_fit_likes_is_not_taken(scan):
    """Under errors of 5 pixels rms every fit is bad."""
    error = np.random.default_rng(3).normal(0, 5 / np.sqrt(2), (2, len(scan)))
    off = replace(scan, xcoords=scan.xcoords + error[0], ycoords=scan.ycoords + error[1])
    assert alignment.find_magnification(off, seed=1)[0] == 1
