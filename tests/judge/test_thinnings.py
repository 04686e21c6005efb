"""The resolution of a measured scan over thinnings: what is fitted, what comes out, how it is drawn."""

import numpy as np
import pytest

from ptycho.figures import measured
from ptycho.findings import dose_needed
from ptycho.judge import halves
from ptycho.physics import photons, probes, samples
from ptycho.reconstruct.direct import DirectFit
from ptycho.scans.rawdata import RawData


@pytest.fixture(scope="module")
def scan():
    """A star whose spokes end at a period of 4 pixels, at 1e6 photons per pattern; its reference is the truth."""
    rng = np.random.default_rng(0)
    O = np.exp(1j * samples.siemens_star(160, spokes=24, inner_radius=24 * 4 / (2 * np.pi))).astype(np.complex64)
    P = probes.make_probe("disk", 64)
    x, y = samples.random_positions(300, 160, 64, rng)
    diff3d, s = photons.expose(photons.ideal_amplitude(O, P, x, y), 1e6, rng)
    return RawData(diff3d, x, y, P, objectGuess=O, nphotons=1e6, intensity_scale=s)


@pytest.fixture(scope="module")
def found(scan):
    return list(halves.thinnings(scan, ("full", "3e2"), 1, seed=1))


def test_more_photons_resolve_more_and_the_reference_agrees(scan, found):
    full, thinned = found
    assert full.split.frc50 > thinned.split.frc50 + 0.2
    assert full.reference is None and full.reference_frc50 is None
    assert thinned.reference_frc50 == pytest.approx(thinned.split.frc50, abs=0.03)
    assert thinned.nphotons == pytest.approx(300, rel=0.01) and full.nphotons == pytest.approx(1e6, rel=0.01)
    assert thinned.fluence / 300 * 1e6 == pytest.approx(full.fluence, rel=0.02)
    row = thinned.as_row()
    assert row["split_half_bit"] == thinned.split.crossing and row["dose"] == "3e2" and row["thinning"] == 0


def test_the_spokes_show_as_far_in_as_the_halves_say(scan, found):
    images = [measured.image(one, scan.objectGuess, is_star=True) for one in found]
    rows = measured.spoke_rows(images)
    for row in rows:
        assert row["spokes"] == 24 and row["period_halves"] * 24 / (2 * np.pi) == pytest.approx(row["radius_halves"])
    # at full dose it is the star that ends, for the halves agree there
    assert rows[0]["period_shown"] == pytest.approx(4, abs=0.6) and rows[0]["correlation_shown"] > 0.8
    assert rows[0]["radius_halves"] < rows[0]["radius_shown"] - 3
    assert rows[1]["radius_shown"] <= rows[1]["radius_halves"] and rows[1]["correlation_shown"] < 0.7
    assert len(measured.by_dose(images).axes) == 3  # two images, one colour bar
    assert images[0].label == "phase (rad)"
    lines = measured.spoke_modulation(images).axes[0].lines
    assert len(lines) == 6  # modulation, noise and what the halves agree on, of each
    plain = measured.image(found[0], scan.objectGuess, is_star=False)
    assert plain.star is None
    with pytest.raises(ValueError, match="of a star alone"):
        measured.spoke_modulation([plain])
    with pytest.raises(ValueError, match="no reconstruction"):
        measured.by_dose([])


def test_resolution_against_dose_is_drawn_with_what_was_asked_for(found):
    levels = dose_needed.levels(found)
    asked = dose_needed.needed(found, np.mean([one.split.frc50 for one in found]))
    figure = measured.against_dose(levels, asked)
    labels = {text.get_text() for text in figure.legends[0].get_texts()}
    assert labels == {
        *("halves, FRC50 expected", "halves, half a bit", "reference, FRC50"),
        *("asked for", "dose needed"),  # a single thinning has no interval
    }
    with pytest.raises(ValueError, match="no dose to draw"):
        measured.against_dose([], None)


def test_each_thinning_is_its_own_and_only_the_first_is_fitted_whole(scan, monkeypatch):
    fitted = []

    def fit(data, loss, passes, batch_size, seed):
        fitted.append((data, loss, passes))
        noise = np.random.default_rng(seed).normal(size=(160, 160))
        found = halves.Reconstruction(scan.objectGuess + noise, np.ones((160, 160), np.float32), np.zeros(2))
        return DirectFit(found, scan.probeGuess, np.zeros(passes))

    monkeypatch.setattr(halves.direct, "fit", fit)
    found = list(halves.thinnings(scan, ("1e4", "full"), 3, seed=1))
    assert [(one.dose, one.seed) for one in found] == [(dose, k) for dose in ("1e4", "full") for k in range(3)]
    assert [one.whole is not None for one in found] == [True, False, False] * 2
    assert len(fitted) == 14 and {loss for _, loss, _ in fitted} == {"nll"}
    assert [passes for *_, passes in fitted] == [halves.PASSES] * 7 + [halves.FULL_PASSES] * 7
    whole, one, other, *_ = (data.counts() for data, *_ in fitted[:3])
    assert np.array_equal(one + other, whole) and whole.sum() == pytest.approx(1e4 * 300, rel=0.01)
    second = sum(data.counts() for data, *_ in fitted[3:5])
    assert not np.array_equal(second, whole)  # another thinning
    assert np.array_equal(sum(data.counts() for data, *_ in fitted[8:10]), scan.counts())
    assert not np.array_equal(fitted[8][0].counts(), fitted[10][0].counts())  # another split
    again = list(halves.thinnings(scan, ("1e4",), 1, seed=1))
    assert again[0].split.frc50 == found[0].split.frc50
    with pytest.raises(ValueError, match="of the first thinning"):
        measured.image(found[1], scan.objectGuess, False)
