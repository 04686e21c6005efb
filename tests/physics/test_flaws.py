"""Flaws of a simulated scan: each does what its name says, to the light or to the counts, and to nothing else."""

import numpy as np
import pytest

from ptycho import config
from ptycho.physics import flaws, photons, probes
from ptycho.scans import simulated

N, M = 32, 60


def scan(flaw, illumination="disk", **more):
    return simulated.simulate(N, M, 4, seed=3, illumination=illumination, flaw=flaw, **more)["train"]


@pytest.fixture(scope="module")
def clean():
    return scan("none")


def counted(found, dose="1e5"):
    return found.expose(dose).counts().astype(float)


def test_every_flaw_has_a_meaning():
    assert set(config.FLAWS) == {"none", *flaws.OF_LIGHT, *flaws.OF_DETECTOR}
    assert not set(flaws.OF_LIGHT) & set(flaws.OF_DETECTOR)


@pytest.mark.parametrize("flaw", config.FLAWS)
def test_a_flaw_tells_the_fit_the_same_object_probe_and_positions(flaw):
    illumination = "zone_plate" if flaw == "defocus" else "disk"
    one, other = scan(flaw, illumination), scan("none", illumination)
    for name in ("object", "probe", "x", "y"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    changed = not np.array_equal(one.expose("1e4").diff3d, other.expose("1e4").diff3d)
    assert changed == (flaw != "none")
    assert np.array_equal(one.expose("1e4").diff3d, scan(flaw, illumination).expose("1e4").diff3d)  # by its seed
    told = {name for name in ("background", "mask") if getattr(one.expose("1e4"), name) is not None}
    assert bool(told) == flaw.endswith("_known")


def test_scattered_light_adds_the_same_to_every_pixel(clean):
    excess = counted(scan("background")) - counted(clean)
    mean = 1e5 / N**2
    assert excess.mean() == pytest.approx(flaws.BACKGROUND * mean, rel=0.05)
    rows = excess.mean(axis=(0, 2))
    assert rows.std() < 0.3 * rows.mean()
    assert scan("background_known").expose("1e5").background == pytest.approx(flaws.BACKGROUND * mean)


def test_readout_noise_has_its_variance_and_when_known_a_pedestal_that_keeps_it_whole():
    dark = np.zeros((200, N, N))
    found = flaws.detector("readout_known").counts(dark + 50, np.random.default_rng(1))
    assert found.mean() == pytest.approx(50 + flaws.READOUT**2, abs=0.1)
    assert found.var() == pytest.approx(50 + flaws.READOUT**2 + 1 / 12, rel=0.02)  # and of rounding
    clipped = flaws.detector("readout").counts(dark, np.random.default_rng(1))
    assert clipped.min() == 0 and 0.2 < clipped.mean() < 0.6  # half of the noise is lost below zero
    assert np.array_equal(clipped, np.rint(clipped))


def test_a_full_pixel_counts_no_more(clean):
    counts, rate = counted(scan("saturation"), "1e7"), np.square(clean.ideal.astype(float))
    full = flaws.FULL * rate.max() * 1e7 / rate.sum(axis=(1, 2)).mean()
    assert counts.max() == pytest.approx(full, rel=1e-3)
    below = counted(clean, "1e7") < 0.9 * full
    np.testing.assert_array_equal(counts[below], counted(clean, "1e7")[below])


def test_a_gain_multiplies_and_a_dead_module_sees_nothing(clean):
    told = scan("gain").expose("1e4")
    values = (told.intensity_scale * told.diff3d.astype(float)) ** 2
    np.testing.assert_allclose(values, flaws.GAIN * counted(clean, "1e4"), rtol=1e-5)
    dead, known = counted(scan("dead_module")), scan("dead_module_known").expose("1e5")
    blind = ~known.mask
    assert blind.mean() == pytest.approx(flaws.DEAD) and not dead[:, blind].any()
    np.testing.assert_array_equal(dead[:, ~blind], counted(clean)[:, ~blind])
    assert counted(clean)[:, blind].sum() > 0


def test_an_unsteady_beam_has_its_spread(clean):
    ratio = (scan("beam").ideal.sum(axis=(1, 2)) / clean.ideal.sum(axis=(1, 2))) ** 2
    assert ratio.std() == pytest.approx(flaws.BEAM, rel=0.3) and ratio.mean() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(("flaw", "pixels"), flaws.JITTER.items())
def test_jittered_light_is_that_of_positions_so_far_away(clean, flaw, pixels):
    found = scan(flaw).ideal
    # a scan's patterns differ from those of the positions told as much as those of another draw of so many pixels do
    rng = np.random.default_rng(9)
    half, side = N // 2, clean.object.shape[0]
    x, y = (np.clip(v + rng.normal(0, pixels, M), half, side - half) for v in (clean.x, clean.y))
    expected = np.abs(photons.ideal_amplitude(clean.object, clean.probe, x, y) - clean.ideal).mean()
    assert np.abs(found - clean.ideal).mean() == pytest.approx(expected, rel=0.25)


def test_another_defocus_needs_a_probe_that_has_one():
    one = scan("defocus", "zone_plate")
    true = probes.zone_plate(N, flaws.DEFOCUS * probes.zone_plate_defocus(N))
    np.testing.assert_array_equal(one.ideal, photons.ideal_amplitude(one.object, true, one.x, one.y))
    with pytest.raises(ValueError, match="zone_plate"):
        scan("defocus")


def test_a_second_mode_takes_its_share_of_the_light(clean):
    empty = np.ones_like(clean.object)
    light = [
        np.square(flaws.far_field(flaw, empty, clean.probe, clean.x, clean.y, np.random.default_rng(0)))
        for flaw in ("none", "modes")
    ]
    np.testing.assert_allclose(*(pattern.sum(axis=(1, 2)) for pattern in light), rtol=1e-4)
    middle = N // 2
    # the second mode is odd: in the middle it has no light of its own
    np.testing.assert_allclose(
        light[1][:, middle, middle], (1 - flaws.SECOND_MODE) * light[0][:, middle, middle], rtol=0.02
    )


def test_a_finer_grid_agrees_with_the_coarse_one_where_both_can_be_right(clean):
    """A smooth object under a smooth probe, at positions on pixels: no interpolation, nothing beyond the detector."""
    n = np.arange(4 * N)
    smooth = 1 + 0.3 * np.sin(n / 9)[:, None] * np.cos(n / 11) + 0.1j * np.sin(n / 8)
    P, x, y = probes.gaussian(N, 3.0), np.array([50.0, 61.0]), np.array([60.0, 47.0])
    coarse, fine = (flaws.far_field(name, smooth, P, x, y, np.random.default_rng(0)) for name in ("none", "fine_grid"))
    assert np.abs(fine - coarse).max() < 2e-4 * coarse.max()
    # between the pixels the coarse grid interpolates linearly, which the fine one does half as coarsely
    between = [
        flaws.far_field(name, smooth, P, x + 0.25, y, np.random.default_rng(0)) for name in ("none", "fine_grid")
    ]
    assert np.abs(between[0] - between[1]).max() < 5e-3 * coarse.max()
    assert not np.array_equal(scan("fine_grid").ideal, clean.ideal)
