"""The command line."""

import os
import subprocess
import sys

import pytest
import yaml
from standins import ROOT

from ptycho import __main__
from ptycho.study import plan
from ptycho.study.config import StudyConfig


@pytest.fixture
def handed_over(monkeypatch):
    """The command that `python -m ptycho study` would become, and its environment."""
    calls = []

    def record(file, command, environment):
        assert file == command[0]
        calls.append((command, environment))
        raise SystemExit(3)  # it does not return

    monkeypatch.setattr(os, "execvpe", record)
    return calls


def test_study_hands_over_to_make(handed_over, tmp_path):
    with pytest.raises(SystemExit):
        __main__.main(["study", "--output-dir", str(tmp_path / "x"), "--nepochs", "7", "--n", "128"])
    ((command, environment),) = handed_over
    assert command == [
        *("make", "-C", str(ROOT), "--no-print-directory", "study"),
        *(f"OUT={tmp_path / 'x'}", "NEPOCHS=7", "N=128"),
    ]
    assert environment == {**os.environ, "VIRTUAL_ENV": sys.prefix}


def test_study_takes_every_parameter_and_keeps_paths(handed_over, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    (tmp_path / "scan.npz").write_text("")
    words = "--gridsize 1 --n-train 10 --n-test 5 --doses 1e9 1e6 --losses nll --seed 4 --arch cnn --phase 1 --jobs 2"
    with pytest.raises(SystemExit):
        __main__.main(["study", "--output-dir", "tmp/dose_study", *words.split(), "--scan", str(tmp_path / "scan.npz")])
    ((command, _),) = handed_over
    assert command[5:] == [
        *("OUT=tmp/dose_study", "GRIDSIZE=1", "N_TRAIN=10", "N_TEST=5", "DOSES=1e9 1e6", "LOSSES=nll", "SEED=4"),
        *("ARCH=cnn", "PHASE=1", f"SCAN={tmp_path / 'scan.npz'}", "JOBS=2"),
    ]


@pytest.mark.parametrize(
    "words",
    [
        ["study"],
        ["study", "--output-dir", "x", "--epochs", "5"],
        ["study", "--output-dir", "x", "--nepoch", "5"],
        ["nonsense"],
        [],
    ],
)
def test_an_unknown_option_is_refused(words, capsys, handed_over):
    with pytest.raises(SystemExit) as status:
        __main__.main(words)
    assert status.value.code == 2 and "usage: python -m ptycho" in capsys.readouterr().err
    assert not handed_over


def test_plan(tmp_path, capsys):
    assert __main__.main(["plan", "--out", str(tmp_path), "NEPOCHS=3", "DOSES=1e6 1e7", "SCAN="]) == 0
    assert yaml.safe_load((tmp_path / "1e7_mae" / "arm.yaml").read_text())["nepochs"] == 3
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["NEPOCHS=five"], "NEPOCHS='five' is not accepted: an integer"),
        (["EPOCHS=5"], "EPOCHS='5' is not accepted: the parameters are NEPOCHS"),
        (["NEPOCHS"], "'NEPOCHS' is not accepted: parameters are written NAME=value"),
        (["--jobs", "none"], "JOBS='none' is not accepted"),
    ],
)
def test_plan_refuses_in_one_line(tmp_path, capsys, words, message):
    assert __main__.main(["plan", "--out", str(tmp_path / "x"), *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"ptycho: {message}") and error.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_status_report_and_verdict(tmp_path, capsys):
    for command in ("status", "report", "verify"):
        assert __main__.main([command, str(tmp_path)]) == 2
        assert "there is no study in it" in capsys.readouterr().err
    plan.write_plan(tmp_path, StudyConfig())
    assert __main__.main(["status", str(tmp_path)]) == 0
    assert "high_nll       pending" in capsys.readouterr().out
    assert __main__.main(["verify", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("NOT VERIFIED\n- high_nll: high_nll/metrics.json: cannot be read")
    assert __main__.main(["report", str(tmp_path)]) == 2
    assert "simulate.ipynb: no rendered notebook" in capsys.readouterr().err


def test_the_module_runs():
    done = subprocess.run(
        [sys.executable, "-m", "ptycho", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "0.1.0\n"
