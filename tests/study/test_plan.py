"""The files of a study: parameters, metrics, verdict, progress, provenance."""

import itertools
import json
import math
import os
import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image
from standins import entry, leave

from ptycho import files
from ptycho.config import LEARNING_RATES
from ptycho.errors import ConfigError
from ptycho.figures import images, output
from ptycho.run import engine
from ptycho.run.verdict import verify_study
from ptycho.run.watch import status_table
from ptycho.study import layout, plan, provenance
from ptycho.study.arms import check_arm, collect
from ptycho.study.config import StudyConfig, arms
from ptycho.study.status import Row, add_failure, survey, write_progress, write_status

FOUR = ("high_nll", "high_mae", "low_nll", "low_mae")
ARMS = arms(("1e9", "1e4"), ("nll", "mae"))


def finished(out: Path, nepochs: int = 3) -> Path:
    """A study that passes: what `verify` looks at, and nothing else."""
    for name in FOUR:
        (out / name).mkdir(parents=True)
        files.write_json(out / name / "metrics.json", entry(name))
        rows = "".join(f"{epoch + 1},{1 / (epoch + 1)},2.5\n" for epoch in range(nepochs))
        (out / name / "history.csv").write_text("epoch,loss,seconds\n" + rows)
    files.write_json(out / "metrics.json", collect(out, FOUR))
    Image.effect_noise((64, 48), 40).save(out / "dose_comparison.png")
    (out / "dose_comparison.csv").write_text("dose,panel,frc50,peak\n" + "1e9,pattern,,3.5\n" * 6)
    (out / "run.log").write_text("".join(f"{name} | === train-arm.ipynb started now\n{name} | fine\n" for name in FOUR))
    return out


@pytest.fixture
def out(tmp_path):
    return finished(tmp_path / "study")


def fails_with(out: Path, pattern: str) -> None:
    word, lines = verify_study(out, ARMS, 3)
    assert word == "NOT VERIFIED"
    assert any(re.search(pattern, line) for line in lines), lines


# --- plan ------------------------------------------------------------------------------------------------------------


def test_plan_writes_what_the_notebooks_get(tmp_path):
    plan.write_plan(tmp_path, StudyConfig(doses=("1e9", "2.5e6"), seed=3))
    assert yaml.safe_load((tmp_path / "2.5e6_mae" / "arm.yaml").read_text()) == {
        "out": "..",
        "arm": "2.5e6_mae",
        "dose": "2.5e6",
        "loss": "mae",
        "nepochs": 5,
        "gridsize": 2,
        "architecture": "unrolled",
        "learning_rates": {method: LEARNING_RATES[method]["mae"] for method in ("unrolled", "direct")},
        "methods": ["unrolled", "direct"],
        "seed": 3,
        "probe": "fixed",
        "target": "same",
    }
    simulate = yaml.safe_load((tmp_path / "simulate.yaml").read_text())
    assert simulate["doses"] == ["1e9", "2.5e6"] and simulate["scan"] is None and simulate["out"] == "."
    assert plan.planned(tmp_path) == {
        "methods": ["unrolled", "direct"],
        "out": ".",
        "doses": ["1e9", "2.5e6"],
        "losses": ["nll", "mae"],
        "nepochs": 5,
        "measured": False,
    }


def test_plan_changes_only_what_a_parameter_touches(tmp_path):
    plan.write_plan(tmp_path, StudyConfig())
    assert plan.write_plan(tmp_path, StudyConfig()) == []
    changed = plan.write_plan(tmp_path, StudyConfig(losses=("nll",)))
    assert changed == [tmp_path / "study.yaml"]
    changed = plan.write_plan(tmp_path, StudyConfig(n_train=500))
    assert set(changed) == {tmp_path / "simulate.yaml", tmp_path / "study.yaml"}


def test_plan_makes_the_scan_relative_to_the_study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("scan.npz").write_bytes(b"")
    plan.write_plan("deep/study", StudyConfig.from_strings({"SCAN": "scan.npz"}))
    simulate = yaml.safe_load(Path("deep/study/simulate.yaml").read_text())
    assert simulate["scan"] == "../../scan.npz" and simulate["N"] is None and simulate["doses"] == ["full", "1e4"]
    plan.write_plan("star", StudyConfig.from_strings({"SCAN": "siemens-star"}))
    assert yaml.safe_load(Path("star/simulate.yaml").read_text())["scan"] == "siemens-star"


def test_a_question_about_resolution_touches_no_arm(tmp_path):
    words = {"SCAN": "siemens-star", "DOSES": "full 1e4", "RESOLUTION": "4.5", "POSITIONS": "refine"}
    plan.write_plan(tmp_path, StudyConfig.from_strings(words))
    assert yaml.safe_load((tmp_path / "resolution.yaml").read_text()) == {
        **{"out": ".", "doses": ["full", "1e4"], "seed": 1, "scan": "siemens-star", "resolution": "4.5"},
        **{"material": None, "damage": None},
    }
    simulate = yaml.safe_load((tmp_path / "simulate.yaml").read_text())
    assert (simulate["orientation"], simulate["probe_modes"], simulate["positions"]) == ("auto", 1, "refine")
    assert yaml.safe_load((tmp_path / "study.yaml").read_text())["measured"] is True
    changed = plan.write_plan(tmp_path, StudyConfig.from_strings({**words, "RESOLUTION": "6"}))
    assert changed == [tmp_path / "resolution.yaml"]
    more = {"RESOLUTION": "6", "MATERIAL": "H50C30N9O10S1", "DAMAGE": "1e8"}
    assert plan.write_plan(tmp_path, StudyConfig.from_strings({**words, **more})) == changed
    plan.write_plan(tmp_path / "simulated", StudyConfig())
    assert not (tmp_path / "simulated" / "resolution.yaml").exists()


def test_nanometres_need_a_pixel_of_known_size(tmp_path):
    scan = tmp_path / "scan.npz"
    arrays = {"diff3d": np.ones((16, 64, 64)), "xcoords": np.arange(16.0), "ycoords": np.arange(16.0)}
    arrays["probeGuess"] = np.ones((64, 64), complex)
    np.savez(scan, **arrays)
    config = StudyConfig(scan=str(scan), N=None, doses=("full",), resolution="20nm")
    with pytest.raises(ConfigError, match=r"RESOLUTION='20nm' is not accepted: .* does not tell the size"):
        plan.write_plan(tmp_path / "out", config)
    assert not (tmp_path / "out").exists()
    np.savez(scan, **arrays, pixel_size=1e-8)
    assert plan.write_plan(tmp_path / "out", config)


def test_plan_refuses_groups_of_more_patterns_than_are_held_out(tmp_path):
    scan = tmp_path / "scan.npz"
    line = np.arange(10.0)
    np.savez(scan, diff3d=np.ones((10, 64, 64)), xcoords=line, ycoords=line, probeGuess=np.ones((64, 64), complex))
    config = StudyConfig(scan=str(scan), N=None, doses=("full",))
    with pytest.raises(
        ConfigError, match=r"GRIDSIZE=2 .*of the 10 patterns of .* 3 are held out, .* takes 4; GRIDSIZE=1"
    ):
        plan.write_plan(tmp_path / "out", config)
    assert not (tmp_path / "out").exists()
    assert plan.write_plan(tmp_path / "out", replace(config, gridsize=1))
    assert plan.write_plan(tmp_path / "direct", replace(config, methods=("direct",)))


def test_plan_refuses_a_scan_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"SCAN='no\.npz'.*no such file.*siemens-star"):
        plan.write_plan(tmp_path / "study", StudyConfig(scan="no.npz", N=None))
    assert not (tmp_path / "study").exists()


def test_plan_refuses_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"OUT='.*file/study' cannot be written \(Not a directory\)"):
        plan.write_plan(tmp_path / "file" / "study", StudyConfig())


def test_plan_withdraws_a_verdict_on_another_study(tmp_path):
    plan.write_plan(tmp_path, StudyConfig())
    write_status(tmp_path, "VERIFIED", ["all"])
    plan.write_plan(tmp_path, StudyConfig())
    assert (tmp_path / "status.txt").read_text().startswith("VERIFIED")
    plan.write_plan(tmp_path, StudyConfig(nepochs=50))
    assert (tmp_path / "status.txt").read_text() == "NOT VERIFIED\n- the study has not finished\n"


@given(
    doses=st.lists(st.from_regex(r"[1-9](\.[1-9])?e[1-9]", fullmatch=True), min_size=1, unique=True),
    losses=st.lists(st.sampled_from(("nll", "mae")), min_size=1, unique=True),
)
def test_arms_are_those_of_the_configuration(doses, losses):
    config = StudyConfig(doses=tuple(doses), losses=tuple(losses))
    assert [(arm.dose, arm.loss) for arm in config.arms] == list(itertools.product(doses, losses))
    assert arms(iter(doses), iter(losses)) == config.arms
    assert len({arm.name for arm in config.arms}) == len(doses) * len(losses)


def test_no_study_is_one_message(tmp_path):
    with pytest.raises(ConfigError, match="there is no study in it"):
        plan.planned(tmp_path)
    (tmp_path / "study.yaml").write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"study\.yaml: expected doses"):
        plan.planned(tmp_path)


# --- metrics ---------------------------------------------------------------------------------------------------------


def test_collect_keeps_the_order_of_the_arms(out):
    metrics = collect(out, ("low_mae", "high_nll"))
    assert metrics["schema"] == 1
    assert [arm["name"] for arm in metrics["arms"]] == ["low_mae", "high_nll"]


def test_trap_an_arm_missing_from_the_history_is_noticed(out):
    (out / "low_nll" / "metrics.json").unlink()
    with pytest.raises(ValueError, match=r"low_nll/metrics\.json: cannot be read \(No such file"):
        collect(out, FOUR)
    fails_with(out, "^low_nll: .*cannot be read")
    assert (
        verify_study(out, [arm for arm in ARMS if arm.name != "low_nll"], 3).word == "NOT VERIFIED"
    )  # metrics.json lists it


@pytest.mark.parametrize("content", ["", "{", '{"name": "low_nll"', "[]", "null", '{"a": NaN}', "\ufeff{}"])
def test_collect_names_a_corrupt_arm(out, content):
    (out / "low_nll" / "metrics.json").write_text(content)
    with pytest.raises(ValueError, match=r"low_nll/metrics\.json"):
        collect(out, FOUR)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("nphotons",), None, "'nphotons' is None, expected int or float"),
        (("nphotons",), "1e9", "'nphotons' is '1e9'"),
        (("seed",), 1.5, "'seed' is 1.5, expected int"),
        (("seed",), True, "'seed' is True"),
        (("status",), "fine", "'status' is 'fine', expected one of"),
        (("name",), "low_mae", "'name' is 'low_mae', expected 'high_nll'"),
        (("train",), [], "'train' is"),
        (("heldout", "deviance"), math.nan, "'heldout': 'deviance' is nan, expected a finite number"),
        (("train", "amplitude_frc50"), math.inf, "'train': 'amplitude_frc50' is inf"),
        (("train", "relative_mse"), None, "'train': 'relative_mse' is None, expected int or float"),
        (("direct", "deviance"), -math.inf, "'direct': 'deviance' is -inf"),
    ],
)
def test_schema_names_the_file_the_key_and_what_was_found(path, value, message):
    wrong = entry("high_nll")
    place = wrong
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ValueError, match=r"^folder/metrics\.json: ") as error:
        check_arm(wrong, "folder/metrics.json", "high_nll")
    assert message in str(error.value)


@given(st.data())
def test_schema_misses_no_key(data):
    wrong = entry("high_nll")
    place = data.draw(st.sampled_from([wrong, wrong["train"], wrong["heldout"], wrong["direct"]]))
    key = data.draw(st.sampled_from(sorted(place)))
    del place[key]
    with pytest.raises(ValueError, match=f"{key!r} is missing"):
        check_arm(wrong, "metrics.json")


# --- verdict ---------------------------------------------------------------------------------------------------------


def test_a_finished_study_is_verified(out):
    word, lines = verify_study(out, ARMS, 3)
    assert word == "VERIFIED", lines
    assert all(name in lines[0] for name in FOUR)
    assert write_status(out, word, lines).startswith("VERIFIED\n- ")


@pytest.mark.parametrize("loss", ["nan", "inf", "-inf"])
def test_trap_nan_loss_is_not_reported_as_success(out, loss):
    (out / "high_mae" / "history.csv").write_text(f"epoch,loss,seconds\n1,0.5,2\n2,{loss},2\n3,0.4,2\n")
    fails_with(out, "^high_mae: its loss is not finite")


def test_a_training_whose_loss_rose_is_not_verified(out):
    (out / "high_mae" / "history.csv").write_text("epoch,loss,seconds\n1,0.5,2\n2,1.9,2\n3,0.8,2\n")
    fails_with(out, "^high_mae: its log loss rose from 0.5 in the first epoch to 0.8 in the last: .* LEARNING_RATE")


def test_a_loss_that_differs_from_epoch_to_epoch_as_their_groups_do_is_verified(out):
    # of a network of mse at 100 photons, as good as it gets within its first epoch
    losses = (-5.4072, -5.4042, -5.3991)
    table = "".join(f"{epoch},{loss},2\n" for epoch, loss in enumerate(losses, 1))
    (out / "high_mae" / "history.csv").write_text(f"epoch,loss,seconds\n{table}")
    word, lines = verify_study(out, ARMS, 3)
    assert word == "VERIFIED", lines


@pytest.mark.parametrize(
    "history",
    [
        "epoch,loss\n1,0.5\n2,0.4\n",
        "epoch,loss\n1,0.5\n1,0.5\n2,0.4\n",
        "epoch,loss\n",
        "",
        "epoch,loss\n1,0.5\n2,\n3,0.1\n",
        "epoch\n1\n2\n3\n",
    ],
)
def test_a_training_that_is_not_whole_is_not_verified(out, history):
    (out / "high_mae" / "history.csv").write_text(history)
    fails_with(out, "^high_mae: its (history|loss)")


def test_a_history_that_is_no_text_is_named(out):
    (out / "high_mae" / "history.csv").write_bytes(b"\xff\xfe\x00epoch")
    fails_with(out, "^high_mae: its history is no table")


def test_a_measured_scan_whose_reference_is_doubtful_is_doubtful_and_says_why_first(out):
    told = ["counts 1.1, expected at least 0.6 and at most 2: scatter"]
    (out / "data").mkdir()
    record = {"doubts": ["halves 0.03, expected at least 0.5: two images"], "told": told, "finest": 0.1}
    files.write_json(out / "data" / "trust.json", record)
    word, lines = verify_study(out, ARMS, 3, measured=True)
    assert word == "DOUBTFUL" and lines[0] == record["doubts"][0] and told[0] in lines
    files.write_json(out / "data" / "trust.json", record | {"doubts": []})
    word, lines = verify_study(out, ARMS, 3, measured=True)
    assert word == "VERIFIED" and told[0] in lines


@pytest.mark.parametrize("content", [None, "{", "[]", '{"doubts": []}'])
def test_without_the_tests_of_its_reference_a_measured_scan_is_doubtful(out, content):
    if content is not None:
        (out / "data").mkdir(exist_ok=True)
        (out / "data" / "trust.json").write_text(content)
    word, lines = verify_study(out, ARMS, 3, measured=True)
    assert word == "DOUBTFUL" and lines[0].startswith("whether the reference is true is not known")
    assert verify_study(out, ARMS, 3).word == "VERIFIED"  # a simulated scan has a truth


def test_a_doubtful_study_ends_well_and_one_that_is_not_verified_does_not(out, capsys):
    plan.write_plan(out, StudyConfig(nepochs=3, scan="siemens-star", N=None))
    (out / "data").mkdir()
    files.write_json(out / "data" / "trust.json", {"doubts": ["halves 0.03"], "told": [], "finest": 0.1})
    leave(out, layout.study_stages(plan.planned(out)))
    assert engine.verify(out) == 0, capsys.readouterr().out
    assert capsys.readouterr().out.startswith("DOUBTFUL\n- halves 0.03\n")
    (out / "high_mae" / "history.csv").write_text("")
    assert engine.verify(out) == 1
    assert capsys.readouterr().out.startswith("NOT VERIFIED\n- high_mae: its history")


def test_a_study_that_is_being_made_again_is_not_verified_by_what_the_last_run_left(out, capsys):
    plan.write_plan(out, StudyConfig(nepochs=3))
    leave(out, layout.study_stages(plan.planned(out)))
    assert engine.verify(out) == 0, capsys.readouterr().out
    plan.write_plan(out, StudyConfig(nepochs=3, seed=2))
    later = (out / "compare.ipynb").stat().st_mtime + 10
    for name in ("simulate.yaml", *(f"{arm}/arm.yaml" for arm in FOUR)):
        os.utime(out / name, (later, later))
    capsys.readouterr()
    assert engine.verify(out) == 1
    told = capsys.readouterr().out
    for name in ("simulate", *FOUR, "compare"):
        assert f"- {name}: not made with the present parameters, scans and code (pending); `make study`" in told
    assert "trained to the end" not in told and (out / "status.txt").read_text().startswith("NOT VERIFIED\n")

    failed = out / "simulate.failed.ipynb"
    failed.write_text("{}")
    os.utime(failed, (later + 1, later + 1))
    add_failure(out, "simulate: simulation failed: MemoryError (see blocked_1.md)")
    assert engine.verify(out) == 1  # and says why for as long as it is asked
    assert engine.verify(out) == 1
    assert capsys.readouterr().out.count("NOT VERIFIED\n- simulate: simulation failed: MemoryError (see") == 2


def test_a_fault_outweighs_a_doubt(out):
    (out / "high_mae" / "history.csv").write_text("")
    word, lines = verify_study(out, ARMS, 3, measured=True)
    assert word == "NOT VERIFIED" and any("whether the reference" in line for line in lines)


def test_a_network_that_explains_its_photons_far_worse_than_the_fit_is_named_first(out):
    poor = entry("low_mae")
    poor["train"]["deviance"], poor["direct"]["deviance"] = 130.0, 1.1
    files.write_json(out / "low_mae" / "metrics.json", poor)
    files.write_json(out / "metrics.json", collect(out, FOUR))
    word, lines = verify_study(out, ARMS, 3)
    assert word == "VERIFIED" and lines[0].startswith("the network limits, not the light")
    assert "low_mae 130 against 1.1" in lines[0]


def test_a_collapse_is_a_fault_at_many_photons_and_a_result_at_few(out):
    for name, ok in (("low_mae", True), ("high_mae", False)):
        collapsed = entry(name, status="collapsed")
        collapsed["train"]["amplitude_frc50"] = None
        files.write_json(out / name / "metrics.json", collapsed)
        files.write_json(out / "metrics.json", collect(out, FOUR))
        word, lines = verify_study(out, ARMS, 3)
        assert word == ("VERIFIED" if ok else "NOT VERIFIED")
        assert any(line.startswith(f"{name}: ") and "collapsed" in line for line in lines), lines


def test_collapse_goes_by_the_photons_that_were_measured(out):
    files.write_json(out / "low_mae" / "metrics.json", entry("low_mae", status="collapsed", nphotons=2e8))
    files.write_json(out / "metrics.json", collect(out, FOUR))
    fails_with(out, "low_mae: its network collapsed at 2e.08")


def test_a_failed_arm_is_not_verified(out):
    files.write_json(out / "low_mae" / "metrics.json", entry("low_mae", status="failed"))
    files.write_json(out / "metrics.json", collect(out, FOUR))
    fails_with(out, "^low_mae: its training failed")


@pytest.mark.parametrize(
    "line",
    [
        "tensorflow.python.framework.errors_impl.InvalidArgumentError: Graph execution error",
        "W0000 Incompatible shapes: [16,64,64,4] vs. [16,64,64,1]",
        "ValueError: Shapes (2,) and (3,) are incompatible",
        "ValueError: operands could not be broadcast together with shapes (2,) (3,)",
        'ValueError: Input 0 of layer "x" is incompatible with the layer',
    ],
)
def test_a_shape_error_in_the_log_is_not_verified(out, line):
    with (out / "run.log").open("a") as log:
        log.write(f"low_nll | {line}\n")
    fails_with(out, r"^run\.log: low_nll \| ")


def test_a_shape_error_of_a_run_that_was_repeated_does_not_count(out):
    with (out / "run.log").open("a") as log:
        log.write("low_nll | Incompatible shapes\n")
        log.write("low_nll | === train-arm.ipynb started later\nlow_nll | patterns of shape (4,): fine\n")
    assert verify_study(out, ARMS, 3).word == "VERIFIED"


def test_without_a_log_nothing_is_verified(out):
    (out / "run.log").unlink()
    fails_with(out, r"^run\.log: cannot be read")


def test_an_empty_figure_is_not_verified(out):
    Image.new("RGB", (64, 48), "white").save(out / "dose_comparison.png")
    fails_with(out, r"dose_comparison\.png is empty")
    (out / "dose_comparison.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    fails_with(out, r"dose_comparison\.png is missing or no image")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("dose,peak\n" + "1e9,2\n" * 3, "3 rows, expected one for each of 4 reconstructions"),
        ("panel,peak\n" + "a,2\n" * 5 + "b,nan\n", "row 6 is not finite"),
        ("panel,peak\n" + "a,2\n" * 5 + "b,\n", "row 6 is not finite"),
    ],
)
def test_a_panel_without_numbers_is_not_verified(out, table, message):
    (out / "dose_comparison.csv").write_text(table)
    fails_with(out, message)


def test_metrics_that_differ_from_those_of_the_arms_are_not_verified(out):
    files.write_json(out / "low_mae" / "metrics.json", entry("low_mae", seed=2))
    fails_with(out, r"metrics\.json: it differs")


def test_status_is_left_alone_when_it_says_the_same(out):
    write_status(out, "VERIFIED", ["one"])
    os.utime(out / "status.txt", (1, 1))
    write_status(out, "VERIFIED", ["one"])
    assert (out / "status.txt").stat().st_mtime == 1


# --- files -----------------------------------------------------------------------------------------------------------


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_json_comes_back_as_it_was(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "value.json"
    files.write_json(path, value)
    assert files.read_json(path) == value


@pytest.mark.parametrize("value", [math.nan, math.inf, {1, 2}, {"a": [math.nan]}])
def test_json_refuses_what_it_cannot_hold_and_keeps_the_old_file(tmp_path, value):
    path = tmp_path / "value.json"
    files.write_json(path, "old")
    with pytest.raises(ValueError, match=r"value\.json: cannot be written as JSON"):
        files.write_json(path, value)
    assert files.read_json(path) == "old"


def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "value.json"
    files.write_json(path, "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_json(path, "new")
    assert files.read_json(path) == "old"
    assert os.listdir(tmp_path) == ["value.json"]


# --- progress and provenance -----------------------------------------------------------------------------------------


def stages(out):
    return layout.study_stages(plan.planned(out))


def test_progress_of_a_running_arm(tmp_path):
    out = tmp_path
    plan.write_plan(out, StudyConfig())
    arm = out / "high_nll"
    files.write_json(arm / "train-arm.partial.json", {"pid": os.getpid(), "started": 1000.0})
    write_progress(arm, stage="training", epoch=2, nepochs=5, seconds_per_epoch=10.0, loss=0.5)
    rows = {row.name: row for row in survey(out, stages(out), now=1030.0)}
    assert rows["high_nll"] == Row("high_nll", "running", "epoch 3 of 5", 30.0, 30.0)
    assert rows["low_nll"].state == rows["compare"].state == "pending"
    assert re.search(r"high_nll +running +epoch 3 of 5 +0:30 +0:30", status_table(list(rows.values())))


def test_a_training_is_watched_in_the_notebook_and_from_outside(tmp_path, monkeypatch):
    drawn, shown = [], SimpleNamespace(update=lambda figure: drawn.append(repr(figure)))
    monkeypatch.setattr("IPython.display.display", lambda display_id: shown)
    monkeypatch.setattr(images, "loss_curve", lambda curve, label: drawn.append((curve, label)) or Figure())
    watched = output.LiveCurve(tmp_path, "mean nll per pixel")
    watched({"stage": "compiling", "epoch": 0, "nepochs": 3})
    assert drawn == [] and files.read_json(tmp_path / "progress.json")["stage"] == "compiling"
    for epoch, loss in ((1, 0.5), (2, 0.0)):
        watched({"stage": "training", "epoch": epoch, "nepochs": 3, "loss": loss, "seconds_per_epoch": 4.0})
    told = files.read_json(tmp_path / "progress.json")
    assert (told["stage"], told["epoch"], told["nepochs"], told["loss"]) == ("training", 2, 3, 0.0)
    assert drawn[2] == ({"epoch": [0, 1], "loss": [0.5, 0.0]}, "log of the mean nll per pixel")
    assert drawn[3] == "Training loss against epoch"


def test_progress_tells_done_failed_stopped_and_pending_apart(tmp_path):
    out = tmp_path
    plan.write_plan(out, StudyConfig())
    leave(out, [one for one in stages(out) if one.name in ("simulate", "high_nll", "low_mae")])
    for name in FOUR:
        os.utime(out / name / "arm.yaml", (1000, 1000))
    for path in (*out.glob("data/*"), *out.glob("sources/*")):
        os.utime(path, (1000, 1000))
    (out / "high_nll" / "train-arm.ipynb").write_text(json.dumps({"metadata": {"papermill": {"duration": 62.0}}}))
    (out / "high_mae" / "train-arm.failed.ipynb").write_text("{}")
    files.write_json(out / "low_nll" / "train-arm.partial.json", {"pid": 2**22 + 1, "started": 1000.0})
    (out / "low_mae" / "train-arm.ipynb").write_text("{}")
    os.utime(out / "low_mae" / "train-arm.ipynb", (999, 999))  # of other parameters
    rows = {row.name: row for row in survey(out, stages(out))}
    assert [rows[name].state for name in FOUR] == ["done", "failed", "stopped", "pending"]
    assert rows["high_nll"].elapsed == 62.0


def test_a_stage_whose_inputs_are_to_be_made_again_is_not_done(tmp_path):
    plan.write_plan(tmp_path, StudyConfig())
    leave(tmp_path, stages(tmp_path))
    assert {row.state for row in survey(tmp_path, stages(tmp_path))} == {"done"}
    (tmp_path / "high_nll" / "frc.json").unlink()
    states = {row.name: row.state for row in survey(tmp_path, stages(tmp_path))}
    assert [name for name, state in states.items() if state != "done"] == ["high_nll", "compare"]
    plan.write_plan(tmp_path, StudyConfig(n_train=500))
    assert {row.state for row in survey(tmp_path, stages(tmp_path))} == {"pending"}


def test_the_digest_is_of_the_code_and_of_what_a_scans_files_hold(tmp_path):
    scan, out = tmp_path / "scan.npz", tmp_path / "out"
    scan.write_bytes(b"content")
    config = StudyConfig(scan=str(scan), N=None, doses=("1e4",))
    plan.write_plan(out, config)
    os.utime(scan)
    assert plan.write_plan(out, config) == []
    before = scan.stat()
    scan.write_bytes(b"another")  # as long, and put back to the old time
    os.utime(scan, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert plan.write_plan(out, config) == [out / "sources" / "scan.sha256"]


def test_provenance_says_how_and_not_where_or_by_whom(tmp_path):
    record = provenance.provenance(tmp_path, {"seed": 7, "loss": "nll"})
    text = (tmp_path / "provenance.json").read_text()
    assert json.loads(text) == record
    assert record["parameters"] == {"seed": 7, "loss": "nll"}
    assert record["packages"]["numpy"] and record["cpu_count"] >= 1
    assert record["started_utc"] <= record["ended_utc"]
    for private in (str(Path.home()), str(tmp_path), str(provenance.ROOT)):
        assert private not in text
    host = socket.gethostname()
    assert not re.search(rf"\b{re.escape(host)}\b", text) or len(host) <= 3


def test_provenance_names_the_gpus_that_tensorflow_computed_on(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "gpus", lambda: ["NVIDIA H200"])
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace())
    assert provenance.provenance(tmp_path, {})["gpus"] == ["NVIDIA H200"]
    monkeypatch.delitem(sys.modules, "tensorflow")
    assert provenance.provenance(tmp_path, {})["gpus"] == []


def test_provenance_of_a_folder_that_is_no_checkout(tmp_path):
    assert provenance.git_state(tmp_path) is None


def test_a_checkout_is_dirty_when_its_code_was_changed_and_not_when_its_reports_were(tmp_path):
    (tmp_path / "reports").mkdir()
    files = [tmp_path / "model.py", tmp_path / "reports" / "metrics.json"]
    for file in files:
        file.write_text("1")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *words], check=True)
    for file, dirty in ((files[1], False), (files[0], True)):
        file.write_text("2")
        assert provenance.git_state(tmp_path)["dirty"] is dirty
