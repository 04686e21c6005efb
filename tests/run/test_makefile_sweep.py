"""`make sweep`: what it refuses, makes, makes again and reports, with stand-in notebooks."""

import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from standins import ROOT, checkout, environment, with_site
from test_makefile import make, ran, refuses, running, snapshot

from ptycho.__main__ import main
from ptycho.config import LOSSES
from ptycho.errors import ConfigError
from ptycho.study.campaigns import ask

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
REPORTS = ROOT / "reports" / "README.md"
SMALL = ("sweep", "DOSES=1e4", "LOSSES=nll", "SEEDS=1 2", "OUT=out", "NEPOCHS=2", "JOBS=2")


@pytest.fixture
def root(tmp_path):
    return checkout(tmp_path / "a project")


def statuses(out: Path) -> dict[str, str]:
    return {arm["name"]: arm["status"] for arm in json.loads((out / "arms.json").read_text())["arms"]}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("SEEDS=1 1",), "SEEDS='1 1' is not accepted: distinct integers"),
        (("SEEDS=",), "SEEDS='' is not accepted"),
        (("SEED=2",), "SEED is a parameter of `make study`; that of `make sweep` is SEEDS"),
        (("METHODS=foo",), "METHODS='foo' is not accepted: among ('unrolled', 'direct')"),
        (("METHODS=cnn direct",), "METHODS='cnn' is not accepted: among ('unrolled', 'direct'), the network being"),
        (("METHODS=direct direct",), "is not accepted: distinct"),
        (("LOSSES=l2",), "LOSSES='l2' is not accepted"),
        (("JOBS=0",), "JOBS='0' is not accepted"),
        (("SCAN=none.npz",), "SCAN='none.npz': there is no such file"),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_is_made(root, words, message):
    refuses(root, "sweep", words, message)


def test_the_default_sweep_is_every_dose_loss_and_seed_without_side_effects_in_a_dry_run(root):
    before = snapshot(root)
    done = make("-n", "sweep", "JOBS=2", cwd=root)
    assert done.returncode == 0, done.stderr
    assert snapshot(root) == before
    arms = re.findall(r"train-arm\.ipynb (\S+)/train-arm\.ipynb .* --jobs 2$", done.stdout, re.MULTILINE)
    doses = ("1e2", "1e3", "2e3", "5e3", "low", "2e4", "5e4", "1e5", "1e6", "1e7", "high")
    names = {f"reports/sweep/seed-{s}/{d}_{x}" for s in range(1, 6) for d in doses for x in LOSSES}
    assert len(arms) == 220 and set(arms) == names
    assert done.stdout.count("ptycho bound reports/sweep/seed-") == 5
    assert done.stdout.count("ptycho gather reports/sweep\n") == 1


def test_a_measured_sweep_has_its_own_doses(root):
    done = make("-n", "sweep", "SCAN=siemens-star", "SEEDS=1", "LOSSES=nll", "ARCH=cnn", cwd=root)
    asked = ask("sweep", {"SCAN": "siemens-star", "ARCH": "cnn"}).config
    assert asked.doses == ("full", "1e5", "1e4", "1e3", "1e2") and asked.methods == ("cnn", "direct")
    assert done.stdout.count("run notebooks/train-arm.ipynb") == 5


@pytest.mark.parametrize(
    ("words", "methods"), [((), "unrolled"), (("ARCH=cnn",), "cnn"), (("METHODS=direct",), "direct")]
)
def test_rates_are_tried_for_one_method(root, words, methods):
    done = make("-n", "rates", *words, "DOSES=1e4", "LOSSES=nll", "SEEDS=0", cwd=root)
    assert done.stdout.count("run notebooks/train-arm.ipynb reports/rates/3.2e-2/seed-0/low_nll/") == 1, done.stderr
    asked = ask("rates", dict(word.split("=") for word in words))
    assert {name: member.config.methods for name, member in asked.members.items()} == {
        rate: (methods,) for rate in ("1.6e-2", "3.2e-2", "6.4e-2", "1.28e-1")
    }
    assert [member.config.learning_rate for member in asked.members.values()] == [1.6e-2, 3.2e-2, 6.4e-2, 1.28e-1]


@pytest.mark.parametrize(
    ("target", "words", "doses"),
    [
        ("rates", {}, ("1e4", "1e9")),
        ("rates", {"SCAN": "siemens-star"}, ("full", "1e4")),
        ("rates", {"VOLTAGE": "80"}, ("1e4", "1e2")),
        ("fluence", {"VOLTAGE": "80"}, ("1e4", "1e2")),
        ("rates", {"SCAN": "siemens-star", "DOSES": "1e5"}, ("1e5",)),
    ],
)
def test_the_sweeps_of_a_campaign_have_its_doses_and_know_whether_they_were_asked_for(target, words, doses):
    asked = ask(target, words)
    assert asked.config.doses == doses
    for member in asked.members.values():
        assert member.config.doses == doses and ("DOSES" in member.given) == ("DOSES" in words)


@pytest.mark.parametrize(
    ("target", "word", "message"),
    [
        ("conditions", "OBJECT=grf", "OBJECT is a parameter of `make sweep`; `make conditions` sets it itself"),
        ("conditions", "PHASE=1", "PHASE is a parameter of `make sweep`; `make conditions` sets it itself"),
        ("conditions", "N_TRAIN=500", "N_TRAIN is a parameter of `make sweep`; `make conditions` sets it itself"),
        ("fluence", "N=256", "N is a parameter of `make sweep`; `make fluence` sets it itself"),
        ("rates", "LEARNING_RATE=1e-3", "LEARNING_RATE is a parameter of `make sweep`; that of `make rates` is RATES"),
    ],
)
def test_what_a_campaign_sets_itself_is_refused_and_is_no_option_of_it(target, word, message, capsys):
    name, _, value = word.partition("=")
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        ask(target, {name: value})
    with pytest.raises(SystemExit):
        main([target, "--help"])
    assert f"--{name.lower().replace('_', '-')} " not in capsys.readouterr().out


def test_every_command_that_made_a_report_is_accepted():
    commands = re.findall(r"`make ((?:study|sweep|rates|conditions|fluence)\b[^`]*)`", REPORTS.read_text())
    assert len(commands) >= 15
    for command in commands:
        target, *words = shlex.split(command)
        asked = ask(target, dict(word.split("=", 1) for word in words))
        assert target in ("study", "sweep") or asked.members


def test_a_sweep_with_a_failed_arm_is_reported_resumed_and_then_left_alone(root):
    out = root / "out"
    with_site(root)
    done = make(*SMALL, cwd=root, FAIL="low_nll training if seed == 2: raise MemoryError('no memory')")
    assert done.returncode != 0
    assert "seed-2/low_nll: training failed: MemoryError: no memory\n" in done.stderr, done.stderr
    assert re.search(r"^seed-2/low_nll: what happened and what to try: out/seed-2/blocked_", done.stderr, re.MULTILINE)
    assert "NOT VERIFIED\n- 2 arms: 1 ok, 0 collapsed, 1 failed, 0 missing\n" in done.stdout
    assert "- seed-2/low_nll: failed (training failed: MemoryError: no memory (see blocked_" in done.stdout
    assert statuses(out) == {"seed-1/low_nll": "ok", "seed-2/low_nll": "failed"}
    page = (out / "report" / "index.html").read_text()
    assert "1 failed" in page and 'href="seed-1/low_nll.html">ok</a>' in page
    status = make("status", "OUT=out", cwd=root).stdout
    assert status.startswith("1 of 2 arms done, 0 running, 1 failed, 0 to come\n")
    assert re.search(r"^seed-2/low_nll +failed", status, re.MULTILINE)

    done = make(*SMALL, cwd=root)
    assert done.returncode == 0, done.stderr
    assert "VERIFIED\n- 2 arms: 2 ok" in done.stdout and done.stdout.endswith("report: out/report/index.html\n")
    assert statuses(out) == {"seed-1/low_nll": "ok", "seed-2/low_nll": "ok"}
    assert [ran(out / f"seed-{seed}") for seed in (1, 2)] == [{"low_nll": 1}, {"low_nll": 2}]
    bounds = [arm["train"]["information_bound"] for arm in json.loads((out / "arms.json").read_text())["arms"]]
    assert bounds == [50 / 1e4, 50 / 1e4]

    before, started = snapshot(root), time.time()
    assert make(*SMALL, cwd=root).returncode == 0
    assert time.time() - started < 5
    assert snapshot(root) == before

    (out / "notes.txt").write_text("mine")
    assert make("clean", "OUT=out", cwd=root).returncode == 0
    assert os.listdir(out) == ["notes.txt"]


@pytest.mark.slow
def test_a_changed_parameter_makes_again_what_depends_on_it_and_nothing_else(root):
    out = root / "out"
    assert make(*SMALL, cwd=root).returncode == 0
    simulated = [(out / f"seed-{seed}" / "simulate.ipynb").stat().st_mtime for seed in (1, 2)]
    done = make(*SMALL, "METHODS=direct", cwd=root)  # every arm, no scan
    assert done.returncode == 0, done.stderr
    assert simulated == [(out / f"seed-{seed}" / "simulate.ipynb").stat().st_mtime for seed in (1, 2)]
    assert [ran(out / f"seed-{seed}") for seed in (1, 2)] == [{"low_nll": 2}, {"low_nll": 2}]
    arm = json.loads((out / "arms.json").read_text())["arms"][0]
    assert arm["architecture"] is arm["train"] is None and arm["direct"]["information_bound"] == 50 / 1e4
    done = make(*SMALL, "METHODS=direct", "SEEDS=2 3", "LOSSES=nll mae", cwd=root)
    assert done.returncode == 0, done.stderr
    assert [ran(out / f"seed-{s}") for s in (1, 2)] == [{"low_nll": 2}, {"low_mae": 1, "low_nll": 2}]
    assert statuses(out) == dict.fromkeys([f"seed-{s}/low_{x}" for s in (2, 3) for x in ("nll", "mae")], "ok")


@pytest.mark.slow
def test_learning_rates_are_tried_on_seeds_of_their_own(root):
    words = ("rates", "RATES=1e-3 2e-3", "SEEDS=0 11", "DOSES=1e4", "LOSSES=nll mae", "OUT=out", "NEPOCHS=1")
    with_site(root)
    done = make(*words, cwd=root)
    assert done.returncode == 0 and done.stdout.endswith("report: out/report/index.html\n"), done.stderr
    page = (root / "out" / "report" / "index.html").read_text()
    assert 'href="../1e-3/report/index.html">1e-3</a></td><td>VERIFIED' in page
    for rate, number in (("1e-3", 0.001), ("2e-3", 0.002)):
        arm = yaml.safe_load((root / "out" / rate / "seed-0" / "low_mae" / "arm.yaml").read_text())
        assert (arm["learning_rates"], arm["seed"], arm["methods"]) == ({"unrolled": number}, 0, ["unrolled"])
    assert "nll: the rule chooses 0.001" in (root / "out" / "learning-rates.ipynb").read_text()
    assert (root / "out" / "learning_rates.csv").read_text().count("\n") == 9
    assert make("rates", "RATES=fast", "OUT=no", cwd=root).stderr.startswith("ptycho: RATES='fast' is not accepted")
    assert not (root / "no").exists()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_sweep_that_is_killed_at_random_moments_goes_on_and_makes_nothing_twice(root, seed):
    """By SIGKILL of the whole group: nobody can clear anything away."""
    rng, out = random.Random(seed), root / "out"
    words = (*SMALL[:1], "DOSES=1e4 1e6", *SMALL[2:])
    finished: set[str] = set()
    for _ in range(5):
        process = subprocess.Popen(
            ["make", *words],
            cwd=root,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(timeout=rng.uniform(1, 12))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        until = time.time() + 20
        while running(root) and time.time() < until:  # the notebooks' processes end themselves
            time.sleep(0.1)
        assert not running(root)
        before = {str(path): path.stat().st_mtime for path in out.glob("seed-*/*/train-arm.ipynb")}
        assert finished <= before.keys()
        finished = set(before)
    done = make(*words, cwd=root)
    assert done.returncode == 0, done.stderr
    assert {str(p): p.stat().st_mtime for p in out.glob("seed-*/*/train-arm.ipynb")}.items() >= before.items()
    assert set(statuses(out).values()) == {"ok"} and len(statuses(out)) == 4
    shutil.move(out, root / "killed")
    assert make(*words, cwd=root).returncode == 0
    assert (root / "killed" / "arms.json").read_text() == (out / "arms.json").read_text()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks processes up in /proc")
def test_a_sweep_that_is_told_to_end_leaves_nothing_running_and_gathers_nothing(root):
    process = subprocess.Popen(
        ["make", *SMALL],
        cwd=root,
        env=environment(FAIL="low_nll training open('here', 'w').close(); time.sleep(120)"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until = time.time() + 60
    while len(list(root.glob("out/*/*/here"))) < 2:
        assert time.time() < until and process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(timeout=30) != 0
    until = time.time() + 10
    while running(root) and time.time() < until:
        time.sleep(0.1)
    assert not running(root)
    assert not (root / "out" / "arms.json").exists() and not list((root / "out").glob("*/blocked_*"))
