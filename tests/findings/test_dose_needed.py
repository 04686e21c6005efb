"""What dose a resolution takes: crossings of known curves, and words that follow from numbers."""

import numpy as np
import pytest

from ptycho.errors import ConfigError
from ptycho.findings import dose_needed
from ptycho.judge import halves
from ptycho.judge.frc import FRCCurve
from ptycho.judge.halves import Thinning
from ptycho.scans.exposure import Exposure
from ptycho.scans.reconstruction import Reconstruction

RINGS = FRCCurve(np.linspace(0.01, 1, 100), np.ones(100), np.full(100, 100))
BLANK = Reconstruction(np.ones((4, 4), np.complex64), np.ones((4, 4), np.float32), np.zeros(2))


def thinning(dose, nphotons, k, frc50, reference=True):
    curve = FRCCurve(RINGS.frequency, (RINGS.frequency < frc50).astype(float), RINGS.n)
    split = halves.SplitResolution(curve, frc50 * 0.9, curve, frc50, (BLANK, BLANK))
    return Thinning(dose, nphotons, nphotons / 20, k, split, BLANK, curve if reference else None)


TRUE = {"doubts": [], "finest": 1.0}
"""Of a reference that no test doubts."""


@pytest.fixture
def found():
    """FRC50 = 0.2 log10(dose) - 0.4, to the thousandth; three thinnings that scatter by 0.01."""
    scatter = (-0.01, 0.0, 0.01)
    doses = {"1e5": 1e5, "1e3": 1e3, "full": 4e5, "1e4": 1e4}
    return [
        thinning(dose, n, k, 0.2 * np.log10(n) - 0.4 + scatter[k], dose != "full")
        for dose, n in doses.items()
        for k in range(3)
    ]


def test_the_dose_between_two_is_found_with_its_interval(found):
    asked = dose_needed.needed(found, 0.5)
    assert asked.nphotons == pytest.approx(10**4.5) and asked.reached == "within" and asked.n == 3
    # the mean of three that scatter by 0.01: half a width of 4.3 * 0.01 / sqrt(3) = 0.025, 0.124 of a decade
    assert np.log10([asked.low, asked.high]) == pytest.approx([4.5 - 0.124, 4.5 + 0.124], abs=0.012)
    assert dose_needed.needed(found, 0.5) == asked
    levels = dose_needed.levels(found)
    assert [level.dose for level in levels] == ["1e3", "1e4", "1e5", "full"]
    assert levels[-1].reference is None and levels[0].reference == pytest.approx(0.19, abs=0.006)
    words = " ".join(dose_needed.recommendation(levels, asked, None, TRUE))
    assert (
        "a full period of 4 pixels (FRC50 of 0.50 of Nyquist) 3.2e+04 [2.4e+04, 4.1e+04] photons per pattern" in words
    )
    assert "1.58e+03 per object pixel" in words and "over 3 thinnings" in words
    assert "a full period of 40 nm" in " ".join(dose_needed.recommendation(levels, asked, 1e-8, TRUE))
    table = dose_needed.levels_table(levels, None)
    assert table.splitlines()[1].split()[:3] == ["1e3", "1000", "50"] and "0.200 [0.175, 0.225]" in table


@pytest.mark.parametrize(
    ("frequency", "reached", "words"),
    [(0.1, "below", "the lowest dose of the study is enough"), (0.9, "above", "the highest dose of the study is not")],
)
def test_what_the_doses_do_not_bracket_is_said(found, frequency, reached, words):
    asked = dose_needed.needed(found, frequency)
    assert asked.nphotons is None and asked.reached == reached
    assert words in " ".join(dose_needed.recommendation(dose_needed.levels(found), asked, None, TRUE))


def test_one_thinning_has_no_interval(found):
    single = [one for one in found if one.seed == 1]
    asked = dose_needed.needed(single, 0.5)
    assert asked.nphotons == pytest.approx(10**4.5) and (asked.low, asked.high) == (None, None)
    assert "(no interval)" in " ".join(dose_needed.recommendation(dose_needed.levels(single), asked, None, TRUE))
    with pytest.raises(ValueError, match="equally many thinnings"):
        dose_needed.needed(found[:-1], 0.5)


def test_without_a_question_there_is_no_answer(found):
    words = dose_needed.recommendation(dose_needed.levels(found), None, None, TRUE)
    assert len(words) == 3 and "No resolution was asked for" in words[-1]


def test_a_doubtful_reference_has_no_resolution_and_no_dose(found):
    levels, asked = dose_needed.levels(found), dose_needed.needed(found, 0.5)
    doubt = "misfit 0.3, expected at most 0.02: share of the light"
    words = dose_needed.recommendation(levels, asked, None, {"doubts": [doubt], "finest": 0.9})
    assert words[1:] == [doubt] and words[0].startswith("DOUBTFUL: no resolution and no dose is claimed")
    table = dose_needed.levels_table(levels, None, claimed=False)
    assert "FRC50" not in table and "0.200" not in table and table.splitlines()[1].split() == ["1e3", "1000", "50"]


def test_nothing_finer_is_claimed_than_halves_of_the_positions_agree_on(found):
    levels, asked = dose_needed.levels(found), dose_needed.needed(found, 0.5)
    words = dose_needed.recommendation(levels, asked, None, TRUE | {"finest": 0.4})
    assert "promise an FRC50 of 0.200" in words[0]  # the lowest dose promises less than that
    assert "agree to 0.400 of Nyquist alone, a full period of 5 pixels" in words[1] and "0.720" not in words[1]
    assert words[2] == "For 0.50 of Nyquist no dose is given: the scan agrees with itself to less."
    assert "3.2e+04 [" in " ".join(dose_needed.recommendation(levels, asked, None, TRUE | {"finest": 0.75}))


def test_a_resolution_is_read_in_pixels_and_nanometres():
    assert dose_needed.fraction("4", None) == 0.5
    assert dose_needed.fraction("20nm", 5e-9) == pytest.approx(0.5)
    # two pixels, but for the last digit
    assert all(dose_needed.fraction(f"{2 * k / 10:.1f}nm", k * 1e-10) == pytest.approx(1) for k in range(1, 200))
    with pytest.raises(ValueError, match="does not tell its pixel size"):
        dose_needed.fraction("20nm", None)
    with pytest.raises(ValueError, match=r"a period of 1\.00 object pixels; expected 2 or more"):
        dose_needed.fraction("20nm", 2e-8)
    with pytest.raises(ConfigError, match="RESOLUTION='20 nm' is not accepted"):
        dose_needed.fraction("20 nm", 1e-9)


PHOTONS = Exposure("photons", area=4e-14)
"""25 photons per um^2 for each per pattern."""


def test_what_the_sample_feels_stands_beside_what_is_counted(found):
    levels, asked = dose_needed.levels(found), dose_needed.needed(found, 0.5)
    table = dose_needed.levels_table(levels, None, told=PHOTONS).splitlines()
    assert table[0].split("per obj. pixel")[1].split()[:3] == ["photons", "per", "um^2"]
    assert table[1].split()[:4] == ["1e3", "1000", "50", "2.5e+04"]
    words = " ".join(dose_needed.recommendation(levels, asked, None, TRUE, PHOTONS))
    assert "1.58e+03 per object pixel, 7.91e+05 photons per um^2." in words
    electrons = Exposure("electrons", area=4e-20)
    words = " ".join(dose_needed.recommendation(levels, asked, None, TRUE, electrons))
    assert "7.9e+03 [6e+03, 1e+04] electrons per A^2 are needed, 1.58e+03 per object pixel." in words
    assert "photons" not in words


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (25e4, "The sample bears 2.5e+05 photons per um^2: before it a full period of 5 pixels is resolved."),
        (25e3, "before it a full period of 10 pixels is resolved."),
        (1e9, "a full period of 2.78 pixels is resolved, the most that the study knows, for its doses end below."),
        (1e3, "less than the lowest dose of the study, 2.5e+04: no resolution is known before it."),
    ],
)
def test_before_the_damage_a_period_is_resolved(found, damage, words):
    """FRC50 is 0.2, 0.4, 0.6 of Nyquist at 1e3, 1e4, 1e5 photons per pattern: periods of 10, 5 and 3.3 pixels."""
    levels = dose_needed.levels(found)
    told = dose_needed.recommendation(levels, None, None, TRUE, PHOTONS, damage)
    assert words in " ".join(told)
    unknown = dose_needed.recommendation(levels, None, None, TRUE, damage=damage)
    assert "is compared with no dose: the size of an object pixel is unknown" in " ".join(unknown)
