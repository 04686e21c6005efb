"""`ENGINE=dask`: a command on a cluster is what it is here, and a worker's death costs what was not yet backed up."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from standins import ROOT, checkout, environment, gone
from test_makefile import make, ran, running

from ptycho.errors import ConfigError
from ptycho.run import cluster

WORDS = ("sweep", "DOSES=1e4", "LOSSES=nll mae", "SEEDS=1", "NEPOCHS=2")


@pytest.fixture(scope="module")
def local():
    """A scheduler and two workers with one thread each, where the stand-in of the arm low_mae hangs the first time."""
    from distributed import LocalCluster

    hang = "low_mae training Path('hung').exists() or (open('hung', 'w').close(), time.sleep(100))"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAIL", hang)
        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as made:
            patch.delenv("FAIL")
            made.wait_for_workers(2)
            yield made


def submit(address: str, code: str, **how) -> subprocess.Popen:
    command = [sys.executable, "-m", "ptycho", "submit", address, sys.executable, "-c", code]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment(PYTHONPATH=str(ROOT)), **pipes, **how)


def until(found, seconds: float = 30.0):
    """Wait for `found()` to be true, and return it."""
    end = time.time() + seconds
    while not (value := found()):
        assert time.time() < end
        time.sleep(0.05)
    return value


def test_a_command_runs_in_this_folder_and_its_output_and_status_come_back(local, tmp_path):
    code = "import os, sys; print(os.getcwd()); print('{jobs}', os.getppid()); sys.exit('no')"
    out, err = (process := submit(local.scheduler_address, code, cwd=tmp_path)).communicate(timeout=60)
    folder, jobs_and_parent = out.splitlines()
    assert (process.returncode, folder, err) == (1, str(tmp_path), "no\n")
    jobs, parent = jobs_and_parent.split()
    assert jobs == "2"  # both workers are on this machine
    assert int(parent) != process.pid


def test_a_command_nobody_waits_for_any_more_ends(local, tmp_path):
    code = "import os, time; open('pid', 'w').write(str(os.getpid())); os.rename('pid', 'made'); time.sleep(100)"
    for number in (signal.SIGTERM, signal.SIGKILL):
        process = submit(local.scheduler_address, code, cwd=tmp_path)
        until((tmp_path / "made").exists)
        pid = int((tmp_path / "made").read_text())
        (tmp_path / "made").unlink()
        process.send_signal(number)
        process.communicate(timeout=30)
        assert process.returncode == (128 + number if number == signal.SIGTERM else -number)
        assert gone(pid, 30)


@pytest.mark.parametrize("address", ["nowhere", "ftp://127.0.0.1:9"])
def test_an_address_without_a_scheduler_is_one_message_and_leaves_nothing_behind(address):
    before = threading.enumerate()
    with pytest.raises(ConfigError, match=f"SCHEDULER='{address}' is not accepted: no dask scheduler answers"):
        cluster.connect(address)
    assert set(threading.enumerate()) <= set(before)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("ENGINE=slurm",), "ENGINE='slurm' is not accepted: local or dask"),
        (("ENGINE=dask",), "SCHEDULER='' is not accepted: with ENGINE=dask the address of its scheduler"),
        (("SCHEDULER=tcp://127.0.0.1:9",), "SCHEDULER='tcp://127.0.0.1:9' is not accepted: with ENGINE=dask"),
    ],
)
def test_an_engine_without_its_scheduler_is_refused(tmp_path, words, message):
    for target in ("study", "sweep"):
        done = make(target, *words, cwd=ROOT)
        assert done.returncode != 0 and message in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_a_killed_worker_costs_its_arm_a_resumption_and_nothing_else(local, tmp_path):
    root = checkout(tmp_path / "project")
    command = ["make", *WORDS, "OUT=out", "ENGINE=dask", f"SCHEDULER={local.scheduler_address}"]
    arm = root / "out" / "seed-1" / "low_mae"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=root, env=environment(), **pipes) as process:
        until((arm / "hung").exists, 60)
        runner = json.loads((arm / "train-arm.partial.json").read_text())["pid"]
        os.kill(parent(parent(runner)), signal.SIGKILL)  # of the runner, the tether; of that, the worker
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "VERIFIED\n- 2 arms: 2 ok" in out
    log = (root / "out" / "seed-1" / "run.log").read_text()
    assert log.count("low_nll | === train-arm.ipynb done in ") == 1
    assert ran(root / "out" / "seed-1") == {"low_mae": 2, "low_nll": 1}
    assert log.count("simulate | === simulate.ipynb done in ") == 1
    assert not running(root)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_the_files_of_a_sweep_are_those_of_a_local_one_and_the_second_run_does_nothing(local, tmp_path):
    root = checkout(tmp_path / "project")
    dask = ("ENGINE=dask", f"SCHEDULER={local.scheduler_address}")
    (root / "out" / "seed-1" / "low_mae").mkdir(parents=True)
    (root / "out" / "seed-1" / "low_mae" / "hung").touch()
    assert make(*WORDS, "OUT=out", *dask, cwd=root).returncode == 0
    before = time.time()
    assert make(*WORDS, "OUT=out", *dask, cwd=root).returncode == 0
    assert not [path for path in root.rglob("out/**/*.ipynb") if path.stat().st_mtime > before]

    assert make(*WORDS, "OUT=here", cwd=root).returncode == 0
    assert (root / "here" / "arms.json").read_text() == (root / "out" / "arms.json").read_text()
    assert files(root / "here") == files(root / "out")


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def files(out: Path) -> set[str]:
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file() and path.name != "hung"}
