"""One notebook as one stage: whole outputs, everything logged, failures explained. The notebooks are stand-ins."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import pytest
from standins import ROOT, SIMULATE, TRAIN, environment, gone, notebook

from ptycho.cores import usable_cores
from ptycho.run import failures, kernel, stage
from ptycho.run.environment import of_kernel
from ptycho.run.failures import Failure
from ptycho.study import layout, plan
from ptycho.study.config import StudyConfig
from ptycho.study.status import survey

ARM = "high_nll"


@pytest.fixture
def out(tmp_path, monkeypatch):
    """A planned study with the notebooks beside it."""
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    notebook(SIMULATE, tmp_path / "simulate.ipynb")
    notebook(TRAIN, tmp_path / "train-arm.ipynb")
    plan.write_plan(tmp_path / "out", StudyConfig(nepochs=2))
    return tmp_path / "out"


def run_arm(out: Path, jobs: int = 1) -> int:
    files = out / ARM / "train-arm.ipynb", out / ARM / "arm.yaml", out / "run.log"
    return stage.run(out.parent / "train-arm.ipynb", *files, jobs)


def run_simulate(out: Path) -> int:
    return stage.run(out.parent / "simulate.ipynb", out / "simulate.ipynb", out / "simulate.yaml", out / "run.log")


def beside(out: Path) -> set[str]:
    return {path.name for path in (out / ARM).iterdir()}


def blocked(out: Path) -> str:
    (report,) = out.glob("blocked_*.md")
    assert re.fullmatch(r"blocked_\d{8}T\d{6}\.\d{6}Z\.md", report.name)
    return report.read_text()


@pytest.mark.parametrize("usual", ["/tmp", f"/tmp/{'x' * 120}"])
def test_trap_kernels_that_start_at_once_share_no_port(out, monkeypatch, usual):
    monkeypatch.setattr(tempfile, "tempdir", usual)
    code = "from ipykernel.connect import get_connection_info as get; print('listens', get().replace(chr(10), ' '))"
    monkeypatch.setenv("FAIL", f"{ARM} training {code}")
    assert run_arm(out) == 0
    listens = json.loads((out / "run.log").read_text().partition("listens ")[2].partition("\n")[0])
    assert listens["transport"] == "ipc"
    assert not Path(listens["ip"]).parent.exists()  # the sockets are cleared away


def test_success_leaves_one_clean_notebook_and_a_full_log(out, capfd):
    before = time.time()
    assert run_simulate(out) == 0
    assert {path.name for path in out.iterdir() if path.is_file()} == {
        *("simulate.yaml", "study.yaml", "simulate.ipynb", "run.log"),
    }
    assert (out / "data" / "high_train.npz").read_text() == "1e9 train 1"
    log = (out / "run.log").read_text()
    for line in ("to stdout", "to stderr", "to descriptor 2"):
        assert log.count(f"simulate | {line}\n") == 1
    assert "=== simulate.ipynb started" in log and "=== simulate.ipynb done" in log
    assert "IPKernelApp" not in log  # the kernel's own remarks
    assert capfd.readouterr().out == log
    rendered = nbformat.read(out / "simulate.ipynb", as_version=4)
    assert rendered.metadata["papermill"].keys() == {"duration"}
    assert not [cell for cell in rendered.cells if "papermill" in cell.metadata or "execution" in cell.metadata]
    assert before - 1 <= (out / "simulate.ipynb").stat().st_mtime <= before + 1  # dated to its start


def test_rendered_notebook_names_no_folder_no_host_and_no_user(out):
    assert run_arm(out, jobs=2) == 0
    text = (out / ARM / "train-arm.ipynb").read_text()
    for private in (str(out.parent), str(ROOT), str(Path.home()), sys.prefix):
        assert private not in text
    host = socket.gethostname()
    assert len(host) <= 3 or host not in text
    assert 'arm = \\"high_nll\\"' in text  # the parameters it was run with
    threads = max(1, usable_cores() // 2)
    assert f"threads {threads} in the arm's folder: True" in text


def test_failure_in_the_middle(out, monkeypatch, capfd):
    monkeypatch.setenv("FAIL", f"{ARM} inference raise ValueError('the middle broke')")
    assert run_arm(out) == 1
    assert {"train-arm.failed.ipynb", "history.csv"} <= beside(out)
    assert not beside(out) & {"train-arm.ipynb", "train-arm.partial.ipynb", "train-arm.partial.json"}
    text = blocked(out)
    assert "- Stage: inference\n- Arm: high_nll\n- Last successful step: One arm (training)\n" in text
    assert "the middle broke" in text and "Traceback" in text and "make study" in text
    status = (out / "status.txt").read_text()
    assert status.startswith("NOT VERIFIED\n- high_nll: inference failed: ValueError: the middle broke (see blocked_")
    terminal = capfd.readouterr()
    assert "high_nll: inference failed: ValueError: the middle broke" in terminal.err
    assert "Traceback" not in terminal.out + terminal.err

    monkeypatch.delenv("FAIL")  # resumes
    assert run_arm(out) == 0
    assert "train-arm.ipynb" in beside(out) and "train-arm.failed.ipynb" not in beside(out)


def test_an_error_of_the_user_is_its_message_alone(out, monkeypatch, capfd):
    error = "from ptycho.scans.rawdata import DataError; raise DataError('scan.npz: probeGuess is missing')"
    monkeypatch.setenv("FAIL", f"simulate simulation {error}")
    assert run_simulate(out) == 1
    assert "simulate: simulation failed: scan.npz: probeGuess is missing\n" in capfd.readouterr().err
    assert "Correct the input that the message names" in blocked(out)


def test_unknown_parameter_is_refused(out, capfd):
    with (out / ARM / "arm.yaml").open("a") as file:
        file.write("nepoch: 3\n")
    assert run_arm(out) == 1
    assert "has no parameter 'nepoch'; it has out, arm, dose" in capfd.readouterr().err
    assert "ran" not in beside(out)


def test_a_killed_kernel_is_told_as_lack_of_memory(out, monkeypatch):
    monkeypatch.setenv("FAIL", f"{ARM} training os.kill(os.getpid(), signal.SIGKILL)")
    assert run_arm(out) == 1
    text = blocked(out)
    assert "- Stage: training" in text and "smaller N_TRAIN" in text


def test_a_killed_child_is_told_as_lack_of_memory_and_takes_its_kernel_along(out, monkeypatch):
    kill = "open('pid', 'w').write(str(os.getpid())); os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)"
    monkeypatch.setenv("FAIL", f"{ARM} inference {kill}")
    assert run_arm(out) == 1
    text = blocked(out)
    assert "- Stage: inference" in text and "ended by signal 9" in text and "smaller N_TRAIN" in text
    assert gone(int((out / ARM / "pid").read_text()))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks processes up in /proc")
@pytest.mark.parametrize(
    ("number", "thread"), [(signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGKILL, 0), (signal.SIGHUP, -1)]
)
def test_an_interrupted_runner_takes_its_kernel_along(out, number, thread):
    """Whichever thread the system would give the signal to: of two at once, the main one gets the first at most."""
    wait = "open('pid', 'w').write(str(os.getpid())); os.rename('pid', 'kernel'); time.sleep(120)"
    command = [sys.executable, "-m", "ptycho", "run", "../train-arm.ipynb", f"{ARM}/train-arm.ipynb"]
    process = subprocess.Popen(
        [*command, "--parameters", f"{ARM}/arm.yaml", "--log", "run.log"],
        cwd=out,
        env=environment(FAIL=f"{ARM} training {wait}", PYTHONPATH=str(ROOT)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.time() + 30
    while not (out / ARM / "kernel").exists():
        assert time.time() < until and process.poll() is None
        time.sleep(0.05)
    os.kill(sorted(map(int, os.listdir(f"/proc/{process.pid}/task")))[thread], number)
    status = process.wait(timeout=20)
    assert gone(int((out / ARM / "kernel").read_text()))
    assert not list(out.glob("blocked_*")) and "train-arm.failed.ipynb" not in beside(out)
    assert "train-arm.ipynb" not in beside(out)
    if number != signal.SIGKILL:
        assert status == 128 + number
        assert not beside(out) & {"train-arm.partial.ipynb", "train-arm.partial.json"}


def test_a_folder_that_cannot_be_written_is_one_message(out, capfd, tmp_path):
    (tmp_path / "file").write_text("")
    log = tmp_path / "file" / "run.log"
    assert stage.run(out.parent / "simulate.ipynb", log.with_name("simulate.ipynb"), out / "simulate.yaml", log) == 1
    message = capfd.readouterr().err
    assert "cannot be written: Not a directory" in message and message.count("\n") == 1


def test_no_folder_for_sockets_is_one_message(out, monkeypatch, capfd):
    with monkeypatch.context() as patched:  # pytest's own capture needs the folder back
        patched.setattr(tempfile, "tempdir", "/gone")
        assert run_arm(out) == 1
    error = capfd.readouterr().err
    assert error.startswith(f"{ARM}: /gone/ptycho-") and error.endswith(
        " cannot be written: No such file or directory\n"
    )


def test_two_studies_in_one_folder_do_not_mix(out, capfd):
    claim = stage.claim(out / ARM)
    assert run_arm(out) == os.EX_TEMPFAIL
    os.close(claim)
    assert "another `make study` is at work" in capfd.readouterr().err
    assert not beside(out) & {"train-arm.partial.json", "ran"} and not (out / "run.log").exists()


def test_a_full_disk_is_one_message(out, monkeypatch, capfd):
    def full(*_):
        raise OSError(28, "No space left on device")

    told = {"name": "OSError", "message": "[Errno 28] No space left on device", "traceback": "..."}
    monkeypatch.setattr(stage, "_start", lambda *_: (1, told, 0))
    assert run_arm(out) == 1
    assert "The disk is full" in blocked(out)
    monkeypatch.setattr(stage, "_write_report", full)
    assert run_arm(out) == 1
    message = capfd.readouterr().err
    assert "no report could be written" in message and "No space left on device" in message


def test_a_result_older_than_its_parameters_goes_when_the_new_run_fails(out, monkeypatch):
    told = {"name": "ValueError", "message": "no", "traceback": ""}
    monkeypatch.setattr(stage, "_start", lambda *_: (1, told, 0))
    rendered = out / ARM / "train-arm.ipynb"
    for date, stays in ((time.time() + 5, True), (1000.0, False)):
        rendered.write_text("{}")
        os.utime(rendered, (date, date))
        assert run_arm(out) == 1
        assert rendered.exists() is stays


def test_a_result_is_dated_by_the_clock_that_dates_the_scans_it_is_made_from(out, monkeypatch):
    """On a network drive that is a server's: ours may be an hour behind it."""
    clock = time.time
    monkeypatch.setattr(stage.time, "time", lambda: clock() - 3600)
    assert run_simulate(out) == 0 and run_arm(out) == 0
    monkeypatch.undo()
    stages = layout.study_stages(plan.planned(out))
    assert [row.state for row in survey(out, stages) if row.name in ("simulate", ARM)] == ["done", "done"]
    scan, rendered = out / "data" / "high_train.npz", out / ARM / "train-arm.ipynb"
    assert 0 <= rendered.stat().st_mtime_ns - scan.stat().st_mtime_ns < 60e9
    assert re.search(r"simulate \| === simulate\.ipynb done in \d\d?\.\d s\n", (out / "run.log").read_text())


def test_failures_of_several_arms_are_all_in_the_status(out, monkeypatch):
    monkeypatch.setattr(stage, "_start", lambda *_: (1, {"name": "ValueError", "message": "no", "traceback": ""}, 0))
    for arm in (ARM, "low_mae"):
        files = out / arm / "train-arm.ipynb", out / arm / "arm.yaml", out / "run.log"
        stage.run(out.parent / "train-arm.ipynb", *files)
    status = (out / "status.txt").read_text()
    assert "high_nll: training failed: ValueError: no" in status and "low_mae: training failed" in status


# --- what is said about a failure ------------------------------------------------------------------------------------


def cell(kind: str, source: str, *tags: str, status: str | None = None, error: str | None = None) -> dict:
    made = {"cell_type": kind, "source": [source], "metadata": {"tags": list(tags)}}
    if status:
        made["metadata"]["papermill"] = {"status": status}
    if kind == "code":
        trace = {"output_type": "error", "ename": "E", "evalue": "why", "traceback": ["\x1b[31mline\x1b[0m"]}
        made["outputs"] = [trace] if error else []
    return made


@pytest.mark.parametrize("stage", ["simulation", "training", "inference", "visualisation"])
@pytest.mark.parametrize("error", [True, False])
def test_diagnosis_of_each_stage(stage, error):
    cells = [
        cell("markdown", "An error in cell 3", "papermill-error-cell-tag"),
        cell("code", "seed = 1", "parameters", status="completed"),
        cell("markdown", "# Title\n## Preparation"),
        cell("code", "1", "stage:before", status="completed"),
        cell("markdown", "## Work"),
        cell("code", "2", f"stage:{stage}", status="failed" if error else "running", error=error),
        cell("code", "3", "stage:after"),
    ]
    found = failures.diagnose({"cells": cells}, "train-arm", ("Killed", "signal 9", ""))
    assert (found.stage, found.last_step) == (stage, "Title (before)")
    assert (found.name, found.message) == (("E", "why") if error else ("Killed", "signal 9"))
    assert found.traceback == ("line" if error else "")


def test_diagnosis_without_a_notebook():
    found = failures.diagnose({}, "compare", ("ConfigError", "no parameter", "trace"))
    assert found == Failure("visualisation", "none", "ConfigError", "no parameter", "trace")


@pytest.mark.parametrize(
    ("name", "message", "word"),
    [
        ("MemoryError", "", "N_TRAIN"),
        ("ResourceExhaustedError", "OOM when allocating tensor", "N_TRAIN"),
        ("Killed", "signal 9", "N_TRAIN"),
        ("OSError", "[Errno 28] No space left on device", "disk is full"),
        ("PermissionError", "[Errno 13] Permission denied", "writable"),
        ("DataError", "scan.npz", "Correct the input"),
        ("DataError", "scan.npz: Unable to allocate 3 GiB; Permission denied, no space left", "Correct the input"),
        ("TrainingError", "the loss is nan", "LEARNING_RATE"),
        ("ValueError", "a MemoryError in the text", "Read the traceback"),
        ("KeyError", "'x'", "Read the traceback"),
    ],
)
def test_advice(name, message, word):
    failure = Failure("training", "none", name, message, "")
    assert word in failures.advice(failure)
    assert word in failures.report(failure, ARM, "x.ipynb", "now")


def test_summary_of_a_long_error_is_one_line():
    failure = Failure("training", "none", "KeyError", "in user code:\n\n  File x\n" * 80, "")
    assert "\n" not in failure.summary and len(failure.summary) < 450


def test_anonymous_text():
    text = (
        f"{ROOT}/ptycho/a.py:3: Warning\n/tmp/ipykernel_12/34.py:1\n{sys.prefix}/lib\n<object at 0x7f00>\n{Path.home()}"
    )
    clean = kernel.anonymous(text)
    assert clean.startswith("./ptycho/a.py:3: Warning\n<cell>:1\n<env>/lib\n<object>\n")
    assert kernel.anonymous("an http://x.org/a/b address, 1/2, /a") == "an http://x.org/a/b address, 1/2, /a"


def test_told_failures_fit_in_a_pipe(tmp_path):
    receive, send = os.pipe()
    (tmp_path / "p.yaml").write_text("{}")
    files = [str(tmp_path / name) for name in ("x" * 100 + ".ipynb", "y.ipynb", "p.yaml")]
    assert kernel.main(*files, str(tmp_path), str(send)) == 1
    os.close(send)
    told = json.loads(os.read(receive, 65536))
    os.close(receive)
    assert told["name"] == "FileNotFoundError" and told["traceback"]


def test_a_notebook_finds_what_was_compiled_before_and_keeps_the_users_flags(monkeypatch):
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_clustering_debug")
    first, second = (of_kernel(jobs, "scratch")["TF_XLA_FLAGS"] for jobs in (1, 2))
    user, cache = first.split()
    assert first == second and user == "--tf_xla_clustering_debug"
    assert cache.startswith("--tf_xla_persistent_cache_directory=") and "/xla-" in cache


def test_a_cache_that_cannot_be_written_is_done_without(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PTYCHO_CACHE", str(tmp_path / "file"))
    monkeypatch.delenv("TF_XLA_FLAGS", raising=False)
    assert of_kernel(1, "scratch")["TF_XLA_FLAGS"] == ""
