"""Runs one notebook as one stage of a study: whole output or none, all that it prints kept, failures explained.

The parent, here, is nothing but the standard library, so that it survives what happens to the child: it starts
:mod:`ptycho.run.kernel`, copies its output to the terminal and to the log, and puts the files in their place.
"""

import fcntl
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

from ptycho.files import json_if_any, write_json, write_text
from ptycho.run.environment import of_kernel
from ptycho.run.failures import Failure, advice, diagnose, report
from ptycho.study.layout import FAILED, PARTIAL, RUNNING
from ptycho.study.provenance import utc_now
from ptycho.study.status import add_failure, mark_unfinished

DRAIN = 10.0
"""Seconds to wait, when the child has ended, for the last of what its kernel prints."""

INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptions(act: Callable[[int], object]) -> Iterator[list[int]]:
    """While it lasts, a signal to end this process calls `act` with its number; those that came are in the list."""
    got: list[int] = []

    def note(number: int, frame: object) -> None:
        got.append(number)
        act(number)

    previous = {number: signal.signal(number, note) for number in INTERRUPTIONS}
    try:
        yield got
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class Log:
    """Copies lines, each marked with the stage it comes from, to the end of a file and, unless quiet, to the terminal.

    Stages that run side by side share the file: a line is written in one go, at the file's end. A terminal or a disk
    that takes no more does not stop the stage.
    """

    def __init__(self, path: Path, label: str, quiet: bool = False):
        self.label = label
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        self._targets = (self._file,) if quiet else (self._file, 1)
        self._lock = threading.Lock()

    def line(self, text: str) -> None:
        marked = f"{self.label} | {text.rstrip()}\n"
        with self._lock:
            for target in self._targets:
                with suppress(OSError):
                    os.write(target, marked.encode(errors="replace"))

    def copy(self, stream: IO[str]) -> None:
        for text in stream:
            self.line(text)

    def close(self) -> None:
        os.close(self._file)


def _sockets() -> tempfile.TemporaryDirectory[str]:
    """Return a folder for one kernel's sockets, whose names have to be short (104 bytes with macOS)."""
    usual = tempfile.gettempdir()
    return tempfile.TemporaryDirectory(prefix="ptycho-", dir=usual if len(os.fsencode(usual)) < 70 else "/tmp")


def _start(
    notebook: Path, partial: Path, parameters: Path, sockets: str, jobs: int, log: Log
) -> tuple[int, Mapping[str, str], int]:
    """Run the child to its end; return its exit status, what it told of a failure, and the signal this process got."""
    receive, send = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-m", "ptycho.run.kernel", *map(str, (notebook, partial, parameters, sockets, send))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        env=of_kernel(jobs, sockets),
        pass_fds=(send,),
        start_new_session=True,  # the terminal's interrupt comes here only, and is passed on once
    ) as child:
        os.close(send)
        pipes = (child.stdout, child.stderr)
        copies = [threading.Thread(target=log.copy, args=(pipe,), daemon=True) for pipe in pipes]
        # a kernel whose parent is gone ends itself within a second, whatever its cell is doing
        with interruptions(lambda _: child.kill()) as got:
            # threads inherit what is blocked: only a signal to this one interrupts the wait, and lets the handler run
            before = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTIONS)
            for copy in copies:
                copy.start()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            status = child.wait()
            for copy in copies:
                copy.join(DRAIN)
    with open(receive, encoding="utf-8") as pipe:
        told = json.loads(pipe.read() or "{}")
    return status, told, got[0] if got else 0


def _fallback(status: int, told: Mapping[str, str]) -> tuple[str, str, str]:
    """Return (name, message, traceback) of a failure that no cell of the notebook holds."""
    if status < 0:
        name = "Killed" if -status == signal.SIGKILL else signal.Signals(-status).name
        return name, f"the process was ended by signal {-status}", ""
    if told.get("name") == "DeadKernelError":
        return "Killed", "the kernel died, most likely because memory ran out", told["traceback"]
    return told.get("name", "Error"), told.get("message", f"exit status {status}"), told.get("traceback", "")


def _write_report(out: Path, failure: Failure, label: str, failed: Path) -> Path:
    """Write the failure report into `out`, under a name of its own; return its path."""
    text = report(failure, label, os.path.relpath(failed, out), utc_now())
    while True:
        path = out / f"blocked_{datetime.now(timezone.utc):%Y%m%dT%H%M%S.%fZ}.md"
        with suppress(FileExistsError):
            path.touch(exist_ok=False)
            break
    try:
        write_text(path, text)
    except OSError:
        path.unlink()
        raise
    return path


def claim(folder: Path) -> int:
    """Lock `folder` for as long as the returned descriptor is open. Raises BlockingIOError when another has it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:  # a file system without locks
        pass
    return descriptor


@contextmanager
def marked(marker: Path) -> Iterator[int]:
    """While it lasts, the file `marker` says that this process is at work, and since when.

    Given is that time as the file's own, in nanoseconds: a file server's clock dates all files, and differs from ours.
    """
    write_json(marker, {"pid": os.getpid(), "machine": platform.node(), "started": time.time()})
    try:
        yield marker.stat().st_mtime_ns
    finally:
        marker.unlink(missing_ok=True)


def _fail(failure: Failure, label: str, name: str, notebook: Path, output: Path, parameters: Path, out: Path) -> None:
    """Leave behind what tells of `failure`; a result that is older than what it was made from goes.

    `label` is the stage's name within its study, `name` that within its sweep, too.
    """
    failed, partial = output.with_suffix(FAILED), output.with_suffix(PARTIAL)
    message = f"\n{name}: {failure.stage} failed: {failure.summary}\n"
    try:
        if partial.exists():
            os.replace(partial, failed)
        if output.exists() and output.stat().st_mtime < max(notebook.stat().st_mtime, parameters.stat().st_mtime):
            output.unlink()
        path = _write_report(out, failure, label, failed)
        add_failure(out, f"{label}: {failure.stage} failed: {failure.summary} (see {path.name})")
        message += f"{name}: what happened and what to try: {path}\n"
    except OSError as error:
        message += f"{name}: no report could be written in {out}: {error.strerror}\n{advice(failure)}\n"
    print(message, file=sys.stderr)


def run(
    notebook: Path, output: Path, parameters: Path, log_file: Path, jobs: int = 1, within: Path | None = None
) -> int:
    """Execute `notebook` with the YAML file `parameters` into `output`; return the exit status, 0 for success.

    `output` appears only when all went well, dated to the start of the run: what changed meanwhile is newer. The folder
    of `log_file` is the study's; `jobs` is how many notebooks share the cores. A stage `within` a study or sweep, which
    tells how far it is, prints nothing but failures: what its notebook prints is in the log alone. After a failure
    there are X.failed.ipynb, blocked_<UTC time>.md and status.txt; after an interruption there is nothing to clear
    away. While another run is at work on `output`, nothing is done and the status is EX_TEMPFAIL: later it can be.
    """
    out = log_file.parent
    label = output.stem if output.parent.resolve() == out.resolve() else output.parent.name
    name = label if within is None else os.path.normpath(Path(os.path.relpath(out, within), label))
    partial = output.with_suffix(PARTIAL)
    with ExitStack() as stack:
        try:
            stack.callback(os.close, claim(output.parent))
            log = Log(log_file, label, quiet=within is not None)
            stack.callback(log.close)
            started = stack.enter_context(marked(output.with_suffix(RUNNING)))
            mark_unfinished(out, after_success=True)
            sockets = stack.enter_context(_sockets())
        except BlockingIOError:
            print(f"{name}: another `make study` is at work in {output.parent}", file=sys.stderr)
            return os.EX_TEMPFAIL
        except OSError as error:
            print(f"{name}: {error.filename or out} cannot be written: {error.strerror}", file=sys.stderr)
            return 1
        begun = time.monotonic()
        log.line(f"=== {notebook.name} started {utc_now()}")
        status, told, interrupted = _start(notebook, partial, parameters, sockets, jobs, log)
        if interrupted and status != 0:
            partial.unlink(missing_ok=True)
            log.line("=== interrupted; `make study` resumes here")
            return 128 + interrupted
        if status == 0:
            os.utime(partial, ns=(started, started))
            os.replace(partial, output)
            output.with_suffix(FAILED).unlink(missing_ok=True)
            log.line(f"=== {notebook.name} done in {time.monotonic() - begun:.1f} s")
            return 0
        failure = diagnose(json_if_any(partial), notebook.stem, _fallback(status, told))
        log.line(f"=== {notebook.name} failed: {failure.summary}")
        _fail(failure, label, name, notebook, output, parameters, out)
        return 1
