"""The Makefile: what it refuses, what it does again and what not, with stand-in notebooks."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import papermill
import pytest
from standins import ROOT, checkout, environment, with_site

from ptycho.__main__ import main
from ptycho.cores import usable_cores
from ptycho.study.campaigns import CAMPAIGNS, HOW, ask
from ptycho.study.config import PARAMETERS, StudyConfig

MAKE = shutil.which("make")
pytestmark = pytest.mark.skipif(MAKE is None, reason="needs make")
TARGETS = (
    *("study", "sweep", "test", "nbval", "regression", "bench", "lab", "status", "report", "check", "clean", "help"),
    *("lock", "peers", "positions", "networks", "bias", "reuse", "slow", "calibration", "rates", "conditions"),
    *("fluence", "flaws", "overlap", "docs"),
)


def make(*words: str, cwd: Path = ROOT, seconds: float = 300, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *words], cwd=cwd, env=environment(**more), capture_output=True, text=True, timeout=seconds, check=False
    )


def snapshot(folder: Path) -> dict[str, float]:
    return {str(path.relative_to(folder)): path.stat().st_mtime for path in sorted(folder.rglob("*"))}


@pytest.fixture
def root(tmp_path):
    return checkout(tmp_path / "a project")  # whose path has a space


# --- help and refusals -----------------------------------------------------------------------------------------------


def test_help_lists_every_target_and_every_variable_with_its_default():
    done = make("help")
    assert done.returncode == 0
    for target in TARGETS:
        assert re.search(rf"^  make {target} +\w", done.stdout, re.MULTILINE), target
    defaults = {"NEPOCHS": "5", "N": "64", "DOSES": "1e9 1e4", "METHODS": "unrolled direct", "LEARNING_RATE": ""}
    defaults |= {"SEEDS": "1 2 3 4 5", "OUT": "reports/dose-study", "JOBS": "", "ENGINE": "", "POSITIONS": "given"}
    for name, default in defaults.items():
        assert re.search(rf"^  {name} +{re.escape(default)} +\w", done.stdout, re.MULTILINE), name
    assert set(re.findall(r"^  ([A-Z_]+) ", done.stdout, re.MULTILINE)) == {*PARAMETERS, *HOW}
    assert make(cwd=ROOT).stdout == done.stdout  # and make alone does nothing else


def test_every_phony_target_of_users_is_in_the_help():
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile.replace("\\\n", ""), re.MULTILINE)[1].split()
    assert set(phony) - set(TARGETS) == {"active-environment"}
    assert set(CAMPAIGNS) <= set(TARGETS)


def test_the_makefile_repeats_no_default_and_stays_short():
    makefile = (ROOT / "Makefile").read_text()
    assert makefile.count("\n") <= 200
    assert not re.search(rf"^({'|'.join([*PARAMETERS, *HOW])}) *[:?]?=", makefile, re.MULTILINE)
    assert ask("study", {}).config == StudyConfig()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("NEPOCS=5",), "unknown parameter NEPOCS: the parameters are NEPOCHS N GRIDSIZE"),
        (("nepochs=5",), "unknown parameter nepochs"),
        (("DOSES=1e9 ../x",), "DOSES='../x' is not accepted"),
        (("ARCH=it's",), 'ARCH="it\'s" is not accepted'),
        (("SEEDS=1 2",), "SEEDS is a parameter of `make sweep`"),
        (("OUT=",), "OUT='' is not accepted"),
        (("OUT=.",), "OUT='.' is not accepted"),
        (("OUT=a b",), "OUT='a b' is not accepted"),
        (("OUT=a:b",), "OUT='a:b' is not accepted"),
        (("OUT=a'b",), "is not accepted: a path without"),
        (("OUT=Makefile/x",), "OUT='Makefile/x' cannot be written"),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_is_made(root, words, message):
    refuses(root, "study", words, message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("NEPOCHS=five",), "NEPOCHS='five' is not accepted: an integer"),
        (("NEPOCHS=0",), "NEPOCHS=0 is not accepted"),
        (("N=100",), "N=100 is not accepted"),
        (("DOSES=10000",), "DOSES='10000' is not accepted: photons per pattern written like 1e4"),
        (("DOSES=1e9 full",), "DOSES='full' is not accepted"),
        (("LOSSES=nll l2",), "LOSSES='l2' is not accepted"),
        (("ARCH=foo",), "ARCH='foo' is not accepted: one of"),
        (("PHASE=9",), "PHASE=9.0 is not accepted"),
        (("SEED=-1",), "SEED=-1 is not accepted"),
        (("METHODS=direct",), "METHODS is a parameter of `make sweep`"),
        (("SCAN=none.npz",), "SCAN='none.npz': there is no such file"),
        (("POSITIONS=refine",), "POSITIONS='refine' is not accepted: it is of a measured scan, which SCAN names"),
        (("SCAN=siemens-star", "POSITIONS=free"), "POSITIONS='free' is not accepted: given or refine"),
        (("SCAN=siemens-star", "PROBE_MODES=6"), "PROBE_MODES=6 is not accepted: 1 to 5"),
        (("SCAN=siemens-star", "ORIENTATION=up"), "ORIENTATION='up' is not accepted: one of auto, as-is, flip-y"),
        (("SCAN=siemens-star", "RESOLUTION=1"), "RESOLUTION='1' is not accepted: a full period in object pixels"),
        (("SCAN=siemens-star", "RESOLUTION=20nm"), "siemens-star does not tell the size of an object pixel"),
        (("PROBE=free",), "PROBE='free' is not accepted: fixed or trainable"),
        (("JOBS=0",), "JOBS='0' is not accepted"),
        (("JOBS=two",), "JOBS='two' is not accepted"),
    ],
)
def test_so_are_others_by_the_command_that_make_calls(root, words, message, monkeypatch, capsys):
    monkeypatch.chdir(root)
    before = snapshot(root)
    assert main(["study", *words]) == 2
    assert message in capsys.readouterr().err and snapshot(root) == before


def refuses(root: Path, target: str, words: tuple[str, ...], message: str) -> None:
    before = snapshot(root)
    done = make(target, *words, cwd=root)
    assert done.returncode != 0
    assert message in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert snapshot(root) == before


def test_a_dry_run_has_no_side_effects(root):
    before = snapshot(root)
    for more in ({}, {"VIRTUAL_ENV": "", "CONDA_PREFIX": ""}):
        done = make("-n", "study", cwd=root, **more)
        assert done.returncode == 0, done.stderr
        assert snapshot(root) == before
        assert "ptycho study" in done.stdout and done.stdout.count("notebooks/train-arm.ipynb") == 4
    assert "pip install" in done.stdout  # without an environment it would set one up


def test_variables_of_the_environment_do_not_count(root):
    done = make("-n", "study", cwd=root, N="256", SEED="7", OUT="elsewhere", DOSES="1e6")
    assert done.returncode == 0 and "elsewhere" not in done.stdout and "1e6" not in done.stdout
    assert "reports/dose-study/high_nll/train-arm.ipynb" in done.stdout


def test_a_measured_scan_decides_its_size_and_unless_they_are_given_its_doses(root):
    done = make("-n", "study", "SCAN=siemens-star", cwd=root)
    for arm in ("full_nll", "full_mae", "low_nll", "low_mae"):
        assert f"dose-study/{arm}/train-arm.ipynb" in done.stdout
    asked = ask("study", {"SCAN": "siemens-star"}).config
    assert (asked.N, asked.doses) == (None, ("full", "1e4"))
    done = make("-n", "study", "SCAN=siemens-star", "DOSES=1e6", "LOSSES=nll", cwd=root)
    assert "dose-study/1e6_nll/train-arm.ipynb" in done.stdout
    assert done.stdout.count("run notebooks/train-arm.ipynb") == 1


def test_the_environment_that_is_active_needs_the_packages(root, tmp_path):
    (tmp_path / "env" / "bin").mkdir(parents=True)
    python = tmp_path / "env" / "bin" / "python3"
    python.write_text(f'#!/bin/sh\nexec "{sys.base_prefix}/bin/python3" -S "$@"\n')
    python.chmod(0o755)
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        done = make("study", cwd=root, **{"VIRTUAL_ENV": "", name: str(tmp_path / "env")})
        assert done.returncode != 0
        assert "cannot be used: bokeh is not installed" in done.stderr, done.stderr
        assert "-m pip install -r requirements.lock" in done.stderr and "Traceback" not in done.stderr
    assert not (root / "reports").exists()


@pytest.mark.parametrize("active", [True, False])
def test_an_old_python_is_refused(root, tmp_path, active):
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\ntest "$1" != --version || { echo Python 3.9.1; exit 0; }\nexit 1\n')
    python.chmod(0o755)
    for name in ("python3.10", "python3.11", "python3.12", "python3.13"):
        (python.parent / name).symlink_to(python)
    path = f"{python.parent}:{os.environ['PATH']}"
    done = make("study", cwd=root, PATH=path, VIRTUAL_ENV=str(tmp_path) if active else "", CONDA_PREFIX="")
    assert done.returncode != 0
    assert re.search(r"Python 3\.10 to 3\.13 is needed;.* (has|found) Python 3\.9\.1", done.stderr)
    assert not (root / ".venv").exists()


# --- the study -------------------------------------------------------------------------------------------------------


def ran(out: Path) -> dict[str, int]:
    """How often each arm was trained."""
    return {path.parent.name: len(path.read_text().split()) for path in sorted(out.glob("*/ran"))}


def test_a_study_from_beginning_to_end_and_what_is_done_again(root):
    out = root / "reports" / "dose-study"
    with_site(root)
    done = make("study", "LOSSES=nll", "JOBS=2", cwd=root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\nVERIFIED\n" in done.stdout and done.stdout.endswith("report: reports/dose-study/report/index.html\n")
    assert (out / "status.txt").read_text().startswith("VERIFIED\n- trained to the end, 5 epochs each")
    for name in (
        "report/index.html",
        "compare.ipynb",
        "simulate.ipynb",
        "dose_comparison.png",
        "metrics.json",
        "run.log",
    ):
        assert (out / name).is_file(), name
    page = (out / "report" / "index.html").read_text()
    assert 'href="high_nll.html">1e9 photons, Poisson NLL</a>' in page and "a verdict" in page
    assert '<p class="admonition-title">VERIFIED</p><ul><li>trained to the end' in page
    assert ran(out) == {"high_nll": 1, "low_nll": 1}

    before, started = snapshot(root), time.time()
    assert make("study", "LOSSES=nll", "JOBS=2", cwd=root).returncode == 0
    assert time.time() - started < 5
    assert snapshot(root) == before

    done = make("study", "DOSES=1e9 1e4 1e6", "LOSSES=nll", cwd=root)  # one dose more
    assert done.returncode == 0
    assert ran(out) == {"high_nll": 1, "low_nll": 1, "1e6_nll": 1}
    assert "high_nll, low_nll, 1e6_nll" in (out / "status.txt").read_text()

    (out / "data" / "low_test.npz").unlink()  # only the arm that reads it is made again
    done = make("study", "DOSES=1e9 1e4 1e6", "LOSSES=nll", cwd=root)
    assert done.returncode == 0
    assert ran(out) == {"high_nll": 1, "low_nll": 2, "1e6_nll": 1}

    done = make("status", cwd=root)
    assert re.search(r"^low_nll +done", done.stdout, re.MULTILINE)
    done = make("clean", cwd=root)
    assert done.returncode == 0 and not out.exists()


def test_a_failed_arm_stops_no_other_and_is_resumed(root, tmp_path):
    out = tmp_path / "elsewhere" / "deep"
    with_site(root)
    words = ("study", f"OUT={out}/", "DOSES=1e6", "NEPOCHS=2")
    done = make(*words, cwd=root, FAIL="1e6_nll training raise MemoryError('no memory')")
    assert done.returncode != 0
    assert "NOT VERIFIED\n- 1e6_nll: training failed: MemoryError: no memory (see blocked_" in done.stdout
    assert ran(out) == {"1e6_nll": 1, "1e6_mae": 1}
    assert not (out / "compare.ipynb").exists()
    assert re.search(r"^1e6_nll +failed", make("status", f"OUT={out}", cwd=root).stdout, re.MULTILINE)

    done = make(*words, "-j2", cwd=root)
    assert done.returncode == 0
    assert ran(out) == {"1e6_nll": 2, "1e6_mae": 1}
    assert (out / "status.txt").read_text().startswith("VERIFIED\n- trained to the end, 2 epochs each")
    for name in ("report/index.html", "compare.ipynb", "1e6_nll/train-arm.ipynb", "1e6_nll/provenance.json"):
        assert str(tmp_path) not in (out / name).read_text()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks processes up in /proc")
@pytest.mark.parametrize("start", [["make", "study"], [sys.executable, "-m", "ptycho", "study", "--output-dir", "out"]])
@pytest.mark.parametrize(
    ("number", "whom"), [(signal.SIGTERM, os.kill), (signal.SIGTERM, os.killpg), (signal.SIGINT, os.killpg)]
)
def test_a_study_that_is_told_to_end_leaves_nothing_running(root, start, number, whom):
    """By a scheduler, which knows the first process or its group; by Ctrl-C, which goes to the group."""
    attend = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execvp(sys.argv[1], sys.argv[1:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", attend, *start],  # a shell's background process would ignore Ctrl-C
        cwd=root,
        env=environment(FAIL="simulate simulation open('here', 'w').close(); time.sleep(120)", PYTHONPATH=str(root)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until = time.time() + 60
    while not list(root.glob("**/here")):
        assert time.time() < until and process.poll() is None
        time.sleep(0.05)
    (out,) = (path.parent for path in root.glob("**/here"))
    assert len(running(root)) >= 4  # make, the make of the stages, the runner, the notebook's processes
    whom(process.pid, number)
    assert process.wait(timeout=30) != 0
    until = time.time() + 10  # a kernel ends itself when its parent has gone
    while running(root) and time.time() < until:
        time.sleep(0.1)
    assert not running(root)
    assert not list(out.glob("*.partial.*")) and not list(out.glob("blocked_*"))


def running(root: Path) -> list[int]:
    """The processes that work in `root` or below."""
    found = []
    for folder in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if folder.resolve(strict=True).is_relative_to(root):
                found.append(int(folder.parent.name))
        except OSError:  # another user's, or gone
            continue
    return found


def test_clean_refuses_what_is_no_study(root):
    (root / "precious").mkdir()
    (root / "precious" / "data").mkdir()
    done = make("clean", "OUT=precious", cwd=root)
    assert done.returncode != 0 and "does not look like a study" in done.stderr
    assert (root / "precious" / "data").is_dir()


def test_clean_leaves_what_a_study_did_not_make(root):
    out = root / "out"
    out.mkdir()
    (out / "study.yaml").write_text("")
    (out / ".partial.0123.status.txt").write_text("left by a process that was killed")
    (out / "notes.txt").write_text("mine")
    done = make("clean", "OUT=out", cwd=root)
    assert done.returncode == 0 and os.listdir(out) == ["notes.txt"]


@pytest.mark.parametrize(
    ("words", "threads"), [(("JOBS=2",), 2), (("-j2",), 2), (("-j8",), 4), ((), min(usable_cores(), 4)), (("-j",), 4)]
)
def test_arms_share_the_cores(root, words, threads):
    done = make("-n", "study", *words, cwd=root)
    assert set(re.findall(r"--jobs (\d+)$", done.stdout, re.MULTILINE)) == {str(threads)}, done.stdout


@pytest.mark.parametrize("name", ["rates", "conditions", "fluence"])
def test_the_notebook_has_the_parameters_that_a_campaign_gives_it(name):
    stem, _ = CAMPAIGNS[name].notebook
    assert set(papermill.inspect_notebook(ROOT / "notebooks" / f"{stem}.ipynb")) == set(ask(name, {}).gathering())


# --- what is stale ----------------------------------------------------------------------------------------------------


def edit(notebook: Path, change) -> None:
    """Save a notebook as an editor does, after `change` of its JSON."""
    content = json.loads(notebook.read_text())
    change(content)
    notebook.write_text(json.dumps(content))


@pytest.mark.slow
def test_a_touched_or_saved_notebook_makes_nothing_and_a_changed_line_does(root):
    out, words = root / "out", ("study", "LOSSES=nll", "DOSES=1e4", "OUT=out")
    assert make(*words, cwd=root).returncode == 0
    before = snapshot(out)
    notebook = root / "notebooks" / "train-arm.ipynb"

    def run_and_saved(content):
        content["metadata"]["language_info"] = {"name": "python", "version": "3.99"}
        for number, cell in enumerate(content["cells"]):
            if cell["cell_type"] == "code":
                cell |= {
                    "execution_count": number,
                    "outputs": [{"output_type": "stream", "name": "stdout", "text": []}],
                }
                cell["metadata"]["collapsed"] = True
            else:
                cell["source"] = ["other prose"]

    for path in (root / "notebooks").glob("*.ipynb"):
        os.utime(path)
    edit(notebook, run_and_saved)
    assert make(*words, cwd=root).returncode == 0
    assert snapshot(out) == before and ran(out) == {"low_nll": 1}

    edit(notebook, lambda content: content["cells"][-1]["source"].append("\nprint('more')"))
    assert re.search(r"^low_nll +pending", make("status", "OUT=out", cwd=root).stdout, re.MULTILINE)
    assert make(*words, cwd=root).returncode == 0
    assert ran(out) == {"low_nll": 2} and snapshot(out)["data/low_train.npz"] == before["data/low_train.npz"]


@pytest.mark.slow
def test_a_measured_scan_has_its_resolution_in_the_report_and_one_replaced_by_an_older_is_simulated_again(root):
    scan, out = root / "scan.npz", root / "out"
    with_site(root)
    words = ("study", "SCAN=scan.npz", "DOSES=full", "LOSSES=nll", "OUT=out")
    scan.write_text("a scan")
    done = make(*words, "RESOLUTION=4.5", cwd=root)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (out / "report" / "index.html").read_text()
    assert "so many photons for 4.5" in page and 'href="resolution.html"' in page
    assert (out / "report" / "resolution.html").exists()
    assert re.search(r"^resolution +done", make("status", "OUT=out", cwd=root).stdout, re.MULTILINE)

    os.utime(scan)
    before, made = snapshot(out / "data"), (out / "simulate.ipynb").stat().st_mtime
    done = make(*words, "RESOLUTION=6", cwd=root)  # another question: nothing is trained anew
    assert done.returncode == 0 and "so many photons for 6" in (out / "report" / "index.html").read_text()
    assert ran(out) == {"full_nll": 1} and snapshot(out / "data") == before

    scan.write_text("b scan")
    os.utime(scan, (1000, 1000))
    assert make(*words, "RESOLUTION=6", cwd=root).returncode == 0
    assert (out / "simulate.ipynb").stat().st_mtime > made
    assert make("clean", "OUT=out", cwd=root).returncode == 0 and not out.exists()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks processes up in /proc")
def test_after_an_interrupt_the_table_and_the_file_name_the_arm_that_stopped_and_its_epoch(root):
    words = ("study", "LOSSES=nll", "DOSES=1e4", "OUT=out", "NEPOCHS=3")
    with subprocess.Popen(
        ["make", *words],
        cwd=root,
        env=environment(FAIL="low_nll training open('here', 'w').close(); time.sleep(120)"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        until = time.time() + 60
        while not (root / "out" / "low_nll" / "here").exists():
            assert time.time() < until and process.poll() is None
            time.sleep(0.05)
        other = make(*words[:-1], "NEPOCHS=2", cwd=root)
        assert other.returncode != 0 and "OUT='out': another run is at work there" in other.stderr
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(timeout=30) != 0
    told = (root / "out" / "status.txt").read_text()
    assert told == "NOT VERIFIED\n- low_nll: stopped (epoch 3 of 3)\n"
    assert re.search(r"^low_nll +stopped +epoch 3 of 3", make("status", "OUT=out", cwd=root).stdout, re.MULTILINE)
    assert (root / "out" / "status.txt").read_text() == told
    assert "nepochs: 3" in (root / "out" / "low_nll" / "arm.yaml").read_text()  # not what was refused
    assert make(*words, cwd=root).returncode == 0


@pytest.mark.parametrize(
    "out", ["run(1)", "a&b", "run#2", "run;2", "run=2", "run|x", "a$$b", "a$b", "a%b", 'a"b', "a*", "a,b", "a\nb"]
)
def test_a_folder_that_make_or_a_shell_would_misread_is_refused(root, out):
    before = snapshot(root)
    done = make("study", f"OUT={out}", cwd=root)
    assert done.returncode != 0 and "is not accepted: a path without" in done.stderr, done.stderr
    assert snapshot(root) == before
