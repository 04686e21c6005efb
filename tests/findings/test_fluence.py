"""Curves that a larger probe sets apart against photons per pattern, and the fluence unifies: planted and found."""

from dataclasses import replace

import numpy as np
import pytest
from standins import entry

from ptycho.figures import sweeps
from ptycho.findings import fluence
from ptycho.findings.response.dose_response import dose_response_of

DOSES = (1e2, 1e3, 1e4, 1e5, 1e6)
SEEDS = (1, 2, 3)


def study(pixels: float, unified: bool, onset: float = 0.0):
    """FRC50 that rises with the logarithm of the dose on `pixels` object pixels for every photon of a pattern; it is 0
    below the `onset`."""
    rng, arms = np.random.default_rng(int(pixels)), []
    for seed in SEEDS:
        for dose in DOSES:
            one = entry(f"seed-{seed}/{dose:.0e}_nll", nphotons=dose, loss="nll", seed=seed, direct=None)
            decades = np.log10(dose / (pixels if unified else 100)) + rng.normal(0, 0.01)
            for split in ("train", "heldout"):
                value = float(np.clip(decades / 5, 0, 1))
                one[split]["amplitude_frc50"] = value if value > onset else None
                one[split]["photon_bound"] = pixels / dose
            arms.append(one)
    return dose_response_of(arms)


@pytest.mark.parametrize(("unified", "apart"), [(True, (0.6, 0.0)), (False, (0.0, -0.6))])
def test_the_axis_along_which_the_curves_are_one_is_found(unified, apart):
    studies = {"N=64": study(100, unified), "N=128": study(400, unified)}
    found = fluence.shifts(studies)
    assert [one.axis for one in found] == [*fluence.AXES, *fluence.AXES]  # the training and the held-out scan
    for one, expected in zip(found, (*apart, *apart), strict=True):
        assert (one.first, one.second) == ("N=64", "N=128") and one.decades.n == 3
        assert one.decades.mean == pytest.approx(expected, abs=0.02)
        assert one.decades.low < one.decades.mean < one.decades.high
    unifying = fluence.AXES[int(unified)]
    end = f"closer against {unifying}, where the interval contains zero, they are not shown to lie apart."
    assert all(told.endswith(f"to the right of N=64: {end}") for told in fluence.fluence_in_words(found))


def test_no_axis_unifies_curves_that_lie_apart_along_both():
    """Of four times the pixels, each of which takes twice the photons."""
    first, second = study(100, True), study(800, True)
    fewer = [replace(limit, counting=limit.counting / 2) for limit in second.limits]
    words = fluence.fluence_in_words(fluence.shifts({"N=64": first, "N=128": replace(second, limits=tuple(fewer))}))
    closer = "to the right of N=64: closer against photons per object pixel, where the interval "
    closer += "leaves out zero, they lie apart."
    assert all(told.endswith(closer) for told in words)


def test_a_collapse_moves_no_curve():
    """Below 0.35 of Nyquist nothing is resolved: a straight line from there to the next dose would tell of a shift."""
    studies = {"N=64": study(100, True, onset=0.35), "N=128": study(400, True, onset=0.35)}
    per_pattern, per_pixel = fluence.shifts(studies)[:2]
    assert per_pattern.decades.mean == pytest.approx(0.6, abs=0.03)
    assert per_pixel.decades.mean == pytest.approx(0.0, abs=0.03)


def test_curves_without_a_resolution_in_common_are_told():
    low, high = study(1e1, True), study(1e9, True)
    assert "reach no resolution in common" in fluence.fluence_in_words(fluence.shifts({"a": low, "b": high}))[0]


def test_the_figure_has_both_axes_and_the_numbers_of_its_rows():
    studies = {"N=64": study(100, True), "N=128": study(400, True)}
    rows = fluence.fluence_rows(studies)
    assert len(rows) == 2 * 2 * len(DOSES)
    assert rows[0]["photons_per_pattern"] == 1e2 and rows[0]["photons_per_object_pixel"] == pytest.approx(1.0)
    left, right = sweeps.fluence_axes(studies, ("unrolled", "train")).axes
    assert (left.get_xlabel(), right.get_xlabel()) == fluence.AXES
    drawn = np.array(right.containers[1][0].get_xdata(), float)
    np.testing.assert_allclose(drawn, np.array(DOSES) / 400)
