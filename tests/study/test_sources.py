"""What is known of a measured scan before anything runs: whether its files changed, and how many photons it has."""

import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from ptycho.errors import ConfigError
from ptycho.scans import formats, statistics
from ptycho.study import plan, sources
from ptycho.study.campaigns import ask, folder
from ptycho.study.config import StudyConfig


def patterns(path, photons=100, mask=None):
    """A scan's file of sixteen patterns, each with so many photons."""
    counts = np.zeros((16, 16, 16), "u2")
    counts[:, 4:12, 4:12] = photons // 64
    counts[:, 8, 8] += photons % 64
    with h5py.File(path, "w") as file:
        file["patterns"] = counts
        if mask is not None:
            file["bad_pixels"] = ~mask
    return path


def study(scan, *doses):
    return StudyConfig(scan=str(scan), N=None, doses=doses or ("full",))


def is_stale(out, scan):
    return out / "sources" / "scan.sha256" in plan.write_plan(out, study(scan))


# --- whether its files changed ----------------------------------------------------------------------------------------


def test_trap_a_scan_replaced_by_an_older_file_or_a_link_to_another_is_read_again(tmp_path):
    old, new = patterns(tmp_path / "old.h5", 100), patterns(tmp_path / "new.h5", 200)
    os.utime(old, (1e9, 1e9))
    scan, out = tmp_path / "scan.h5", tmp_path / "out"
    shutil.copy2(new, scan)
    assert is_stale(out, scan) and not is_stale(out, scan)
    shutil.copy2(old, scan)
    assert is_stale(out, scan) and not is_stale(out, scan)
    scan.unlink()
    scan.symlink_to(new)
    assert is_stale(out, scan) and not is_stale(out, scan)
    scan.unlink()
    scan.symlink_to(old)
    assert is_stale(out, scan) and not is_stale(out, scan)
    for name, file in (("one", old), ("two", new)):
        (tmp_path / name).mkdir()
        shutil.copy2(file, tmp_path / name / "scan.h5")
    (tmp_path / "here").symlink_to("one")
    is_stale(out, tmp_path / "here" / "scan.h5")
    (tmp_path / "here").unlink()
    (tmp_path / "here").symlink_to("two")
    assert is_stale(out, tmp_path / "here" / "scan.h5")


@pytest.mark.parametrize(("scan", "other"), [("a_dp.hdf5", "a_para.hdf5"), ("scan.h5", "product.h5")])
def test_a_study_is_stale_when_a_companion_of_its_scan_changed(tmp_path, scan, other):
    with h5py.File(tmp_path / scan, "w") as file:
        file["dp" if "dp" in scan else "patterns"] = np.ones((16, 16, 16), "u2")
    for value in (1, 2):
        with h5py.File(tmp_path / other, "w") as file:
            file["probe"], file["object"] = np.full((1, 1, 16, 16), value, complex), np.ones((1, 40, 40), complex)
        os.utime(tmp_path / other, (1e9, 1e9))
        assert is_stale(tmp_path / "out", tmp_path / scan)
    assert not is_stale(tmp_path / "out", tmp_path / scan)


def test_a_scan_that_cannot_be_read_is_one_line(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied", "scan.h5")

    scan = patterns(tmp_path / "scan.h5")
    monkeypatch.setattr(sources, "_sha256", refuse)
    with pytest.raises(ConfigError, match=r"^SCAN: scan\.h5 cannot be read \(Permission denied\); expected a scan's"):
        plan.write_plan(tmp_path / "out", study(scan))


def test_a_notebook_finds_the_scan_whatever_link_leads_to_its_folder(tmp_path, monkeypatch):
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "out").symlink_to("far/away")
    monkeypatch.chdir(tmp_path)
    assert plan.parameters(study("scan.h5"), Path("out"))["simulate.yaml"]["scan"] == "../../scan.h5"


# --- how many photons it has ------------------------------------------------------------------------------------------


def test_a_dose_above_what_was_measured_is_refused_and_one_up_to_a_percent_above_is_full(tmp_path):
    scan, out = patterns(tmp_path / "scan.h5", 10_000), tmp_path / "out"
    assert statistics.mean_photons(formats.read(scan)) == 10_000
    for doses, found in (
        (("1.01e4", "1e3"), ("full", "1e3")),
        (("full", "1.005e4"), ("full",)),
        (("1e4", "1e3"), ("1e4", "1e3")),
    ):
        assert plan.at_measured_doses(study(scan, *doses), out, asked=True).doses == found
    high = study(scan, "full", "1e3", "1.02e4")
    with pytest.raises(ConfigError) as caught:
        plan.at_measured_doses(high, out, asked=True)
    told = f"DOSES='1.02e4' is not accepted: at most the 1e+04 photons per pattern that {scan} measured, or 'full'"
    assert str(caught.value) == told
    assert plan.at_measured_doses(high, out, asked=False).doses == ("full", "1e3")  # it was a default
    assert not out.exists()


def test_what_is_known_of_a_scan_is_kept_and_read_again_when_it_changed(tmp_path, monkeypatch):
    scan, out = patterns(tmp_path / "scan.h5", 10_000), tmp_path / "out"
    plan.write_plan(out, study(scan))
    with monkeypatch.context() as patched:
        patched.setattr(statistics, "mean_photons", lambda scan: pytest.fail("read again"))
        sources._dose.cache_clear()
        assert plan.at_measured_doses(study(scan, "1.01e4"), out, asked=True).doses == ("full",)
    patterns(scan, 500)
    with pytest.raises(ConfigError, match="at most the 500 photons"):
        plan.at_measured_doses(study(scan, "1e4"), out, asked=True)


def test_the_photons_are_those_of_valid_pixels_and_unknown_where_the_values_are_no_counts(tmp_path):
    mask = np.ones((16, 16), bool)
    mask[8, 8] = False
    assert statistics.mean_photons(formats.read(patterns(tmp_path / "masked.h5", 6400, mask))) == 6300
    with h5py.File(tmp_path / "scaled.h5", "w") as file:
        file["patterns"] = np.full((2, 16, 16), 0.37)
    config = study(tmp_path / "scaled.h5", "1e9")
    assert plan.at_measured_doses(config, tmp_path / "out", asked=True) == config
    (tmp_path / "words.h5").write_text("no scan: the notebook that reads it says why")
    config = study(tmp_path / "words.h5", "1e9")
    assert plan.at_measured_doses(config, tmp_path / "out", asked=True) == config


def test_the_dose_of_the_star_is_known_without_its_file(tmp_path, monkeypatch):
    monkeypatch.setenv("PTYCHO_CACHE", str(tmp_path / "empty"))
    with pytest.raises(ConfigError, match=r"at most the 4\.612e\+05 photons per pattern that siemens-star measured"):
        plan.at_measured_doses(study("siemens-star", "1e6"), tmp_path / "out", asked=True)
    assert plan.at_measured_doses(study("siemens-star", "4.65e5"), tmp_path / "out", asked=True).doses == ("full",)


# --- names ------------------------------------------------------------------------------------------------------------


def test_a_tilde_is_the_home(monkeypatch):
    monkeypatch.setenv("HOME", "/users/me")
    asked = ask("study", {"OUT": "~/x/", "SCAN": "~/a b.cxi"})
    assert (asked.out, asked.config.scan) == ("/users/me/x", "/users/me/a b.cxi")
    assert folder("~/x") == "/users/me/x"


@pytest.mark.parametrize(
    "word", [*"()&#;=|$:% ~`'\"\\*?[]{}<>!^,\t\n", "~", ".", "..", "/", "./.", "-x", "~nobody-here/x"]
)
def test_a_folder_is_refused_in_one_line(word):
    name = word if len(word) > 1 or word in "~./" else f"a{word}b"
    with pytest.raises(ConfigError, match=r"^OUT=.* is not accepted: ") as caught:
        folder(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("word", ["run", "runs/1e4", "/data/é/x", "a.b_c-d+e@f", "./-x", "../x"])
def test_other_folders_are_taken_as_they_are(word):
    assert folder(word) == folder(word + "/") == word
