"""What explore.ipynb shows: of the committed reports, of a study with reconstructions, and of a scan's file."""

import json

import numpy as np
import pytest
from standins import ROOT, entry

from ptycho.errors import ConfigError
from ptycho.figures import explore as drawing
from ptycho.findings import explore
from ptycho.scans import simulated
from ptycho.scans.reconstruction import Reconstruction, save_reconstructions
from ptycho.study import layout

REPORTS = ROOT / "reports"


def test_the_reports_of_the_repository_are_found_with_the_sweep_first():
    found = [name for name in explore.sources(REPORTS) if name != explore.LAB]
    assert found[0] == "sweep" and {"lines", "conditions/grf", "siemens-star-sweep"} <= set(found)


def test_a_folder_without_studies_says_what_to_run(tmp_path):
    with pytest.raises(ConfigError, match=r"holds no study and no sweep\. Run the notebooks simulate and train-arm"):
        explore.sources(tmp_path)


def test_a_report_shows_its_own_numbers_beside_an_example():
    source = explore.Sweep(REPORTS / "sweep")
    look = source.look(1e4, "nll")
    assert look.contrast == "amplitude" and look.object_title.startswith("an example")
    assert 5e3 < look.pattern.sum() < 2e4
    (point,) = (one for one in source.points() if (one.method, one.loss, one.nphotons) == ("unrolled", "nll", 1e4))
    frequency, correlation = look.curves["unrolled, training scan"]
    assert frequency[np.argmax(correlation < 0.5)] == pytest.approx(point.frc50, abs=0.05)
    assert point.low < point.frc50 < point.high
    words = explore.in_words(source.points(), 1e4, "nll", source.exposure)
    assert any(f"unrolled resolves {point.frc50:.2f} [" in line for line in words)
    bought = drawing.bought(source.points(), 1e4, "nll", source.exposure)
    assert len(drawing.look(look).axes) == 5 and len(bought.axes) == 2


def test_a_measured_report_shows_no_simulated_object():
    source = explore.Sweep(REPORTS / "siemens-star-sweep")
    look = source.look(source.doses[0], source.losses[0])
    assert look.object is None and look.pattern is None and look.contrast == "phase"
    assert source.told == [explore.REFERENCE] and len(drawing.look(look).axes) == 1


@pytest.fixture
def study(tmp_path):
    """An arm with its scan and its reconstruction."""
    scan = simulated.simulate(64, 20, 4, seed=1, object_size=100)["train"].expose("1e4")
    (tmp_path / "data").mkdir()
    scan.save(tmp_path / layout.scan_file("1e4", "train"))
    arm = tmp_path / "low_nll"
    arm.mkdir()
    (arm / layout.METRICS).write_text(json.dumps(entry("low_nll")))
    curve = {"frequency": [0.5, 1.0], "complex": [0.9, 0.2], "amplitude": [0.9, 0.1], "phase": None}
    (arm / layout.FRC).write_text(json.dumps({"contrast": "amplitude", "parts": {"train": curve}}))
    coverage = np.zeros((100, 100), np.float32)
    coverage[20:60, 30:80] = 1
    found = Reconstruction(np.full((100, 100), 2 + 0j, np.complex64), coverage, np.zeros(2))
    save_reconstructions(arm / layout.RECONSTRUCTION, {"train": found, "heldout": found})
    return tmp_path, scan


def test_a_study_shows_its_own_reconstruction_and_pattern(study):
    folder, scan = study
    source = explore.Study(folder)
    assert (source.doses, source.losses, source.told) == ([1e4], ["nll"], [])
    look = source.look(1e4, "nll")
    assert look.object.shape == (40, 50) and look.object_title == "reconstruction, training scan of low_nll"
    np.testing.assert_array_equal(look.pattern, max(scan.counts(), key=np.sum))
    assert look.curves["train"][1].tolist() == [0.9, 0.1]
    assert {(one.method, one.frc50, one.limit) for one in source.points()} == {
        ("unrolled", 0.9, None),
        ("direct", 0.9, None),
    }
    with pytest.raises(ConfigError, match="has no arm of mae at 1e"):
        source.look(1e4, "mae")


def test_trap_a_study_claims_more_than_its_reference_is_trusted_to(study):
    folder, _ = study
    (folder / layout.METRICS).write_text(json.dumps({"doubts": [], "finest": 0.31}))
    source = explore.Study(folder)
    assert {one.frc50 for one in source.points()} == {0.31}


def test_electrons_are_told_as_electrons_and_have_no_example_of_photons(study):
    folder, _ = study
    arm = entry("low_nll") | {"exposure": {"particle": "electrons", "area": 4e-20, "gray": None}}
    (folder / "low_nll" / layout.METRICS).write_text(json.dumps(arm))
    (folder / layout.scan_file("1e4", "train")).unlink()
    source = explore.Study(folder)
    look, words = source.look(1e4, "nll"), explore.in_words(source.points(), 1e4, "nll", source.exposure)
    assert look.object is None and look.pattern is None
    assert all("at 2.5e+03 electrons per A^2" in told for told in words)
    resolution = drawing.bought(source.points(), 1e4, "nll", source.exposure).axes[0]
    assert resolution.get_xlabel() == "electrons per A^2" and resolution.lines[0].get_xdata() == [2500]


def test_trap_a_doubtful_study_claims_a_resolution(study):
    folder, _ = study
    (folder / layout.METRICS).write_text(json.dumps({"doubts": ["the misfit is too large"]}))
    source = explore.Study(folder)
    assert source.points() == [] and source.told[0].startswith("DOUBTFUL")


@pytest.mark.slow
def test_a_scans_file_is_fitted_at_the_dose_that_is_picked(tmp_path):
    scan = simulated.simulate(64, 150, 4, seed=1, object_size=128)["train"].expose("1e6")
    scan.save(tmp_path / "scan.npz")
    source = explore.ScanFile(str(tmp_path / "scan.npz"))
    assert source.doses[0] == pytest.approx(1e6, rel=0.05) and source.doses[1:] == [1e5, 1e4, 1e3]
    looks = {dose: source.look(dose, "nll") for dose in (source.doses[0], 1e4)}
    full, low = source.points()
    assert full.frc50 > low.frc50 > 0.1 and low.limit is None
    assert looks[1e4].pattern.sum() < looks[source.doses[0]].pattern.sum() / 50
    assert len(drawing.look(looks[1e4]).axes) == 5
