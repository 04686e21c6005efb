"""What a person sees of a study: the one line, `make status`, and where a stopped one goes on. With stand-ins."""

import fcntl
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest
from standins import ROOT, checkout, environment
from test_makefile import make, running

from ptycho import files
from ptycho.run import watch
from ptycho.run.watch import goes_on, status_summary, time_left
from ptycho.study import layout, plan
from ptycho.study.config import StudyConfig
from ptycho.study.status import Passes, Row, alive, survey, write_progress

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
LINE = re.compile(r"\d of \d arms done, \d running, \d failed, \d to come(; ETA [\d:]+)?; \S.*")


@pytest.fixture
def root(tmp_path):
    return checkout(tmp_path / "a project")


def under_a_terminal(*words: str, cwd: Path, meanwhile=lambda pid: None, **more: str) -> tuple[int, str]:
    """Run a command in a terminal of its own, 24 lines of 100 characters; its exit status and what it showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.execvpe(words[0], words, environment(**more))
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    threading.Thread(target=meanwhile, args=(pid,), daemon=True).start()
    shown = b""
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # its other end has been closed
            break
        if not part:
            break
        shown += part
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def lines_of(shown: str) -> list[str]:
    """What stays on a screen of 100 characters a line, by what a terminal does at \\r and \\n."""
    lines, column = [[]], 0
    for character in shown:
        if character == "\n":
            lines.append([])
        elif character == "\r":
            column = 0
        else:
            line = lines[-1]
            line.extend(" " * (column + 1 - len(line)))
            line[column] = character
            column += 1
    return ["".join(line).rstrip() for line in lines]


# --- ETA --------------------------------------------------------------------------------------------------------------


def test_progress_in_one_line():
    rows = [Row(str(k), "done", elapsed=60.0) for k in range(4)]
    rows += [Row("5", "failed"), Row("6", "running", elapsed=20.0)]
    rows += [Row(str(k), "pending") for k in range(6)]
    # 6 to come and 40 s of the running one, two at a time
    assert status_summary(rows, 2) == "4 of 12 arms done, 1 running, 1 failed, 6 to come; ETA 3:20"
    assert status_summary(rows).endswith("ETA 6:40")
    assert status_summary(rows[:5]) == "4 of 5 arms done, 0 running, 1 failed, 0 to come"
    assert status_summary(rows[5:]) == "0 of 7 arms done, 1 running, 0 failed, 6 to come"


@pytest.fixture
def at_work(tmp_path):
    """A study of four arms of five epochs. The first has been at work for 100 s, and is given what it tells."""
    plan.write_plan(tmp_path, StudyConfig(nepochs=5))
    marker = {"pid": os.getpid(), "started": time.time() - 100}
    files.write_json(tmp_path / "high_nll" / "train-arm.partial.json", marker)

    def arms(**progress) -> list[Row]:
        if progress:
            write_progress(tmp_path / "high_nll", **progress)
        return watch.arms_of(survey(tmp_path, watch.stages_of(tmp_path)))

    return arms


def test_the_time_left_counts_start_and_compilation_once_an_arm_and_not_as_training(at_work):
    assert time_left(at_work(), 1) is None
    rows = at_work(stage="compiling", epoch=0, nepochs=5)
    assert rows[0].step == "compiling" and time_left(rows, 1) is None
    assert at_work(stage="training", epoch=0, nepochs=5)[0].step == "epoch 1 of 5"
    # an epoch takes 10 s; the other 90 s were start and compilation
    rows = at_work(stage="training", epoch=1, nepochs=5, seconds_per_epoch=10.0, loss=1.0)
    assert rows[0].step == "epoch 2 of 5" and rows[0].eta == pytest.approx(40, abs=1)
    # 40 s of this arm, and three of 90 + 5 * 10: by the 100 s that the first epoch took it would be 400 and 3 * 500
    assert time_left(rows, 1) == pytest.approx(40 + 3 * 140, abs=3)
    assert time_left(rows, 2) == pytest.approx((40 + 3 * 140) / 2, abs=3)
    assert time_left(rows, 9) == pytest.approx((40 + 3 * 140) / 4, abs=3)  # there are no more than four


def test_an_arm_takes_as_long_as_those_that_are_done_and_never_less_than_its_epochs():
    done, coming = Row("0", "done", elapsed=140.0), Row("2", "pending")
    assert time_left([done, Row("1", "running", "compiling", 30.0), coming], 1) == 110 + 140
    assert time_left([done, Row("1", "running", "epoch 2 of 5", 130.0, 40.0), coming], 1) == 40 + 140
    assert time_left([done, Row("1", "running", "epoch 2 of 5", 130.0, 400.0), coming], 2) == 400


def test_the_passes_of_the_fit_are_told_and_the_first_one_is_no_measure(at_work, tmp_path, monkeypatch):
    clock = iter([0.0, 0.0, 60.0, 62.0, 64.0])  # before the fit, and before each pass: the first one took a minute
    monkeypatch.setattr("ptycho.study.status.time.monotonic", lambda: next(clock))
    steps = []
    for _ in Passes(tmp_path / "high_nll", "direct", 5)(range(4)):
        row = at_work()[0]
        steps.append((row.step, None if row.eta is None else round(row.eta)))
    expected = [("compiling", None), ("pass 2 of 4", None), ("pass 3 of 4", 4), ("pass 4 of 4", 2)]
    assert steps == [(f"direct, {step}", eta) for step, eta in expected]


def test_passes_are_written_once_a_second_at_most(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr("ptycho.study.status.write_progress", lambda folder, **values: told.append(values["done"]))
    clock = (k / 10 for k in range(99))
    monkeypatch.setattr("ptycho.study.status.time.monotonic", lambda: next(clock))
    assert list(Passes(tmp_path, "direct", 1)(range(30))) == list(range(30))
    assert told == [0, 1, 11, 21]


# --- the line ---------------------------------------------------------------------------------------------------------


@needs_make
def test_a_study_in_a_pipe_is_few_lines_and_what_notebooks_print_is_in_the_log(root):
    done = make("study", "LOSSES=nll", "OUT=out", cwd=root)
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert len(told) + len(done.stderr.splitlines()) <= 30
    assert LINE.fullmatch(told[0]) and told[0].startswith(
        "0 of 2 arms done, 0 running, 0 failed, 2 to come; simulating"
    )
    assert "\r" not in done.stdout and "\nVERIFIED\n- trained to the end" in done.stdout
    assert told[-1] == "report: out/report/index.html"
    log = (root / "out" / "run.log").read_text()
    for printed in ("simulate | to stdout", "low_nll | threads", "compare | a verdict"):
        assert printed in log and printed.partition("| ")[2] not in done.stdout
    again = make("study", "LOSSES=nll", "OUT=out", cwd=root).stdout
    assert again.startswith("VERIFIED\n") and not LINE.search(again)


@needs_make
@pytest.mark.slow
def test_a_sweep_in_a_terminal_has_one_line_which_goes_and_leaves_failures_and_the_verdict_whole(root):
    words = ("make", "sweep", "DOSES=1e4", "LOSSES=nll", "SEEDS=1 2", "OUT=out", "JOBS=2")
    wait = "time.sleep(2.5); raise MemoryError('no memory')"
    status, shown = under_a_terminal(*words, cwd=root, FAIL=f"low_nll training if seed == 2: {wait}")
    assert status != 0
    states = re.findall(r"\|[^|\r]{20}\| (\d of 2 arms[^\r\n]*)", shown)
    assert any("seed-2/low_nll: epoch 5 of 5" in state for state in states), states
    assert any(re.fullmatch(r"0 of 2 arms, seed-1: simulating(, seed-2: simulating)?", s.rstrip()) for s in states)
    assert any("1 of 2 arms, 1 failed" in state for state in states) and any("gathering" in state for state in states)
    left = lines_of(shown)
    assert len(left) <= 30 and not [line for line in left if "of 2 arms" in line], left
    for line in (
        "seed-2/low_nll: training failed: MemoryError: no memory",
        "NOT VERIFIED",
        "report: out/report/index.html",
    ):
        assert line in left, left
    assert "\x1b" not in shown  # nothing that a terminal would have to be set back from


@needs_make
@pytest.mark.slow
def test_a_terminal_without_a_size_gets_plain_lines(root):
    command = [sys.executable, "-c", "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"]
    words = ["make", "study", "DOSES=1e4", "LOSSES=nll", "OUT=out"]
    env = environment()
    done = subprocess.run(
        [*command, *words], cwd=root, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0 and LINE.search(done.stdout), done.stdout
    assert len(done.stdout.splitlines()) <= 30


def test_a_line_follows_after_ten_seconds_and_only_when_something_changed(tmp_path, monkeypatch, capsys):
    plan.write_plan(tmp_path, StudyConfig(nepochs=5))
    now, epoch = 0.0, 0
    monkeypatch.setattr(watch.time, "time", lambda: 1e9 + now)
    told = []
    with watch.Watch(tmp_path, 1) as line:
        for now in range(3600):  # an epoch takes 7 s, until the 500th second; then nothing happens
            epoch = min(now, 500) // 7
            doing = Row("high_nll", "running", f"epoch {epoch} of 999", float(now), 9999.0 - now)
            line.rows = lambda doing=doing: [doing, Row("low_nll", "pending")]
            line._tell()
            told += [now] * bool(capsys.readouterr().out)
    assert told == [*range(0, 501, 10)]


@needs_make
@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, *(pytest.param(number, marks=pytest.mark.slow) for number in (signal.SIGTERM, signal.SIGHUP))],
)
def test_an_interrupted_study_leaves_a_clean_terminal_and_its_exit_status(root, number):
    """To the whole group, as Ctrl-C and a terminal that closes do; the bar has been drawn by then."""

    def interrupt(pid):
        until = time.time() + 200
        while not list(root.glob("out/here")) and time.time() < until:
            time.sleep(0.05)
        time.sleep(2)
        os.killpg(pid, number)

    words = (sys.executable, "-m", "ptycho", "study", "DOSES=1e4", "LOSSES=nll", "OUT=out")
    more = {"FAIL": "simulate simulation open('here', 'w').close(); time.sleep(300)", "PYTHONPATH": str(root)}
    status, shown = under_a_terminal(*words, cwd=root, meanwhile=interrupt, **more)
    assert status == 128 + number
    assert "| 0 of 1 arms, simulating" in shown
    left = lines_of(shown)
    assert not [line for line in left if "of 1 arms" in line] and left[-1] == "", left
    until = time.time() + 10
    while running(root) and time.time() < until:
        time.sleep(0.1)
    assert not running(root)


@needs_make
@pytest.mark.slow
def test_a_reader_that_goes_away_stops_no_study(root):
    words = ["make", "study", "DOSES=1e4", "LOSSES=nll", "OUT=out"]
    with subprocess.Popen(
        words, cwd=root, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        process.wait(timeout=120)
    assert (root / "out" / "status.txt").read_text().startswith("VERIFIED\n")


# --- a run that goes on, and one that is looked at --------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks processes up in /proc")
def test_a_process_that_nobody_collected_has_ended():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        assert alive({"pid": os.getpid()})
        until = time.time() + 60
        while alive({"pid": process.pid}):
            assert time.time() < until
            time.sleep(0.05)
        os.kill(process.pid, 0)  # its number is in use still


@needs_make
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks processes up in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_while_it_runs_the_status_tells_the_same_and_after_a_kill_the_next_run_says_where_it_goes_on(root, number):
    keep = "(folder / 'backup').mkdir(exist_ok=True); (folder / 'backup' / 'a1b2-2.weights.h5').touch()"
    work = f"{keep}; write_progress(folder, stage='training', epoch=2, nepochs=5, seconds_per_epoch=30.0)"
    hang = f"low_nll training {work}; open('here', 'w').close(); time.sleep(300)"
    words = ("study", "LOSSES=nll", "OUT=out", "JOBS=1")
    command, quiet = ["make", *words], {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command, cwd=root, env=environment(FAIL=hang), start_new_session=True, **quiet) as process:
        until = time.time() + 200
        while not (root / "out" / "low_nll" / "here").exists():
            assert time.time() < until and process.poll() is None
            time.sleep(0.05)
        status = make("status", "OUT=out", cwd=root).stdout
        told = process.stdout.readline()
        while told and "low_nll" not in told:
            told = process.stdout.readline()
        os.killpg(process.pid, number)
        process.wait(timeout=30)
    assert re.match(r"1 of 2 arms done, 1 running, 0 failed, 0 to come; ETA 1:[23]\d\n", status), status
    assert re.search(r"^low_nll +running +epoch 3 of 5 +0:\d\d +1:[23]\d$", status, re.MULTILINE), status
    assert re.match(r"1 of 2 arms done, 1 running, 0 failed, 0 to come(; ETA [\d:]+)?; low_nll: ", told), told
    until = time.time() + 20
    while running(root) and time.time() < until:
        time.sleep(0.1)
    done = make(*words, cwd=root)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("goes on: 1 of 2 arms is done; low_nll at epoch 3 of 5\n"), done.stdout
    assert "goes on" not in make(*words, cwd=root).stdout


def test_an_arm_without_a_backup_begins_anew_and_is_not_said_to_go_on(tmp_path):
    plan.write_plan(tmp_path, StudyConfig(nepochs=5))
    stages = layout.study_stages(plan.planned(tmp_path))
    assert goes_on(tmp_path, stages, survey(tmp_path, stages)) == ""
    for arm, kept in (("high_nll", 0), ("low_nll", 5), ("low_mae", 2)):
        write_progress(tmp_path / arm, stage="training", epoch=3, nepochs=5)
        if kept:
            (tmp_path / arm / "backup").mkdir()
            (tmp_path / arm / "backup" / f"a1b2c3-{kept}.weights.h5").touch()
    told = goes_on(tmp_path, stages, survey(tmp_path, stages))
    assert told == "goes on: 0 of 4 arms are done; low_nll after its training; low_mae at epoch 3 of 5"
    plan.write_plan(tmp_path, StudyConfig(nepochs=6))  # another training: what was kept is of no use to it
    assert goes_on(tmp_path, stages, survey(tmp_path, stages)) == ""


def test_bounds_that_are_computed_are_told_and_a_study_starts_without_tensorflow_or_numpy(tmp_path):
    seed = Path("seed-3")
    stages = layout.sweep_stages({"doses": ["1e4"], "losses": ["nll"], "methods": [], "measured": False, "seeds": [3]})
    (tmp_path / seed).mkdir()
    (tmp_path / seed / "bound.partial.json").write_text(json.dumps({"pid": os.getpid(), "started": 1.0}))
    assert [row.now for row in watch._bounds(tmp_path, stages)] == ["seed-3: computing the bound"]
    code = "import sys, ptycho.__main__; print([m for m in ('numpy', 'tensorflow', 'tqdm') if m in sys.modules])"
    env = environment(PYTHONPATH=str(ROOT))
    assert subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True).stdout == "[]\n"
