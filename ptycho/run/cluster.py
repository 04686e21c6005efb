"""Runs a command on a dask.distributed cluster as if it ran here: the same words, folder, output and exit status.

The workers see the checkout, its Python and the study's folder under the same paths, as nodes that share a file system
do; nothing of ``ptycho`` has to be installed on them. A command that its worker leaves behind, because it was killed or
because nobody waits for the result any more, ends itself; dask gives it to another worker, where it goes on from its
last backup.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit
from uuid import uuid4

from ptycho.errors import ConfigError
from ptycho.run.stage import interruptions

if TYPE_CHECKING:
    from distributed import Client


JOBS = "{jobs}"
"""In the words of a command: how many commands share the cores of the machine that runs it."""
PATIENCE = 20.0
"""Seconds that a command waits for the end of the one it follows, whose worker is gone, or for news of its own end."""


def connect(scheduler: str) -> Client:
    """Return a client of the scheduler at the address `scheduler`. Raises ConfigError when none answers there."""
    import asyncio

    from distributed import Client

    try:
        # A Client that finds no scheduler stays behind half made; collected in the thread that the next one starts, it
        # waits for a lock that the next one holds.
        asyncio.run(_knock(scheduler))
        return Client(scheduler, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"SCHEDULER={scheduler!r} is not accepted: no dask scheduler answers there; "
            "the address is the one that it prints when it starts, e.g. tcp://10.0.0.1:8786"
        ) from error


async def _knock(scheduler: str) -> None:
    from distributed.comm import connect

    comm = await connect(scheduler, timeout=10)
    await comm.close()


def threads_by_machine(client: Client) -> dict[str, int]:
    """Return {machine: threads of the workers on it}; each thread runs one command at a time."""
    threads: Counter[str] = Counter()
    for address, worker in client.scheduler_info(n_workers=-1)["workers"].items():
        threads[_machine(address)] += worker["nthreads"]
    return threads


def threads(scheduler: str) -> int:
    """How many threads the workers of a cluster have, 1 at least. Raises ConfigError when no scheduler answers."""
    with connect(scheduler) as client:
        return sum(threads_by_machine(client).values()) or 1


def _machine(address: str) -> str:
    return urlsplit(address).hostname or address


def submit(scheduler: str, command: Sequence[str]) -> int:
    """Run `command` on the cluster, in this process's folder; what it prints comes out here. Return its exit status.

    Raises ConfigError when no scheduler answers.
    """
    import cloudpickle
    from distributed.client import FutureCancelledError
    from distributed.scheduler import KilledWorker

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    name = f"ptycho-{uuid4().hex}"
    ended = threading.Event()

    def hear(event: tuple[float, Mapping[str, Any]]) -> None:
        told = event[1]
        if "line" in told:
            print(told["line"], end="", file=sys.stderr if told["stream"] == "stderr" else sys.stdout, flush=True)
        else:
            ended.set()

    def leave(number: int) -> NoReturn:
        raise SystemExit(128 + number)

    with connect(scheduler) as client, interruptions(leave):
        client.subscribe_topic(name, hear)
        tethered = [sys.executable, "-m", __name__, *command]
        environment = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        how = (tethered, os.getcwd(), environment, name, threads_by_machine(client))
        future = client.submit(_work, *how, key=name, pure=False)
        try:
            status = future.result()
            ended.wait(PATIENCE)
            return status
        except KilledWorker as error:
            print(f"{' '.join(command)}: given up, {error}", file=sys.stderr)
        except (FutureCancelledError, OSError) as error:
            print(f"{' '.join(command)}: the scheduler at {scheduler} is gone: {error}", file=sys.stderr)
        except SystemExit:
            future.cancel()
            ended.wait(PATIENCE)
            raise
    return 1


def _work(
    command: Sequence[str], folder: str, environment: Mapping[str, str], topic: str, threads: Mapping[str, int]
) -> int:
    """On the worker: run `command`, tell the events of `topic` what it prints, and return its exit status."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()
    jobs = threads.get(_machine(worker.address), worker.state.nthreads)
    words = [word.replace(JOBS, str(jobs)) for word in command]

    def copy(stream: IO[str], which: str) -> None:
        for line in stream:
            worker.log_event(topic, {"line": line, "stream": which})

    def unwanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is None or task.state == "cancelled"

    def run() -> int:
        with subprocess.Popen(
            words,
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as child:
            assert child.stdin is not None
            copies = [threading.Thread(target=copy, args=(getattr(child, s), s)) for s in ("stdout", "stderr")]
            for thread in copies:
                thread.start()
            while child.poll() is None:
                if unwanted():
                    child.stdin.close()
                    child.wait()
                time.sleep(0.1)
            for thread in copies:
                thread.join()
            return child.returncode

    until = time.monotonic() + PATIENCE
    try:
        while (status := run()) == os.EX_TEMPFAIL and time.monotonic() < until and not unwanted():
            time.sleep(1)
        return status
    finally:
        worker.log_event(topic, {"ended": True})


def tethered(command: Sequence[str]) -> int:
    """Run `command` and return its exit status; tell it to end when standard input does, with its worker."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as child:

        def watch() -> None:
            os.read(0, 1)
            child.terminate()

        threading.Thread(target=watch, daemon=True).start()
        return child.wait()


if __name__ == "__main__":
    sys.exit(tethered(sys.argv[1:]))
