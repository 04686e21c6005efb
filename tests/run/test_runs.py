"""What a run meets: another in its folder, odd names, the user's settings, what cannot be written. With stand-ins."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
from standins import ROOT, checkout, environment
from test_makefile import make, running, snapshot

from ptycho.errors import ConfigError
from ptycho.files import write_json
from ptycho.run import engine, stage
from ptycho.run.environment import of_children, of_kernel
from ptycho.study.campaigns import ask

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
ONE_ARM = ("DOSES=1e4", "LOSSES=nll", "OUT=out")


@pytest.fixture
def root(tmp_path):
    return checkout(tmp_path / "a project")


# --- two in one folder ------------------------------------------------------------------------------------------------


@contextmanager
def at_work(root: Path, *command: str):
    """A run that stays in its simulation."""
    attend = environment(FAIL="simulate simulation open('here', 'w').close(); time.sleep(120)", PYTHONPATH=str(root))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    with subprocess.Popen(command, cwd=root, env=attend, **quiet) as process:
        until = time.time() + 60
        while not list(root.glob("**/here")):
            assert time.time() < until and process.poll() is None
            time.sleep(0.05)
        try:
            yield process
        finally:
            for number in running(root):
                os.kill(number, signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks processes up in /proc")
def test_a_folder_is_held_for_as_long_as_a_stage_of_a_killed_run_is_at_work(root):
    """By whatever path it is named; also against `clean`."""
    (root / "link").symlink_to("out")
    study, clean = ("study", "OUT=./link", "NEPOCHS=2"), ("clean", "OUT=out")
    with at_work(root, sys.executable, "-m", "ptycho", "study", *ONE_ARM) as first:
        before = {path: at for path, at in snapshot(root).items() if not path.endswith("run.log")}
        for words in (study, clean, None, study):
            if words is None:
                first.kill()
                first.wait()
                continue
            done = make(*words, cwd=root)
            assert done.returncode != 0 and "another run is at work there; wait for its end\n" in done.stderr
            assert before.items() <= snapshot(root).items() and len(snapshot(root)) == len(before) + 1
    until = time.time() + 20
    while running(root) and time.time() < until:
        time.sleep(0.1)
    assert make(*clean, cwd=root).returncode == 0 and os.listdir(root / "out") == ["here"]


def test_a_sweep_holds_the_folders_of_its_seeds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused = []

    def meanwhile(*_):
        for words in ({"OUT": "out/seed-2"}, {"OUT": "out/seed-1"}):
            before = snapshot(tmp_path)
            with pytest.raises(ConfigError, match="another run is at work there"):
                engine.perform(ask("study", words))
            assert snapshot(tmp_path) == before
            refused.append(words)
        return 130

    monkeypatch.setattr(engine, "_run_make", meanwhile)
    assert engine.perform(ask("sweep", {"OUT": "out", "SEEDS": "1 2", "DOSES": "1e4"})) == 130
    assert len(refused) == 2
    os.close(stage.claim(tmp_path / "out" / "seed-1" / "sources"))  # and lets go of them


def test_a_study_and_a_sweep_share_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine, "_run_make", lambda *_: 130)
    for first, second in (("study", "sweep"), ("sweep", "study")):
        words = {"OUT": first, "DOSES": "1e4"}
        engine.perform(ask(first, words))
        before = snapshot(tmp_path)
        with pytest.raises(ConfigError, match=f"^OUT='{first}': there is a {first} in it; expected another folder$"):
            engine.perform(ask(second, words))
        assert snapshot(tmp_path) == before


def test_a_campaign_shares_no_folder_with_another_nor_with_a_study_or_a_sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine, "_run_make", lambda *_: 130)
    for first in ("study", "sweep"):
        engine.perform(ask(first, {"OUT": first, "DOSES": "1e4"}))
    assert engine.perform(ask("rates", {"OUT": "campaign"})) == 130  # interrupted in its first sweep
    before = snapshot(tmp_path)
    for first, what, second in (
        *(("study", "study", "conditions"), ("sweep", "sweep", "rates"), ("campaign", r"campaign \(rates\)", "study")),
        *(("campaign", r"campaign \(rates\)", "sweep"), ("campaign", r"campaign \(rates\)", "fluence")),
    ):
        with pytest.raises(ConfigError, match=f"^OUT='{first}': there is a {what} in it; expected another folder$"):
            engine.perform(ask(second, {"OUT": first}))
    assert snapshot(tmp_path) == before
    assert engine.perform(ask("rates", {"OUT": "campaign"})) == 130  # its own goes on


@pytest.mark.parametrize(("lost", "status"), [("ok", 0), ("collapsed", 0), ("failed", 1), ("missing", 1)])
def test_a_campaign_that_lost_an_arm_ends_with_1_and_is_gathered_all_the_same(tmp_path, monkeypatch, lost, status):
    gathered = []

    def make_sweep(member, title, begin):
        arms = [{"status": "ok"}, {"status": lost if title == "N-64" else "ok"}]
        write_json(Path(member.out) / "arms.json", {"arms": arms})
        return int(lost != "ok")

    monkeypatch.setattr(engine, "_make", make_sweep)
    monkeypatch.setattr(engine.runner, "run", lambda *_, **__: gathered.append("notebook") or 0)
    report = subprocess.CompletedProcess((), 0)
    monkeypatch.setattr(engine.subprocess, "run", lambda *_, **__: gathered.append("report") or report)
    for member in ("N-64", "N-128"):
        (tmp_path / "out" / member).mkdir(parents=True)
    assert engine.perform(ask("fluence", {"OUT": str(tmp_path / "out")})) == status
    assert gathered == ["notebook", "report"]


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a ()&#;=|$x$(y)${z}:% OUT=b 'c' \"d\" `e` \\f, *?[g]{h}<i>!^~.h5", "~/scan.h5"])
def test_a_scans_file_may_have_any_name(root, name):
    path = root / name.replace("~/", "home/")
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        file["patterns"] = np.ones((40, 16, 16), "u2")
    words = (f"SCAN={name}", "DOSES=full", "OUT=Makefile/x")  # which is refused when the scan was found
    for command in (["make", "study"], [sys.executable, "-m", "ptycho", "study"]):
        env = environment(HOME=str(root / "home"), PYTHONPATH=str(root))
        done = subprocess.run([*command, *words], cwd=root, env=env, capture_output=True, text=True, check=False)
        assert "ptycho: OUT='Makefile/x' cannot be written" in done.stderr, done.stderr


def test_a_tilde_that_no_shell_expanded_is_the_home(root, tmp_path):
    stop = {"HOME": str(tmp_path), "FAIL": "simulate simulation raise ValueError"}
    make("study", "DOSES=1e4", "LOSSES=nll", "OUT=~/x", cwd=root, **stop)
    assert (tmp_path / "x" / "simulate.failed.ipynb").exists() and not (root / "~").exists()
    assert make("clean", "OUT=~/x", cwd=root, **stop).returncode == 0 and not (tmp_path / "x").exists()


def test_trap_a_word_that_looks_like_another_parameter(root):
    done = make("-n", "study", "SCAN=siemens-star", "OUT=out", "DOSES=full 1e4 NEPOCHS=7", cwd=root)
    assert done.returncode != 0 and "DOSES='NEPOCHS=7' is not accepted" in done.stderr
    done = make("-n", "study", "NEPOCS:=7", cwd=root)
    assert done.returncode != 0 and "unknown parameter NEPOCS" in done.stderr


# --- the user's settings ----------------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path):
    """Every setting at once that could change what a study computes: {variable: value}, and the files they name."""
    home, path = tmp_path / "home", tmp_path / "path"
    files = {
        home / ".keras" / "keras.json": json.dumps({"backend": "torch", "floatx": "float64", "epsilon": 0.1}),
        home / ".ipython" / "profile_default" / "startup" / "00.py": "raise RuntimeError('startup')",
        home / ".ipython" / "profile_default" / "ipython_kernel_config.py": "c.IPKernelApp.exec_lines = "
        "['import numpy; numpy.sqrt = numpy.cos']\nc.InteractiveShell.ast_node_interactivity = 'all'",
        home / ".config" / "matplotlib" / "matplotlibrc": "savefig.facecolor: black\nfigure.facecolor: black",
        home / ".local" / "share" / "jupyter" / "kernels" / "python3" / "kernel.json": json.dumps(
            {"argv": ["/bin/false"], "display_name": "x", "language": "python"}
        ),
        path / "sitecustomize.py": "import builtins; builtins.sum = lambda *_: 7",
        path / "scipy.py": "raise ImportError('mine')",
        home / "startup.py": "raise RuntimeError('PYTHONSTARTUP')",
    }
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return {
        **{"HOME": str(home), "PYTHONPATH": str(path), "PYTHONSTARTUP": str(home / "startup.py")},
        **{"KERAS_BACKEND": "torch", "KERAS_MAX_EPOCHS": "0", "KERAS_HOME": str(home / ".keras")},
        **{"IPYTHONDIR": str(home / ".ipython"), "JUPYTER_PATH": str(home / ".local" / "share" / "jupyter")},
        **{"PYTHONWARNINGS": "error", "PYTHONOPTIMIZE": "2", "PYTHONIOENCODING": "ascii", "LC_ALL": "C"},
        **{"FORCE_COLOR": "1", "NO_COLOR": "1", "CLICOLOR_FORCE": "1", "MPLBACKEND": "TkAgg"},
        **{"MPLCONFIGDIR": str(home / ".config" / "matplotlib"), "PTYCHO_CACHE": of_children()["PTYCHO_CACHE"]},
    }


SEEN = """
import matplotlib, numpy
names = [name for name in os.environ if name.startswith(("KERAS_", "JUPYTER_PA", "PYTHONW", "PYTHONST"))]
print("sees", sum([1, 2]), numpy.sqrt(4.0), matplotlib.rcParams["figure.facecolor"], sys.flags.optimize, sorted(names))
raise ValueError("seen")
"""


def test_no_setting_of_the_user_reaches_a_notebook(root, settings):
    done = make("study", *ONE_ARM, cwd=root, FAIL=f"simulate simulation {SEEN}", **settings)
    log = (root / "out" / "run.log").read_text()
    assert "| sees 3 2.0 white 0 ['KERAS_BACKEND', 'KERAS_HOME']\n" in log, done.stdout + done.stderr
    assert "simulate: simulation failed: ValueError: seen" in done.stderr and "startup" not in done.stdout + log


def test_the_settings_of_a_kernel_are_sought_where_there_are_none(settings, monkeypatch, tmp_path):
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    found = of_kernel(1, "scratch")
    ours = {"KERAS_BACKEND": "tensorflow", "KERAS_HOME": "scratch", "IPYTHONDIR": "scratch", "PYTHONPATH": str(ROOT)}
    assert ours.items() <= found.items()
    assert not {"PYTHONSTARTUP", "PYTHONWARNINGS", "FORCE_COLOR", "MPLBACKEND", "JUPYTER_PATH"} & found.keys()
    (tmp_path / "packages" / "x-1.dist-info").mkdir(parents=True)  # what an environment module brings along stays
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'path'}{os.pathsep}{tmp_path / 'packages'}")
    assert of_children()["PYTHONPATH"] == f"{ROOT}{os.pathsep}{tmp_path / 'packages'}"


@pytest.mark.slow
def test_no_setting_of_the_user_changes_a_number_or_the_verdict(tmp_path, settings):
    words = ("study", "DOSES=1e4", "LOSSES=nll", "NEPOCHS=1", "N_TRAIN=60", "N_TEST=40")
    found = []
    for name, more in (("usual", {}), ("set", settings)):
        done = make(*words, f"OUT={tmp_path / name}", **more)
        assert done.returncode == 0, done.stdout + done.stderr
        arm = tmp_path / name / "low_nll"
        metrics = json.loads((arm / "metrics.json").read_text())
        metrics = {key: value for key, value in metrics.items() if "second" not in key}
        drawn = (tmp_path / name / "dose_comparison.png").read_bytes()
        found.append((metrics, (arm / "reconstruction.npz").read_bytes(), drawn, done.stdout.count("\nVERIFIED\n")))
    assert found[0] == found[1] and found[0][-1] == 1


@pytest.mark.slow
def test_a_sweep_of_electrons_ends_verified_with_a_curve_per_square_angstrom(tmp_path):
    words = ("VOLTAGE=80", "STEP=0.8", "DOSES=1e4 1e3", "LOSSES=nll", "SEEDS=1", "METHODS=direct")
    done = make("sweep", *words, "N_TRAIN=100", "N_TEST=64", f"OUT={tmp_path}")
    assert done.returncode == 0 and "\nVERIFIED\n" in done.stdout, done.stdout + done.stderr
    with (tmp_path / "dose_response.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == "train"]
    assert [float(row["electrons per A^2"]) for row in rows] == pytest.approx([1e3, 1e4])
    assert [float(row["nphotons"]) for row in rows] == pytest.approx([640, 6400])
    low, high = (float(row["frc50"]) for row in rows)
    assert high > max(low, 0.3)
    assert "electrons per A^2" in (tmp_path / "verdict.txt").read_text()


# --- what cannot be written -------------------------------------------------------------------------------------------


def test_a_checkout_and_a_home_that_cannot_be_written_will_do(root, tmp_path):
    """A home that is a file stops even root, to whom every folder is open; then it shows that nothing was written."""
    (tmp_path / "file").touch()
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    env = environment(HOME=str(tmp_path / "file" / "home"), FAIL="simulate simulation raise ValueError('so far')")
    for name in ("PTYCHO_CACHE", "XDG_CACHE_HOME"):
        env.pop(name, None)
    before = snapshot(root)
    for folder in folders:
        folder.chmod(0o555)
    words = ["make", "study", "DOSES=1e4", "LOSSES=nll", f"OUT={tmp_path / 'out'}"]
    try:
        done = subprocess.run(words, cwd=root, env=env, capture_output=True, text=True, check=False)
        refused = subprocess.run(
            [*words, "OUT=Makefile/x"], cwd=root, env=env, capture_output=True, text=True, check=False
        )
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert "simulate: simulation failed: ValueError: so far\n" in done.stderr, done.stdout + done.stderr
    assert snapshot(root) == before
    told = "ptycho: OUT='Makefile/x' cannot be written (Not a directory); expected a folder\n"
    assert refused.returncode == 2 and refused.stderr.startswith(told)
