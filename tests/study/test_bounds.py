"""The file of Cramér-Rao bounds: computed once for a scan, whatever the dose, and honest where there is none."""

from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from ptycho import files
from ptycho.errors import DataError
from ptycho.judge.frc import Rings
from ptycho.scans import simulated
from ptycho.scans.rawdata import RawData
from ptycho.study import bounds, plan
from ptycho.study.config import Arm, StudyConfig


@pytest.fixture
def out(tmp_path):
    save(tmp_path, "1e4", seed=1)
    return tmp_path


def save(out, dose, seed):
    plan.write_plan(out, StudyConfig(doses=(dose,), losses=("nll",)))
    (out / "data").mkdir(exist_ok=True)
    splits = simulated.simulate(64, 20, 10, seed)
    for split, file in (("train", "train"), ("heldout", "test")):
        splits[split].expose(dose).save(out / "data" / f"{Arm(dose, '').dose_name}_{file}.npz")


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """The positions of each scan whose bound is computed; that of ten is not determined."""
    monkeypatch.setenv("PTYCHO_CACHE", str(tmp_path / "cache"))
    seen = []

    class Bound:
        at_one_photon, standard_error = 50.0, 0.5
        rings = MappingProxyType({"amplitude": Rings(*(np.array([0.5, 1.0]) for _ in range(3)), np.array([9, 20]))})

    def bound(object, probe, x, y, *, mask, fitted):
        seen.append(len(x))
        if len(x) == 10:
            raise ArithmeticError("too ill-conditioned")
        return Bound

    monkeypatch.setattr(bounds, "information_bound", bound)
    return seen


def test_a_bound_is_computed_once_for_a_scan(out, asked):
    told = files.read_json(bounds.write(out))
    assert (told["train"]["at_one_photon"], told["train"]["standard_error"]) == (50.0, 0.5)
    assert told["train"]["rings"] == {
        "amplitude": {"frequency": [0.5, 1], "signal": [0.5, 1], "noise": [0.5, 1], "n": [9, 20]}
    }
    assert told["heldout"]["reason"] == "too ill-conditioned" and "at_one_photon" not in told["heldout"]
    assert asked == [20, 10]
    save(out, "1e6", seed=1)  # the same scans at another dose
    assert files.read_json(bounds.write(out)) == told and asked == [20, 10]
    save(out, "1e6", seed=2)
    bounds.write(out)
    assert asked == [20, 10, 20, 10]


def test_the_studies_of_a_campaign_share_the_bound_of_their_scan(out, asked, tmp_path):
    told = files.read_json(bounds.write(out))
    other = tmp_path / "other"
    save(other, "1e6", seed=1)
    assert files.read_json(bounds.write(other)) == told and asked == [20, 10]
    (cache,) = {path.parent for path in (tmp_path / "cache").rglob("*.json")}
    for path in cache.glob("*.json"):  # as another version of the code would leave it
        path.rename(cache / f"{path.stem.partition('-')[0]}-0.json")
    (other / "bound.json").unlink()
    assert files.read_json(bounds.write(other)) == told and asked == [20, 10, 20, 10]


def test_another_mask_is_another_bound(out, asked):
    bounds.write(out)
    path = out / "data" / "low_train.npz"
    masked = np.ones((64, 64), bool)
    masked[20:30] = False
    replace(RawData.load(path), mask=masked).save(path)
    bounds.write(out)
    assert asked == [20, 10, 20]


def test_a_cache_that_cannot_be_written_is_done_without(out, asked, tmp_path):
    (tmp_path / "cache").write_text("a file where a folder belongs")
    assert bounds.write(out).exists() and asked == [20, 10]


def test_scans_that_cannot_be_read_are_named(out, asked):
    (out / "data" / "low_test.npz").write_text("no archive")
    with pytest.raises(DataError, match=r"low_test\.npz"):
        bounds.write(out)
    assert not (out / "bound.json").exists()


def test_a_bound_that_fails_leaves_none_of_another_scan(out, asked, monkeypatch):
    bounds.write(out)
    save(out, "1e4", seed=2)

    def killed(*_, **__):
        raise MemoryError

    monkeypatch.setattr(bounds, "information_bound", killed)
    with pytest.raises(MemoryError):
        bounds.write(out)
    assert not (out / "bound.json").exists()
