"""The command line: `python -m ptycho study` for users, the other commands for the Makefile."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import NoReturn

from ptycho import __version__
from ptycho.errors import ConfigError
from ptycho.files import ROOT
from ptycho.study.config import StudyConfig, arms


def _words(assignments: Sequence[str]) -> dict[str, str]:
    words = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(f"{assignment!r} is not accepted: parameters are written NAME=value")
        words[name] = value
    return words


def _plan(options: argparse.Namespace) -> int:
    from ptycho.run import cluster
    from ptycho.study import plan, sweep

    config = StudyConfig.from_strings(_words(options.assignments))
    if not options.jobs.isdigit() or int(options.jobs) < 1:
        raise ConfigError(f"JOBS={options.jobs!r} is not accepted: an integer >= 1")
    if options.scheduler is not None:
        cluster.connect(options.scheduler).close()
    if options.seeds is None:
        plan.write_plan(options.out, config)
    else:
        sweep.write_sweep(options.out, config, sweep.seeds_of(options.seeds))
    return 0


def _run(options: argparse.Namespace) -> int:
    from ptycho.run.stage import run
    from ptycho.study.status import mark_unfinished

    of_sweep = options.sweep is not None
    if of_sweep:
        mark_unfinished(options.sweep, after_success=True)
    status = run(options.notebook, options.output, options.parameters, options.log, options.jobs, quiet=of_sweep)
    if of_sweep:
        _print_progress(options.sweep, options.output, status)
    return status


def _print_progress(out: Path, output: Path, status: int) -> None:
    from ptycho.study import sweep
    from ptycho.study.status import summary

    plan = sweep.planned(out)
    if plan is not None and status < 128:  # not for what was interrupted
        name = output.relative_to(out).with_suffix("") if output.stem == "simulate" else output.parent.relative_to(out)
        rows = sweep.survey(out, plan)
        print(f"{name} {'failed' if status else 'done'}: {summary(rows, beside=1)}", flush=True)


def _bound(options: argparse.Namespace) -> int:
    from ptycho.run.stage import kernel_environment

    os.environ.update(kernel_environment(options.jobs))
    # what TensorFlow's C++ writes to descriptor 2 goes to the log, Python's own messages to where they went before
    sys.stderr = os.fdopen(os.dup(2), "w")
    with open(options.log, "ab") as log:
        os.dup2(log.fileno(), 2)
    from ptycho.study import bounds

    bounds.write(options.out)
    return 0


def _submit(options: argparse.Namespace) -> int:
    from ptycho.run import cluster

    return cluster.submit(options.scheduler, options.words)


def _threads(options: argparse.Namespace) -> int:
    from ptycho.run import cluster

    with cluster.connect(options.scheduler) as client:
        print(sum(cluster.threads_by_machine(client).values()) or 1)
    return 0


def _rates(options: argparse.Namespace) -> int:
    from ptycho.study import campaigns

    campaigns.plan(options.out, options.rates.split(), StudyConfig.from_strings(_words(options.assignments)))
    return 0


def _gather(options: argparse.Namespace) -> int:
    from ptycho.study import sweep

    sweep.collect(options.out)
    return 0


def _report(options: argparse.Namespace) -> int:
    from ptycho.run import report

    print(report.write(options.out))
    return 0


def _verify(options: argparse.Namespace) -> int:
    from ptycho.run.verdict import write_verdict

    print(write_verdict(options.out), end="")
    print(f"report: {options.out / 'index.html'}")
    return 0


def _status(options: argparse.Namespace) -> int:
    from ptycho.study import sweep
    from ptycho.study.plan import planned
    from ptycho.study.status import summary, survey, table

    swept = sweep.planned(options.out)
    if swept is not None:
        rows = sweep.survey(options.out, swept)
        print(summary(rows))
        if told := [row for row in rows if row.state in ("running", "failed", "stopped")]:
            print(table(told))
        return 0
    plan = planned(options.out)
    names = [arm.name for arm in arms(plan["doses"], plan["losses"])]
    print(table(survey(options.out, names, measured=plan.get("measured", False))))
    return 0


def _convert(options: argparse.Namespace) -> int:
    from ptycho.scans import formats

    words = {k: getattr(options, k) for k in ("to", "drop", "pixel_size", "of", "part")}
    for note in formats.convert(options.source, options.target, **words):
        print(f"left aside: {note}")
    print(options.target)
    return 0


def _inspect(options: argparse.Namespace) -> int:
    from ptycho.figures import images, output
    from ptycho.scans import inspect

    found = inspect.inspect(options.file)
    print(found)
    if found.seen is not None:
        png = options.png or options.file.with_name(f"{options.file.name}.inspect.png")
        try:
            output.save_png(images.inspection(*found.seen), png)
        except OSError as error:
            raise ConfigError(f"{png}: cannot be written ({error.strerror}); name another with --png") from error
        print(f"picture: {png}")
    return 1 if found.wrong else 0


def _study(options: argparse.Namespace) -> NoReturn:
    """Hand over to the Makefile, which knows what follows from what, with this interpreter's environment."""
    out = options.output_dir.resolve()
    words = {"OUT": str(out.relative_to(ROOT) if out.is_relative_to(ROOT) else out)}
    for name in [*_study_parameters(), *_HOW]:
        value = getattr(options, name.lower())
        if value is not None:
            words[name] = " ".join(value) if isinstance(value, list) else value
    if Path(words.get("SCAN", "")).is_file():
        words["SCAN"] = str(Path(words["SCAN"]).resolve())
    if shutil.which("make") is None or not (ROOT / "Makefile").exists():
        raise ConfigError("a study needs make and the project's checkout, with its Makefile and notebooks")
    command = ["make", "-C", str(ROOT), "--no-print-directory", "study", *(f"{name}={words[name]}" for name in words)]
    # in this process's place: a signal to end it reaches make
    os.execvpe(command[0], command, {**os.environ, "VIRTUAL_ENV": sys.prefix})


def _study_parameters() -> dict[str, object]:
    """The Makefile's names of what a study is made of, with their defaults."""
    return {("arch" if f.name == "architecture" else f.name).upper(): f.default for f in fields(StudyConfig)}


_HOW = {
    "JOBS": "arms at a time, default: 1",
    "ENGINE": "what runs the notebooks, local or dask, default: local",
    "SCHEDULER": "address of the dask cluster's scheduler",
}
"""The Makefile's names of how a study is run, which changes none of its results."""


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = argparse.ArgumentParser(prog="python -m ptycho", description="Dose-response studies for ptychography.")
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(required=True, metavar="command")

    command = commands.add_parser("study", help="run a dose study; the same as `make study`", allow_abbrev=False)
    command.add_argument("--output-dir", type=Path, required=True, help="the study's folder")
    for name, default in _study_parameters().items():
        several = isinstance(default, tuple)
        words = " ".join(map(str, default)) if isinstance(default, tuple) else default
        command.add_argument(
            f"--{name.lower().replace('_', '-')}",
            dest=name.lower(),
            nargs="+" if several else None,
            help=f"default: {words}",
        )
    for name, words in _HOW.items():
        command.add_argument(f"--{name.lower()}", help=words)
    command.set_defaults(do=_study)

    command = commands.add_parser("plan", help="write the parameter files of a study")
    command.add_argument("--out", type=Path, required=True)
    command.add_argument("--jobs", default="1")
    command.add_argument("--seeds", help="of a sweep: one study each")
    command.add_argument("--scheduler", help="of a dask cluster that is to run it: is it there?")
    command.add_argument("assignments", nargs="*", metavar="NAME=value")
    command.set_defaults(do=_plan)

    command = commands.add_parser("run", help="execute one notebook")
    command.add_argument("notebook", type=Path)
    command.add_argument("output", type=Path)
    command.add_argument("--parameters", type=Path, required=True, help="YAML file")
    command.add_argument("--log", type=Path, required=True)
    command.add_argument("--jobs", type=int, default=1, help="notebooks that share the cores")
    command.add_argument("--sweep", type=Path, metavar="OUT", help="of a sweep: print its progress, and log the rest")
    command.set_defaults(do=_run)

    command = commands.add_parser("bound", help="compute the Cramér-Rao bounds of a study's scans")
    command.add_argument("out", type=Path)
    command.add_argument("--log", type=Path, required=True)
    command.add_argument("--jobs", type=int, default=1, help="notebooks that share the cores")
    command.set_defaults(do=_bound)

    command = commands.add_parser("submit", help="run one of these commands on a dask cluster")
    command.add_argument("scheduler", metavar="ADDRESS")
    command.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    command.set_defaults(do=_submit)

    command = commands.add_parser("threads", help="print how many threads the workers of a dask cluster have")
    command.add_argument("scheduler", metavar="ADDRESS")
    command.set_defaults(do=_threads)

    command = commands.add_parser("rates", help="plan a search for learning rates")
    command.add_argument("--out", type=Path, required=True)
    command.add_argument("--rates", required=True)
    command.add_argument("assignments", nargs="*", metavar="NAME=value")
    command.set_defaults(do=_rates)

    command = commands.add_parser("convert", help="write a scan or a reconstruction in another format")
    command.add_argument("source", type=Path, metavar="IN")
    command.add_argument("target", type=Path, metavar="OUT", help="its suffix names the format")
    command.add_argument("--to", metavar="NAME", help="the format, where the suffix of OUT does not name it")
    command.add_argument(
        "--drop", nargs="+", default=[], metavar="PART", help="what to go without: patterns, probe ..."
    )
    command.add_argument("--pixel-size", type=float, metavar="METRES", help="object pixel, where IN does not tell")
    command.add_argument("--of", type=Path, metavar="SCAN", help="the scan of an arm's reconstruction.npz")
    command.add_argument("--part", default="train", help="of an arm's reconstruction: train, heldout or direct")
    command.set_defaults(do=_convert)

    command = commands.add_parser("inspect", help="say what a scan's file holds, what is missing and what looks wrong")
    command.add_argument("file", type=Path, metavar="FILE")
    command.add_argument("--png", type=Path, help="where its picture goes, default: FILE.inspect.png")
    command.set_defaults(do=_inspect)

    for name, do, words in (
        ("gather", _gather, "put the arms of a sweep together in arms.json"),
        ("report", _report, "write the report for a browser, and the verdict"),
        ("verify", _verify, "judge a study and print the verdict"),
        ("status", _status, "show how far a study is"),
    ):
        command = commands.add_parser(name, help=words)
        command.add_argument("out", type=Path)
        command.set_defaults(do=do)
    return top


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; a wrong value or file is one message and exit status 2."""
    options = parser().parse_args(words)
    try:
        return int(options.do(options))
    except ValueError as error:
        print(f"ptycho: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
