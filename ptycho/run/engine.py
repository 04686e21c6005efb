"""Makes what was asked for: plans it, hands its stages to make, judges what came of it.

make decides what is to be done and does it side by side; the rules that it goes by follow from the table of stages
(:mod:`ptycho.study.layout`). A folder is held for as long as something is made in it: a second run is refused before it
writes anything.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from ptycho.cores import usable_cores
from ptycho.errors import ConfigError
from ptycho.files import NOTEBOOKS, read_json, write_if_changed
from ptycho.run import cluster
from ptycho.run import stage as runner
from ptycho.run.crate import record
from ptycho.run.environment import of_children
from ptycho.run.rules import ALL, rules
from ptycho.run.verdict import write_verdict
from ptycho.run.watch import Watch
from ptycho.study import layout, plan, status, sweep
from ptycho.study.campaigns import CAMPAIGNS, Request, campaign_in


def perform(request: Request) -> int:
    """Make what was asked for, or under `make -n` print how it would be made; return the exit status.

    Raises ConfigError where it cannot be begun.
    """
    if request.scheduler:
        cluster.connect(request.scheduler).close()
    if request.target in ("study", "sweep"):
        return _make(request)
    return _campaign(request)


def _make(request: Request, title: str = "", begin: Callable[[], object] = lambda: None) -> int:
    """Make a study or sweep; ``begin`` is called when nothing speaks against it and its folder is held."""
    out, jobs, swept = Path(request.out), _jobs(request), request.target == "sweep"
    if _is_dry():
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch, layout.RULES)
            path.write_text(rules(request, jobs))
            return _run_make(path, jobs, "arms gathered" if swept else "pipeline")
    _refuse_another(request)
    folders = [out, *(sweep.folder(out, seed) for seed in request.seeds)]
    plan.check_scan(request.config)
    config = plan.at_measured_doses(request.config, folders[-1], asked="DOSES" in request.given)
    with _held(*folders) as held:
        begin()
        if config != request.config:
            instead, asked = " ".join(config.doses), " ".join(request.config.doses)
            print(f"DOSES: {instead} in place of {asked}, for full is all that the scan has", flush=True)
            request = replace(request, config=config)
        if swept:
            sweep.write_sweep(out, config, request.seeds)
        else:
            plan.write_plan(out, config)
        write_if_changed(out / layout.RULES, rules(request, jobs))
        with Watch(out, jobs, title) as watch:
            made = gathered = _run_make(out / layout.RULES, jobs, "arms" if swept else "pipeline", held, watch)
            if swept and made <= 128:  # what could be made is gathered, whatever failed
                gathered = _run_make(out / layout.RULES, 1, "gathered", held, watch)
        if made > 128:  # interrupted
            _tell_unfinished(out)
            return made
        if swept:
            return gathered or verify(out) or made
        if made:
            _tell_unfinished(out)
            print((out / layout.STATUS).read_text(encoding="utf-8"), end="", flush=True)
            return 1
        return verify(out)


def verify(out: Path) -> int:
    """Judge the study or sweep in `out`, record its files, print the verdict and where the report is; return 1 if it is
    NOT VERIFIED."""
    verdict = write_verdict(out)
    record.write(out)
    # at once: the processes of a campaign write to the same pipe
    print(f"{verdict}report: {out / layout.INDEX}", flush=True)
    return int(verdict.startswith(status.NOT_VERIFIED))


def clean(out: Path) -> None:
    """Remove the study or sweep in `out`; what it did not make stays. Raises ConfigError where there is neither."""
    if not out.exists():
        return
    if not any((out / name).is_file() for name in (layout.STUDY, layout.SWEEP)):
        raise ConfigError(f"{str(out)!r} does not look like a study: nothing removed")
    folders = [*layout.seeds_in(out), out]
    with _held(*folders):
        for folder in folders:
            for path in list(layout.leavings(folder)):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            try:
                folder.rmdir()
            except OSError:
                print(f"{str(folder)!r} holds other files: they stay")


def _campaign(request: Request) -> int:
    """The sweeps one after the other, then the notebook that gathers them. An arm that collapsed is a result; with one
    that failed or is missing, the exit status is 1."""
    out, members = Path(request.out), request.members
    _refuse_another(request)
    notebook = f"{CAMPAIGNS[request.target].notebook[0]}.ipynb"
    parameters = out / f"{request.target}.yaml"
    for name, member in members.items():
        # from its first sweep on the folder is the campaign's, wherever it ends
        made = _make(member, name, lambda: plan.write_yaml(parameters, request.gathering()))
        if made > 128 or (made and not (Path(member.out) / layout.ARMS).exists()):
            return made
    if _is_dry():
        return 0
    (out / layout.STATUS).unlink(missing_ok=True)  # what an earlier failure of the gathering left is void
    if failed := runner.run(NOTEBOOKS / notebook, out / notebook, parameters, out / layout.LOG, within=out):
        return failed
    # by a process of its own, as make does it: what executes has nothing to do with pages
    reported = subprocess.run([sys.executable, "-m", "ptycho", "report", str(out)], env=of_children()).returncode
    arms = [arm for member in members.values() for arm in read_json(Path(member.out) / layout.ARMS)["arms"]]
    return reported or int(any(arm["status"] in ("failed", "missing") for arm in arms))


def _refuse_another(request: Request) -> None:
    """Raise ConfigError where the folder holds something else than what was asked for."""
    out = Path(request.out)
    kept = {"study": (out / layout.STUDY).exists(), "sweep": (out / layout.SWEEP).exists()}
    there = next((name for name, held in kept.items() if held), campaign_in(out))
    if there not in (None, request.target):
        what = there if there in kept else f"campaign ({there})"
        raise ConfigError(f"OUT={str(out)!r}: there is a {what} in it; expected another folder")


def _tell_unfinished(out: Path) -> None:
    """Say in status.txt what `make status` says of what stopped."""
    swept = sweep.planned(out)
    folders = [out] if swept is None else [sweep.folder(out, seed) for seed in swept["seeds"]]
    for folder in folders:
        status.write_unfinished(folder, status.survey(folder, layout.study_stages(plan.planned(folder))))


# --- make -------------------------------------------------------------------------------------------------------------


def _asked_of_make() -> tuple[str, int | None]:
    """What the make that started this was asked: its flags of one letter, and how many jobs, ALL for `-j` alone."""
    words = os.environ.get("MAKEFLAGS", "").split(" ")
    flags = words[0] if re.fullmatch(r"[A-Za-z]+", words[0]) else ""
    jobs = [word[2:] for word in words if re.fullmatch(r"-j\d*", word)]
    return flags, (int(jobs[0]) if jobs[0] else ALL) if jobs else None


def _is_dry() -> bool:
    return "n" in _asked_of_make()[0]


def _jobs(request: Request) -> int:
    """Stages at a time."""
    asked = _asked_of_make()[1] or request.jobs
    if asked is None and request.scheduler:
        return cluster.threads(request.scheduler)
    return asked or usable_cores()


def _run_make(path: Path, jobs: int, goals: str, held: Sequence[int] = (), watch: Watch | None = None) -> int:
    """Let make go by the rules in `path`, as many stages at a time as `jobs`; return its status, or 128 + a signal.

    make and its stages have the descriptors `held` too: what they hold stays held when this process is killed. What
    they print passes through `watch`, which also tells how far they are.
    """
    if shutil.which("make") is None:
        raise ConfigError("a study needs GNU make, which is not on the PATH")
    flags = "".join(flag for flag in _asked_of_make()[0] if flag in "nB")
    words = ["make", "--no-print-directory", "-k", *([f"-{flags}"] if flags else [])]
    words += ["-j" if jobs == ALL else f"-j{jobs}", "-f", str(path), *goals.split()]
    hidden = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES")
    environment = {name: value for name, value in of_children().items() if name not in hidden}
    pipe = subprocess.PIPE if watch else None
    with (
        subprocess.Popen(
            words, env=environment, pass_fds=held, stdout=pipe, stderr=pipe, encoding="utf-8", errors="replace"
        ) as child,
        runner.interruptions(lambda _: child.terminate()) as got,
    ):
        made = watch.until_ended(child) if watch else child.wait()
    return 128 + got[0] if got else made


@contextmanager
def _held(*folders: Path) -> Iterator[list[int]]:
    """Hold the folders; what is given are the descriptors that hold them.

    Raises ConfigError when one cannot be written, or when another run holds it.
    """
    held: list[int] = []
    with ExitStack() as stack:
        for out in folders:
            try:
                (out / layout.SOURCES).mkdir(parents=True, exist_ok=True)
                held.append(runner.claim(out / layout.SOURCES))
            except BlockingIOError:
                raise ConfigError(f"OUT={str(out)!r}: another run is at work there; wait for its end") from None
            except OSError as error:
                raise ConfigError(
                    f"OUT={str(out)!r} cannot be written ({error.strerror}); expected a folder"
                ) from error
            stack.callback(os.close, held[-1])
        yield held
