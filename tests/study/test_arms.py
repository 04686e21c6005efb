"""What an arm leaves behind, and what the comparison makes of it: files, entries, table and verdict."""

import csv
import json

import numpy as np
import pytest

from ptycho.errors import DataError
from ptycho.figures import images, output
from ptycho.findings import comparison
from ptycho.judge.parts import judge, judge_parts
from ptycho.reconstruct import direct
from ptycho.scans import simulated
from ptycho.scans.reconstruction import PARTS, load_reconstructions, save_reconstructions
from ptycho.study import layout
from ptycho.study.arms import arm_entry, check_arm, claimed, trusted
from ptycho.study.config import Arm


@pytest.fixture(scope="module")
def scan():
    return simulated.simulate(64, 200, 20, seed=2)["train"].expose("1e9")


@pytest.fixture(scope="module")
def found(scan):
    good = direct.fit(scan, "mse", passes=20, batch_size=20).reconstruction
    return dict.fromkeys(PARTS, good)


@pytest.fixture(scope="module")
def judged(scan, found):
    return dict.fromkeys(PARTS, judge(found["train"], scan))


def history(nepochs=2):
    return [{"epoch": k + 1, "loss": 1.0 / (k + 1), "seconds": 2.0} for k in range(nepochs)]


def test_entry_follows_the_schema(scan, judged):
    entry = arm_entry("high_mse", scan, "mse", 2, "unrolled", history(), patterns=800, judged=judged)
    check_arm(entry, "metrics.json", "high_mse")
    assert entry["status"] == "ok"
    assert entry["train_seconds"] == 4.0
    assert entry["patterns_per_second"] == 400.0
    assert entry["nphotons"] == 1e9


def test_a_flat_reconstruction_is_called_collapsed(scan, found, judged):
    flat = type(found["train"])(np.ones_like(found["train"].object), found["train"].coverage, found["train"].origin_yx)
    entry = arm_entry("x", scan, "mse", 2, "cnn", history(), 800, {**judged, "heldout": judge(flat, scan)})
    assert entry["status"] == "collapsed"
    assert entry["heldout"]["amplitude_frc50"] is None
    assert entry["train"]["amplitude_frc50"] > 0.5


def test_a_trained_probe_predicts_the_network_s_counts_alone(scan, found):
    scans = {"train": scan, "heldout": scan}
    plain, trained = judge_parts(found, scans), judge_parts(found, scans, scan.probeGuess * 1.1)
    assert list(plain) == list(trained) == list(PARTS)
    assert trained["direct"].deviance == plain["direct"].deviance == judge(found["direct"], scan).deviance
    # 1.21 times the counts, of which each pixel has very many
    assert min(trained["train"].deviance, trained["heldout"].deviance) > 100 * plain["train"].deviance


def test_reconstructions_round_trip_exactly(found, tmp_path):
    path = tmp_path / "reconstruction.npz"
    save_reconstructions(path, found)
    back = load_reconstructions(path)
    for part in PARTS:
        assert np.array_equal(back[part].object, found[part].object)
        assert np.array_equal(back[part].coverage, found[part].coverage)
        assert np.array_equal(back[part].origin_yx, found[part].origin_yx)
    with np.load(path) as arrays:
        assert arrays["train_object"].dtype == np.complex64
        assert arrays["heldout_coverage"].dtype == np.float32
        assert arrays["train_origin_yx"].dtype == np.float64
    assert [p.name for p in tmp_path.iterdir()] == ["reconstruction.npz"]


@pytest.mark.parametrize("damage", ["missing", "truncated", "incomplete", "text"])
def test_a_damaged_reconstruction_is_named(found, tmp_path, damage):
    path = tmp_path / "reconstruction.npz"
    save_reconstructions(path, found if damage != "incomplete" else {"train": found["train"]})
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:500])
    elif damage == "text":
        path.write_text("no archive")
    with pytest.raises(DataError, match=r"reconstruction\.npz"):
        load_reconstructions(path)


@pytest.fixture
def study(scan, found, tmp_path):
    arms = [Arm("1e9", "nll"), Arm("1e9", "mae")]
    (tmp_path / "data").mkdir()
    scan.save(tmp_path / "data" / "high_train.npz")
    for one in arms:
        (tmp_path / one.name).mkdir()
        save_reconstructions(tmp_path / one.name / "reconstruction.npz", found)
    return comparison.read_compared(tmp_path, arms)


def test_the_comparison_figure_has_the_likelihood_last_and_its_numbers_beside_it(study, tmp_path):
    rows = comparison.dose_rows(study)
    assert [panel.loss for panel in rows[0].panels] == ["mae", "nll"]
    assert rows[0].counts.sum() == study["high_nll"].scan.counts().sum(axis=(1, 2)).max()
    numbers = images.dose_comparison_rows(rows)
    output.save(images.dose_comparison(rows), tmp_path / "dose_comparison", numbers)
    with open(tmp_path / "dose_comparison.csv", newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["loss"] for row in written] == ["mae", "nll"]
    assert float(written[0]["amplitude_frc50"]) == study["high_mae"].network.amplitude_frc50


def test_curves_are_of_what_the_object_shows(study):
    assert comparison.contrast_of(study) == "amplitude"
    curves = comparison.frc_of_arms(study)
    assert {dose: list(of) for dose, of in curves.items()} == {
        "1e+09 photons per pattern": ["nll", "nll, direct", "mae", "mae, direct"]
    }
    (at_dose,) = curves.values()
    assert np.array_equal(at_dose["mae"].correlation, study["high_mae"].network.amplitude_frc.correlation)


def entry(name, loss, frc50, status="ok", nphotons=1e4):
    numbers = {
        "amplitude_frc50": frc50,
        "phase_frc50": None,
        "amplitude_psnr_db": 20.0,
        "amplitude_ssim": 0.5,
        "amplitude_pearson": 0.8,
        "phase_pearson": None,
        "relative_mse": 0.01,
        "photon_bound": 0.002,
        "deviance": 1.1,
    }
    return {"name": name, "loss": loss, "nphotons": nphotons, "status": status} | dict.fromkeys(PARTS, numbers)


@pytest.mark.parametrize(
    ("nll", "mae", "words"),
    [
        (0.40, 0.20, "nll resolves finer than mae, 2.00 times"),
        (0.20, 0.40, "mae resolves finer than nll, 2.00 times"),
        (0.40, 0.39, "are not told apart"),
        (0.40, None, "No resolution from mae"),
        (None, None, "No resolution from nll and mae"),
    ],
)
def test_the_verdict_follows_from_the_numbers(nll, mae, words):
    arms = [entry("low_nll", "nll", nll), entry("low_mae", "mae", mae, "ok" if mae else "collapsed")]
    said = comparison.comparison_in_words({"arms": arms}, "amplitude")
    assert words in said[0]
    assert ("low_mae collapsed" in " ".join(said)) == (mae is None)
    assert "no interval" in said[-1]
    table = comparison.arms_table({"arms": arms})
    assert len(table.splitlines()) == 1 + 2 * len(PARTS)
    assert ("0.40" in table) == (0.40 in (nll, mae))
    assert "low_mae" in comparison.comparison_caption({"arms": arms}, "amplitude")


def test_no_resolution_is_finer_than_the_reference_lets_one_claim():
    metrics = {"arms": [entry("low_nll", "nll", 0.43)], "finest": 0.31}
    assert "nll 0.31 of Nyquist" in comparison.comparison_in_words(metrics, "amplitude")[0]
    assert "0.31" in comparison.arms_table(metrics) and "0.43" not in comparison.arms_table(metrics)
    assert "FRC50 0.31" in comparison.comparison_caption(metrics, "amplitude")


def test_the_figure_of_a_measured_scan_tells_no_finer_resolution_either(study, tmp_path):
    arm, trust = Arm("1e9", "nll"), tmp_path / "data" / "trust.json"
    assert study[arm.name].network.amplitude_frc50 > 0.31
    for doubts, expected, words in (([], 0.31, "FRC50 0.31"), (["misfit 0.4"], None, "FRC50 \N{EN DASH}")):
        trust.write_text(json.dumps({"doubts": doubts, "told": [], "finest": 0.31}))
        compared = comparison.read_compared(tmp_path, [arm])
        assert compared[arm.name].network.amplitude_frc50 == compared[arm.name].direct.amplitude_frc50 == expected
        figure = images.dose_comparison(comparison.dose_rows(compared))
        assert any(words in axes.get_title() for axes in figure.axes)


def test_the_arms_of_a_sweep_claim_no_finer_resolution():
    arms = [entry("low_nll", "nll", 0.43), {"name": "low_mae", "status": "missing"}, "no entry"]
    fine, *others = claimed({"arms": arms, "finest": 0.31})
    assert {fine[part]["amplitude_frc50"] for part in PARTS} == {0.31} and fine["train"]["phase_frc50"] is None
    assert others == arms[1:] and arms[0]["train"]["amplitude_frc50"] == 0.43 and claimed({"arms": arms}) == arms


def test_a_test_that_several_seeds_passed_is_one_line_with_its_range(tmp_path):
    limit = ", expected at most 0.3: what is left"
    mended, lit = "3 blank patterns; mended", "lit 1, expected 1"
    told = {"1": [f"misfit 0.11{limit}", mended], "2": [f"misfit 0.109{limit}", lit]}
    told["3"] = [f"misfit 0.2{limit}", mended, lit]
    for seed, lines in told.items():
        (tmp_path / seed / "data").mkdir(parents=True)
        found = {"doubts": [f"halves 0.{seed}, expected at least 0.6"], "told": lines, "finest": 0.3 + int(seed)}
        (tmp_path / seed / layout.TRUST).write_text(json.dumps(found))
    whole = trusted(tmp_path / seed for seed in told)
    assert whole.told == [f"misfit 0.109 to 0.2{limit}", mended, lit]
    assert whole.doubts == ["halves 0.1 to 0.3, expected at least 0.6"] and whole.finest == 1.0


def test_of_a_doubtful_reference_no_resolution_is_said():
    metrics = {"arms": [entry("low_nll", "nll", 0.43)], "doubts": ["misfit 0.3"]}
    assert comparison.comparison_in_words(metrics, "amplitude")[1:] == ["misfit 0.3"]
    assert "0.43" not in comparison.arms_table(metrics) and "FRC50" not in comparison.arms_table(metrics)
    assert "0.43" not in comparison.comparison_caption(metrics, "amplitude")
