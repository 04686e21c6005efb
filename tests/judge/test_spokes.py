"""The spokes of a star: found, counted, and seen as far in as they are there."""

import numpy as np
import pytest
from scipy import ndimage

from ptycho.judge import spokes
from ptycho.physics import samples


@pytest.fixture(scope="module")
def star():
    return 1 - samples.siemens_star(301, spokes=30, inner_radius=26, angle=0.3, centre=(160.25, 139.5))


@pytest.fixture(scope="module")
def mask():
    mask = np.zeros((301, 301), bool)
    mask[10:295, 12:280] = True
    return mask


def test_centre_and_spokes_are_found_in_noise(star, mask):
    noisy = star + np.random.default_rng(0).normal(0, 0.5, star.shape)
    found = spokes.find(noisy, mask)
    assert found.spokes == 30 and found.centre == pytest.approx((160.25, 139.5), abs=0.3)
    assert found.radius(found.period(np.array(50.0))) == pytest.approx(50)
    assert found.period(np.array(30 / np.pi)) == pytest.approx(2)


def test_rings_lie_within_the_mask(star, mask):
    radii = spokes.rings(mask, (160.25, 139.5))
    assert radii[0] == spokes.INNERMOST and 124 <= radii[-1] <= 127.5  # the left edge is 127.5 pixels away


def test_modulation_ends_where_the_spokes_end(star, mask):
    found = spokes.find(star, mask)
    radii = spokes.rings(mask, found.centre)
    noise = np.random.default_rng(1).normal(0, 0.05, star.shape)
    modulation, floor = spokes.modulation(star + noise, star, found, radii)
    # a square wave of period 2 pi: its first component is 4 / pi of half its height
    assert modulation[radii > 60] == pytest.approx(2 / np.pi, rel=0.06)
    assert spokes.innermost(modulation, floor, radii) == pytest.approx(26, abs=2)
    # what is blurred is seen less far in, and noise alone nowhere
    blurred, floor = spokes.modulation(ndimage.gaussian_filter(star, 4) + noise, star, found, radii)
    assert spokes.innermost(blurred, floor, radii) > 30
    nothing, floor = spokes.modulation(noise, star, found, radii)
    assert (spokes.innermost(nothing, floor, radii) or np.inf) > radii[-10]
    assert np.mean(nothing) == pytest.approx(0, abs=3 * np.std(nothing) / np.sqrt(len(radii)))
    assert np.std(nothing) == pytest.approx(np.sqrt(np.mean(floor**2)), rel=0.4)
