"""The command line."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from standins import ROOT

from ptycho import __main__
from ptycho.errors import NonFiniteError, TrainingError
from ptycho.run import engine
from ptycho.study import plan
from ptycho.study.campaigns import CAMPAIGNS
from ptycho.study.config import StudyConfig
from ptycho.study.status import write_progress


@pytest.fixture
def asked(monkeypatch):
    """What the command line asks the engine for."""
    requests = []
    monkeypatch.setattr(engine, "perform", lambda request: requests.append(request) or 3)
    return requests


def test_study_asks_for_what_make_asks_for(asked, tmp_path):
    assert __main__.main(["study", "--output-dir", str(tmp_path / "x"), "--nepochs", "7", "--n", "128"]) == 3
    assert __main__.main(["study", f"OUT={tmp_path / 'x'}", "NEPOCHS=7", "N=128"]) == 3
    assert asked[0] == asked[1]
    assert (asked[0].out, asked[0].config) == (str(tmp_path / "x"), StudyConfig(nepochs=7, N=128))


def test_study_takes_every_parameter_and_keeps_paths(asked, tmp_path):
    words = "--gridsize 1 --n-train 10 --n-test 5 --doses 1e9 1e6 --losses nll --seed 4 --arch cnn --phase 1 --jobs 2"
    __main__.main(["study", "--output-dir", "tmp/dose_study", *words.split()])
    (request,) = asked
    assert (request.out, request.jobs, request.config) == (
        "tmp/dose_study",
        2,
        StudyConfig(
            **{"gridsize": 1, "n_train": 10, "n_test": 5, "doses": ("1e9", "1e6"), "losses": ("nll",), "seed": 4},
            **{"architecture": "cnn", "methods": ("cnn", "direct"), "phase": 1.0},
        ),
    )
    __main__.main(["study", "--scan", str(tmp_path / "a scan.npz")])
    assert asked[1].config.scan == str(tmp_path / "a scan.npz") and asked[1].out == "reports/dose-study"


def test_every_command_says_what_each_option_means_and_takes(capsys):
    for target in CAMPAIGNS:
        with pytest.raises(SystemExit):
            __main__.main([target, "--help"])
        told = " ".join(capsys.readouterr().out.split())
        assert "losses, one arm each: nll, mae, mse" in told and "(default: 5)" in told, target
    with pytest.raises(SystemExit):
        __main__.main(["--help"])
    told = capsys.readouterr().out
    listed = [line.split()[0] for line in told.splitlines() if line.startswith("    ") and line[4] != " "]
    assert listed == [*CAMPAIGNS, "status", "report", "clean", "inspect", "reconstruct", "convert", "lab"]


@pytest.mark.parametrize(
    "words",
    [
        ["study", "--output-dir", "x", "--epochs", "5"],
        ["study", "--output-dir", "x", "--nepoch", "5"],
        ["nonsense"],
        [],
    ],
)
def test_an_unknown_option_is_refused(words, capsys, asked):
    with pytest.raises(SystemExit) as status:
        __main__.main(words)
    assert status.value.code == 2 and "usage: ptycho" in capsys.readouterr().err
    assert not asked


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["NEPOCHS=five"], "NEPOCHS='five' is not accepted: an integer"),
        (["EPOCHS=5"], "unknown parameter EPOCHS: the parameters are NEPOCHS"),
        (["NEPOCHS"], "'NEPOCHS' is not accepted: parameters are written NAME=value"),
        (["--jobs", "none"], "JOBS='none' is not accepted"),
    ],
)
def test_a_wrong_word_is_refused_in_one_line(tmp_path, capsys, asked, words, message):
    assert __main__.main(["study", f"OUT={tmp_path / 'x'}", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"ptycho: {message}") and error.count("\n") == 1
    assert not asked and not (tmp_path / "x").exists()


def test_an_interpreter_without_the_packages_says_what_to_do_in_one_line(tmp_path):
    (tmp_path / "scan.npz").write_bytes(b"")
    bare = f"{sys.base_prefix}/bin/python3"
    done = subprocess.run(
        [bare, "-S", "-m", "ptycho", "inspect", str(tmp_path / "scan.npz")], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert re.match(r"ptycho: \w+ is not installed for .*; use \.venv/bin/ptycho", done.stderr)


def test_inspect_tells_the_same_as_json(tmp_path, capsys):
    (tmp_path / "scan.npz").write_bytes(b"no scan")
    assert __main__.main(["inspect", str(tmp_path / "scan.npz"), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["summary"] == {"file": "scan.npz"} and "of no kind known here" in told["wrong"][0]


def test_status_report_and_verdict(tmp_path, capsys):
    for command in ("status", "report", "verify"):
        assert __main__.main([command, str(tmp_path)]) == 2
        assert "there is no study in it" in capsys.readouterr().err
    plan.write_plan(tmp_path, StudyConfig())
    assert __main__.main(["status", str(tmp_path)]) == 0
    assert "high_nll       pending" in capsys.readouterr().out
    assert __main__.main(["verify", str(tmp_path)]) == 1
    assert capsys.readouterr().out.startswith("NOT VERIFIED\n- simulate: not made with the present parameters")
    assert __main__.main(["report", str(tmp_path)]) == 2
    assert "simulate.ipynb: no rendered notebook" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermissionError(13, "Permission denied", "out/report"), "out/report: Permission denied"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("Can't write data\n (file write failed)"), "Can't write data (file write failed)"),
        (TrainingError("the fit diverged"), f"the fit diverged\n{TrainingError.advice}"),
        (NonFiniteError("the object holds NaN"), f"the object holds NaN\n{NonFiniteError.advice}"),
    ],
)
def test_a_file_that_cannot_be_written_and_a_fit_that_diverged_are_one_message(monkeypatch, capsys, error, told):
    def fail(out):
        raise error

    monkeypatch.setattr(engine, "clean", fail)
    assert __main__.main(["clean", "out"]) == 2
    assert capsys.readouterr().err == f"ptycho: {told}\n"


def test_a_cache_that_is_no_folder_is_one_message(tmp_path, capsys, monkeypatch):
    (tmp_path / "cache").touch()
    monkeypatch.setenv("PTYCHO_CACHE", str(tmp_path / "cache"))
    assert __main__.main(["lab"]) == 2
    assert capsys.readouterr().err == f"ptycho: {tmp_path}/cache/lab/labconfig: Not a directory\n"


def test_the_status_of_a_folder_that_cannot_be_written_is_told(tmp_path, capsys, monkeypatch):
    plan.write_plan(tmp_path, StudyConfig(nepochs=5))
    write_progress(tmp_path / "high_nll", stage="training", epoch=2, nepochs=5)

    def refuse(*paths):
        raise PermissionError(13, "Permission denied", *map(str, paths))

    monkeypatch.setattr(os, "replace", refuse)
    assert __main__.main(["status", str(tmp_path)]) == 0
    assert "high_nll       stopped" in capsys.readouterr().out and not (tmp_path / "status.txt").exists()


def test_the_module_runs():
    done = subprocess.run(
        [sys.executable, "-m", "ptycho", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "ptycho 0.1.0\n"


def test_a_reader_that_has_seen_enough_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "ptycho", "variables"], cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)
    assert done.returncode == 128 + signal.SIGPIPE and done.stderr == ""
