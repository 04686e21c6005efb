"""The record of a study's files: checksums, runs and software, read back by the library that others read it with."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from rocrate.rocrate import ROCrate
from standins import ROOT

from ptycho import files
from ptycho.run import engine
from ptycho.run.crate import record
from ptycho.study import layout, plan, sweep
from ptycho.study.config import StudyConfig
from ptycho.study.status import mark_unfinished, write_status

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MADE = {"ptycho": "0.1.0", "git": {"commit": COMMIT, "dirty": False}, "python": "3.12.1"}
MADE |= {"packages": {"tensorflow": "2.21.0", "scipy": None}}
MADE |= {"started_utc": "2026-01-02T03:04:05Z", "ended_utc": "2026-01-02T03:05:00Z"}
LOG = """\
simulate | === simulate.ipynb started 2026-01-01T00:00:00Z
simulate | === simulate.ipynb failed: no memory
simulate | === simulate.ipynb started 2026-01-02T03:03:00Z
simulate | a scan
simulate | === simulate.ipynb done in 61.4 s
"""


def ran(out: Path, stages: list[layout.Stage]) -> None:
    """Leave what the stages would."""
    for stage in stages:
        for path in (stage.rendered, *stage.outputs):
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            (out / path).write_text(f"content of {path}")
        if stage.notebook == "train-arm":
            files.write_json(out / stage.folder / layout.PROVENANCE, MADE)
        (out / stage.seed / layout.LOG).write_text(LOG)


@pytest.fixture
def out(tmp_path):
    out = tmp_path / "a study"
    plan.write_plan(out, StudyConfig())
    ran(out, layout.study_stages(plan.planned(out)))
    (out / layout.RULES).write_text("all:\n")
    (out / "notes.txt").write_text("not of the study")
    write_status(out, "VERIFIED", ["every test passed"])
    record.write(out)
    return out


def read(out: Path) -> ROCrate:
    return ROCrate(out)


def ids(entities) -> list[str]:
    return [entity.id for entity in entities]


def test_every_file_has_its_size_and_its_checksum(out):
    listed = [entity for entity in read(out).data_entities if "File" in entity.type]
    there = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert set(ids(listed)) == there - {"notes.txt", layout.CRATE}
    for entity in listed:
        content = (out / entity.id).read_bytes()
        assert entity["sha256"] == hashlib.sha256(content).hexdigest()
        assert entity["contentSize"] == str(len(content))
    kinds = {"metrics.json": "application/json", "simulate.ipynb": "application/x-ipynb+json"}
    kinds |= {"dose_comparison.png": "image/png", "run.log": "text/plain", "data/low_test.npz": "application/zip"}
    assert {name: read(out).get(name)["encodingFormat"] for name in kinds} == kinds
    context = json.loads((out / layout.CRATE).read_text())["@context"]
    assert context == ["https://w3id.org/ro/crate/1.1/context", {"sha256": "http://schema.org/sha256"}]


def test_the_study_has_a_name_a_verdict_a_date_and_the_licence_of_the_project(out):
    root = read(out).root_dataset
    assert (root["name"], root["description"]) == ("Dose study: 1e9, 1e4 photons per pattern", "VERIFIED")
    assert root["datePublished"] == MADE["ended_utc"]
    assert f'\nlicense = "{root["license"]["identifier"]}"\n' in (ROOT / "pyproject.toml").read_text()
    assert [profile["name"] for profile in root["conformsTo"]] == list(record.PROFILES.values())


def test_every_notebook_that_ran_is_an_action_with_what_it_read_and_made(out):
    crate = read(out)
    runs = {run.id: run for run in crate.get_by_type("CreateAction")}
    arms = ("high_nll", "high_mae", "low_nll", "low_mae")
    assert list(runs) == [f"#run/{name}" for name in ("simulate", *arms, "compare")] + ["#run"]
    assert ids(crate.root_dataset["mentions"]) == list(runs)
    arm = runs["#run/low_mae"]
    assert (arm["startTime"], arm["endTime"]) == (MADE["started_utc"], MADE["ended_utc"])
    assert ids(arm["object"]) == ["low_mae/arm.yaml", "data/low_train.npz", "data/low_test.npz"]
    made = ("train-arm.ipynb", "metrics.json", "frc.json", "reconstruction.npz", "history.csv", "model.keras")
    assert ids(arm["result"]) == [f"low_mae/{name}" for name in (*made, "provenance.json")]
    assert arm["description"] == "ptycho 0.1.0+g0123456789ab, Python 3.12.1, TensorFlow 2.21.0"
    notebook = arm["instrument"]
    assert notebook.type == "SoftwareSourceCode" and notebook["name"] == "train-arm.ipynb"
    assert notebook["identifier"].endswith((out / layout.source("train-arm")).read_text().strip())
    assert notebook["softwareRequirements"][0]["identifier"] == COMMIT
    assert all(program.type == "SoftwareApplication" for program in notebook["softwareRequirements"])
    simulated = runs["#run/simulate"]  # which leaves no provenance: its last run in the log
    assert (simulated["startTime"], simulated["endTime"]) == ("2026-01-02T03:03:00Z", "2026-01-02T03:04:01Z")
    whole = runs["#run"]
    assert whole["instrument"] == crate.mainEntity == crate.get("rules.mk")
    assert whole["startTime"] == simulated["startTime"] and whole["endTime"] == MADE["ended_utc"]
    assert "data/low_test.npz" in ids(whole["result"]) and "data/low_test.npz" not in ids(whole["object"])


def test_the_same_study_has_the_same_record_wherever_it_lies(out, tmp_path):
    before = (out / layout.CRATE).read_bytes()
    changed = (out / layout.CRATE).stat().st_mtime_ns
    record.write(out)
    assert (out / layout.CRATE).stat().st_mtime_ns == changed
    shutil.copytree(out, tmp_path / "copied")
    (tmp_path / "copied" / layout.CRATE).unlink()
    record.write(tmp_path / "copied")
    assert (tmp_path / "copied" / layout.CRATE).read_bytes() == before


def test_where_no_file_changed_nothing_is_loaded_to_write_it_again(out, monkeypatch):
    monkeypatch.setitem(sys.modules, "rocrate.rocrate", None)  # whose import now fails
    record.write(out)
    (out / layout.STATUS).write_text("DOUBTFUL\n")
    with pytest.raises(ModuleNotFoundError):
        record.write(out)


@pytest.mark.parametrize("name", [layout.STATUS, layout.RULES, layout.LOG, "sources/train-arm.sha256"])
def test_a_file_that_is_missing_is_left_out(out, name):
    (out / name).unlink()
    (out / "low_mae" / "train-arm.ipynb").unlink()
    (out / "high_nll" / "provenance.json").write_text("no JSON")
    (out / "data" / "low_test.npz").unlink()
    record.write(out)
    crate = read(out)
    assert crate.get(name) is None and crate.get("#run/low_mae") is None
    assert ids(crate.get("#run/low_nll")["object"]) == ["low_nll/arm.yaml", "data/low_train.npz"]
    assert (crate.mainEntity is None) == (name == layout.RULES)


def test_a_study_that_left_no_times_has_the_date_of_its_plan(tmp_path):
    plan.write_plan(tmp_path, StudyConfig())
    os.utime(tmp_path / layout.STUDY, (1e9, 1e9))
    record.write(tmp_path)
    assert read(tmp_path).root_dataset["datePublished"] == "2001-09-09T01:46:40Z"
    assert read(tmp_path).root_dataset["description"] == "NOT VERIFIED"


def test_a_measured_scan_is_told_by_name_and_checksum_and_not_by_its_folder(tmp_path):
    scan, out = tmp_path / "private" / "scan.npz", tmp_path / "out"
    scan.parent.mkdir()
    scan.write_bytes(b"no scan, which is told elsewhere")
    plan.write_plan(out, StudyConfig(methods=("direct",)))
    told = yaml.safe_load((out / layout.STUDY).read_text()) | {"measured": True}
    (out / layout.STUDY).write_text(yaml.safe_dump(told))
    sha256 = hashlib.sha256(scan.read_bytes()).hexdigest()
    known = {"files": [[str(scan), [scan.stat().st_size, 0, 0, 0]]], "digest": sha256}
    files.write_json(out / layout.SOURCES / "scan.json", known)
    ran(out, layout.study_stages(plan.planned(out)))
    record.write(out)
    entity = read(out).get("#scan")
    assert entity in read(out).get("#run/simulate")["object"]
    assert (entity["name"], entity["sha256"], entity["contentSize"]) == ("scan.npz", sha256, "32")
    assert "private" not in (out / layout.CRATE).read_text()


def test_a_sweep_has_one_record_of_all_its_seeds(tmp_path):
    sweep.write_sweep(tmp_path, StudyConfig(losses=("nll",)), (1, 2))
    ran(tmp_path, layout.sweep_stages(sweep.planned(tmp_path)))
    ran(tmp_path, [layout.gathering()])
    record.write(tmp_path)
    crate = read(tmp_path)
    assert crate.root_dataset["name"] == "Dose-response: 1e9, 1e4 photons per pattern"
    runs = ids(crate.get_by_type("CreateAction"))
    each = [f"#run/seed-{seed}/{name}" for seed in (1, 2) for name in ("simulate", "high_nll", "low_nll")]
    assert runs == [*each, "#run/dose-response"]
    assert crate.get("seed-2/low_nll/metrics.json") in crate.get("#run/seed-2/low_nll")["result"]


def test_the_record_goes_with_the_verdict(out):
    mark_unfinished(out, after_success=False)
    assert (out / layout.CRATE).exists()
    mark_unfinished(out, after_success=True)
    assert not (out / layout.CRATE).exists()


def test_the_record_is_written_with_the_verdict_and_removed_with_the_study(out, capsys):
    (out / layout.CRATE).unlink()
    engine.verify(out)
    assert read(out).root_dataset["description"] == "NOT VERIFIED"  # for these files hold no results
    engine.clean(out)
    assert [path.name for path in out.iterdir()] == ["notes.txt"]


def test_it_takes_less_than_half_a_second(out):
    begun = time.process_time()
    record.write(out)
    assert time.process_time() - begun < 0.5


def test_a_command_that_writes_no_record_does_not_wait_for_the_library():
    code = "import sys, ptycho.__main__; print('rocrate' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
