"""A sweep's files: what is planned for each seed, and what is told of its arms, failed, corrupt and missing too."""

import json
import math
import os

import numpy as np
import pytest
from standins import entry, leave

from ptycho import files
from ptycho.errors import ConfigError
from ptycho.findings import intervals
from ptycho.findings.response import spectra
from ptycho.run.verdict import verify_sweep
from ptycho.study import layout, plan, sources, sweep
from ptycho.study.arms import check_arm
from ptycho.study.campaigns import ask
from ptycho.study.config import StudyConfig
from ptycho.study.status import add_failure

CONFIG = StudyConfig(doses=("1e9", "1e4"), losses=("nll",), nepochs=2)
NAMES = ["seed-1/high_nll", "seed-1/low_nll", "seed-2/high_nll", "seed-2/low_nll"]


BOUND = {
    "at_one_photon": 50.0,
    "rings": {
        "amplitude": {
            "frequency": [0.25, 0.5, 0.75, 1.0],
            "signal": [9.0, 4.0, 1.0, 1.0],
            "noise": [1e4, 1e4, 1e4, 3e4],
            "n": [8, 16, 24, 32],
        }
    },
}


def finish(out, name, **changes):
    """What a good run of an arm leaves."""
    seed, arm = name.split("/")
    folder = out / name
    files.write_json(folder / "metrics.json", entry(arm, seed=int(seed.removeprefix("seed-")), **changes))
    (folder / "history.csv").write_text("epoch,loss\n1,0.5\n2,0.4\n")
    (folder / "train-arm.ipynb").write_text(json.dumps({"metadata": {"papermill": {"duration": 60.0}}}))


@pytest.fixture
def out(tmp_path):
    """A sweep that came to its end, but for the gathered report."""
    sweep.write_sweep(tmp_path, CONFIG, (1, 2))
    for seed in (1, 2):
        files.write_json(tmp_path / f"seed-{seed}" / "bound.json", {"train": BOUND, "heldout": {"reason": "why"}})
    stages = layout.sweep_stages(sweep.planned(tmp_path))
    leave(tmp_path, stages)
    for name in NAMES:
        finish(tmp_path, name)
    return tmp_path


def by_name(out):
    return {found["name"]: found for found in sweep.entries_of(out)}


@pytest.mark.parametrize("word", ["", "1 1", "1 01", "one", "-1", "1.5"])
def test_seeds_that_are_not_accepted_are_named(word):
    with pytest.raises(ConfigError, match=f"SEEDS='{word}' is not accepted: distinct integers >= 0"):
        ask("sweep", {"SEEDS": word})


def test_each_seed_is_a_study_of_its_own_and_a_changed_parameter_touches_what_depends_on_it(tmp_path):
    import yaml

    sweep.write_sweep(tmp_path, CONFIG, (1, 2))
    arms = sorted(str(path.parent.relative_to(tmp_path)) for path in tmp_path.glob("*/*/arm.yaml"))
    assert arms == NAMES
    told = yaml.safe_load((tmp_path / "seed-2" / "low_nll" / "arm.yaml").read_text())
    assert (told["seed"], told["dose"], told["methods"]) == (2, "1e4", ["unrolled", "direct"])
    assert plan.planned(tmp_path / "seed-2")["doses"] == ["1e9", "1e4"]  # `make status` and `report` know it
    for path in tmp_path.rglob("*.yaml"):
        os.utime(path, (1, 1))
    sweep.write_sweep(tmp_path, CONFIG, (1, 2))
    assert {path.stat().st_mtime for path in tmp_path.rglob("*.yaml")} == {1}
    sweep.write_sweep(tmp_path, CONFIG, (1, 2, 3))  # one seed more
    new = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.yaml") if path.stat().st_mtime != 1}
    assert {name for name in new if not name.startswith("seed-3/")} == {"sweep.yaml"}


def test_the_seeds_of_a_sweep_read_a_measured_scan_once_and_one_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    scan = tmp_path / "scan.npz"
    scan.write_bytes(b"content")
    config = StudyConfig(doses=("1e4",), losses=("nll",), scan=str(scan), N=None)
    before = sources._sha256.cache_info().misses
    sweep.write_sweep(tmp_path / "out", config, (1, 2, 3))
    assert sources._sha256.cache_info().misses == before + 1
    assert len({path.read_text() for path in tmp_path.glob("out/seed-*/sources/scan.sha256")}) == 1

    def denied(marks):
        raise PermissionError(13, "Permission denied", str(scan))

    monkeypatch.setattr(sources, "_sha256", denied)
    with pytest.raises(ConfigError, match=r"^SCAN: .*scan\.npz cannot be read \(Permission denied\)"):
        sweep.write_sweep(tmp_path / "other", config, (1,))


def test_the_entries_are_the_arms_own_with_the_bound_of_their_scan(out):
    found = by_name(out)
    assert list(found) == NAMES
    own = files.read_json(out / "seed-2" / "low_nll" / "metrics.json")
    told = found["seed-2/low_nll"]
    for part in ("train", "direct"):
        assert told[part].pop("information_bound") == 50 / 1e4
        # sqrt(S / (S + N)) is 0.95, 0.89, 0.71 and 0.5: never below one half
        assert told[part].pop("amplitude_frc50_limit") == pytest.approx(1.0)
    assert told == {**own, "name": "seed-2/low_nll"}  # no bound of the held-out scan is known
    sweep.collect(out)
    assert files.read_json(out / "arms.json")["arms"] == sweep.entries_of(out)
    os.utime(out / "arms.json", (1, 1))
    sweep.collect(out)
    assert (out / "arms.json").stat().st_mtime == 1  # nothing new: nothing is made again


def test_what_was_gathered_stays_when_the_sweep_is_judged_again_and_its_arms_are_no_longer_up_to_date(out):
    sweep.collect(out)
    before = (out / "arms.json").read_bytes()
    (out / "seed-1" / "sources" / "train-arm.sha256").write_text("of another notebook\n")
    assert verify_sweep(out).word == "NOT VERIFIED"
    assert (out / "arms.json").read_bytes() == before


def test_missing_corrupt_and_failed_arms_are_told_with_their_reason(out):
    (out / "seed-1" / "high_nll" / "metrics.json").write_text('{"name": "high_')
    broken = entry("low_nll")
    del broken["train"]["relative_mse"]
    files.write_json(out / "seed-1" / "low_nll" / "metrics.json", broken)
    (out / "seed-2" / "high_nll" / "train-arm.failed.ipynb").write_text("{}")
    add_failure(out / "seed-2", "high_nll: training failed: MemoryError: no memory (see blocked_1.md)")
    (out / "seed-2" / "low_nll" / "train-arm.ipynb").unlink()
    found = by_name(out)
    assert [found[name]["status"] for name in NAMES] == ["missing", "missing", "failed", "missing"]
    assert found[NAMES[0]]["reason"].startswith("high_nll/metrics.json: not valid JSON")
    assert found[NAMES[1]]["reason"] == "low_nll/metrics.json: 'train': 'relative_mse' is missing"
    assert found[NAMES[2]]["reason"] == "training failed: MemoryError: no memory (see blocked_1.md)"
    assert found[NAMES[3]]["reason"] == "not made yet"
    assert [found[name]["nphotons"] for name in NAMES] == [1e9, 1e4, 1e9, 1e4]
    word, lines = verify_sweep(out)
    assert word == "NOT VERIFIED" and lines[0] == "4 arms: 0 ok, 0 collapsed, 1 failed, 3 missing"
    assert "seed-2/high_nll: failed (training failed: MemoryError: no memory (see blocked_1.md))" in lines


def test_the_arms_of_a_seed_whose_scans_failed_are_not_taken_for_results(out):
    """What an earlier sweep left was made from other scans."""
    os.utime(out / "seed-1" / "simulate.ipynb", (1, 1))
    add_failure(out / "seed-1", "simulate: simulation failed: DataError (see blocked_1.md)")
    found = by_name(out)
    assert [found[name]["status"] for name in NAMES] == ["missing", "missing", "ok", "ok"]
    assert found[NAMES[0]]["reason"] == "simulate: simulation failed: DataError (see blocked_1.md)"


def test_an_arm_older_than_its_scans_is_to_be_made_again(out):
    scan = out / "seed-1" / "data" / "low_test.npz"
    scan.write_text("new")
    later = (out / NAMES[1] / "train-arm.ipynb").stat().st_mtime + 10
    os.utime(scan, (later, later))
    assert [found["status"] for found in sweep.entries_of(out)] == ["ok", "missing", "ok", "ok"]


def test_a_failure_is_not_hidden_by_an_older_success(out):
    later = (out / NAMES[0] / "train-arm.ipynb").stat().st_mtime + 10
    failed = out / NAMES[0] / "train-arm.failed.ipynb"
    failed.write_text("{}")
    os.utime(failed, (later, later))
    assert by_name(out)[NAMES[0]]["status"] == "failed"


MADE = ("seed-1/simulate", "seed-1/full_nll")


def test_photons_of_the_full_dose_are_known_from_the_arms_that_have_it(tmp_path):
    config = StudyConfig(doses=("full", "1e4"), losses=("nll",), scan="siemens-star", N=None)
    sweep.write_sweep(tmp_path, config, (1, 2))
    leave(tmp_path, [one for one in layout.sweep_stages(sweep.planned(tmp_path)) if one.name in MADE])
    finish(tmp_path, "seed-1/full_nll", nphotons=4.6e5)
    assert [found["nphotons"] for found in sweep.entries_of(tmp_path)] == [4.6e5, 1e4, 4.6e5, 1e4]


def test_the_seeds_of_a_scan_in_uneven_light_have_one_full_dose_and_the_bounds_of_their_own(out):
    """Each keeps another share of the photons: without one dose, no interval over the seeds would exist."""
    given = {"seed-1/high_nll": 4.6e5, "seed-2/high_nll": 4.8e5, "seed-1/low_nll": 1e4 / 3, "seed-2/low_nll": 1e4 / 3}
    for name, nphotons in given.items():
        finish(out, name, nphotons=nphotons)
    found = by_name(out)
    assert [found[name]["nphotons"] for name in NAMES] == [4.7e5, 1e4 / 3, 4.7e5, 1e4 / 3]  # equal ones to the last bit
    for name, nphotons in given.items():
        assert found[name]["train"]["information_bound"] == 50 / nphotons


def test_the_verdict_counts_every_arm(out):
    from PIL import Image

    Image.effect_noise((8, 8), 40).save(out / "dose_response.png")
    (out / "dose_response.csv").write_text("nphotons\n" + "1\n" * 2)
    finish(out, NAMES[1], status="collapsed")
    word, lines = verify_sweep(out)
    assert word == "VERIFIED", lines
    assert lines[0] == "4 arms: 3 ok, 1 collapsed, 0 failed, 0 missing"
    assert "seed-1/low_nll: collapsed at 1e+04 photons per pattern" in lines
    finish(out, NAMES[2], status="collapsed")
    assert verify_sweep(out).lines[1] == "seed-2/high_nll: collapsed at 1e+09 photons per pattern"
    (out / NAMES[3] / "history.csv").write_text("epoch,loss\n1,0.5\n2,nan\n")
    assert verify_sweep(out).word == "NOT VERIFIED"
    assert "seed-2/low_nll: its loss is not finite in every epoch" in verify_sweep(out).lines


@pytest.mark.parametrize("methods", [("direct",), ("unrolled",)])
def test_an_arm_has_the_parts_it_was_asked_for_and_no_half_of_them(methods):
    made = entry()
    if "direct" not in methods:
        made["direct"] = None
    if "unrolled" not in methods:
        made |= dict.fromkeys(("architecture", "train_seconds", "patterns_per_second", "train", "heldout"))
    check_arm(made, "metrics.json")
    for key in ("train", "heldout", "architecture", "direct"):
        half = {**made, key: None} if made[key] is not None else {**made, key: entry()[key]}
        if key == "direct" and "direct" not in methods:
            check_arm(half, "metrics.json")
            continue
        with pytest.raises(ValueError, match="is null, expected the entries of a network, of 'direct', or of both"):
            check_arm(half, "metrics.json")


# --- curves ----------------------------------------------------------------------------------------------------------


def curve(rings, level):
    values = [level] * rings
    return {"frequency": [(k + 1) / rings for k in range(rings)], "complex": values, "amplitude": values, "phase": None}


def test_curves_are_averaged_over_seeds_and_lost_ones_named(tmp_path):
    arms = [entry(f"low_nll_{seed}", seed=seed) for seed in (1, 2, 3, 4)]
    for arm, rings, level in zip(arms, (10, 12, 10), (0.2, 0.3, 0.7), strict=False):
        told = {"contrast": "amplitude", "parts": {"train": curve(rings, level), "direct": curve(rings, 1.0)}}
        (tmp_path / arm["name"]).mkdir()
        files.write_json(tmp_path / arm["name"] / "frc.json", told)
    found = spectra.mean_curves(tmp_path, [*arms, {"name": "gone", "status": "failed"}])
    assert found.contrast == "amplitude"
    assert [(one.method, one.n) for one in found.curves] == [(("unrolled", "train"), 3), (("direct", "train"), 3)]
    (fault,) = found.faults
    assert fault.startswith("low_nll_4: ") and "frc.json: cannot be read" in fault
    network = found.curves[0]
    assert len(network.frequency) == 12
    expected = intervals.mean_interval(np.array([0.2, 0.3, 0.7]), (-1, 1))
    np.testing.assert_allclose(network.correlation, [[expected.mean, expected.low, expected.high]] * 12)
    with pytest.raises(ValueError, match="no arm has an FRC curve"):
        spectra.mean_curves(tmp_path, arms[3:])


def test_a_geometric_interval_is_that_of_the_logarithms():
    found = intervals.geometric_interval(np.array([1.0, 10.0, 100.0, np.nan, 0.0]))
    assert (found.n, found.mean) == (3, pytest.approx(10))
    plain = intervals.mean_interval(np.log10([1.0, 10.0, 100.0]))
    assert math.log10(found.low) == pytest.approx(plain.low)
