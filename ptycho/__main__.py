"""The command line, `ptycho`: a study, a sweep and campaigns, what they come to, and a scan's file."""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ptycho import __version__
from ptycho.config import assigned
from ptycho.errors import ConfigError, NonFiniteError, TrainingError
from ptycho.run import cluster, engine, environment, lab, stage, watch
from ptycho.study import layout, status, sweep
from ptycho.study.campaigns import CAMPAIGNS, HOW, ask, folder, refused, variables
from ptycho.study.config import PARAMETERS


def _perform(options: argparse.Namespace) -> int:
    words = assigned(options.words)
    for name in [*PARAMETERS, *HOW]:
        if (value := getattr(options, name, None)) is not None:
            words[name] = " ".join(value) if isinstance(value, list) else value
    return engine.perform(ask(options.target, words))


def _run(options: argparse.Namespace) -> int:
    if options.within is not None:
        status.mark_unfinished(options.within, after_success=True)
    return stage.run(options.notebook, options.output, options.parameters, options.log, options.jobs, options.within)


def _bound(options: argparse.Namespace) -> None:
    # what TensorFlow's C++ writes to descriptor 2 goes to the log, Python's own messages to where they went before
    sys.stderr = os.fdopen(os.dup(2), "w")
    with open(options.log, "ab") as log:
        os.dup2(log.fileno(), 2)
    with tempfile.TemporaryDirectory() as scratch:
        mine = environment.of_kernel(options.jobs, scratch)
        os.environ.clear()
        os.environ.update(mine)
        from ptycho.study import bounds

        with stage.marked((options.out / layout.BOUND).with_suffix(layout.RUNNING)):
            bounds.write(options.out)


def _gather(options: argparse.Namespace) -> None:
    sweep.collect(options.out)


def _variables(options: argparse.Namespace) -> None:
    print('\nVariables of a study, with their defaults (make study NEPOCHS=50 DOSES="1e9 1e6"):')
    for name, (default, words) in variables("study").items():
        print(f"  {name:13s} {default:18s} {words}")


def _convert(options: argparse.Namespace) -> None:
    from ptycho.scans import formats

    words = {k: getattr(options, k) for k in ("to", "drop", "pixel_size", "of", "part", "mapping")}
    for note in formats.convert(options.source, options.target, **words):
        print(f"left aside: {note}")
    print(options.target)


def _reconstruct(options: argparse.Namespace) -> None:
    from ptycho.figures import output
    from ptycho.figures.objects import reconstructed
    from ptycho.reconstruct.networks import model
    from ptycho.reconstruct.whole import once
    from ptycho.scans.formats import objects

    kinds = {target: objects.writer(target) for target in options.output}
    if options.method == "network" and options.model is None:
        raise ConfigError("--method network needs --model M.keras, such as an arm of a study leaves in its folder")
    network = None if options.model is None or options.method == "direct" else model.load_any(options.model)
    how: dict[str, Any] = {"report": partial(print, flush=True), "accept": partial(objects.check, kinds)}
    made = once.reconstruct(options.scan, network, uncertainty=options.uncertainty, **how)
    for target, write in kinds.items():
        if write is None:
            output.save_png(reconstructed(made.found, made.sigma), target)
        else:
            write(target, made.found, made.data, made.sigma)
    print(made, *options.output, sep="\n")


def _report(options: argparse.Namespace) -> None:
    from ptycho.site import report

    print(f"report: {report.write(folder(options.out))}")


def _inspect(options: argparse.Namespace) -> int:
    from ptycho.figures import inspection, output
    from ptycho.scans import inspect

    found = inspect.inspect(options.scan, options.mapping, options.material)
    print(json.dumps(found.as_dict(), indent=2) if options.json else found)
    if found.seen is not None and (options.png or not options.json):
        beside = Path(f"{options.scan}.inspect.png")
        # data often lie where nobody may write
        png = options.png or (beside if os.access(beside.parent, os.W_OK) else Path(beside.name))
        try:
            output.save_png(inspection.inspection(*found.seen), png)
        except OSError as error:
            raise ConfigError(f"{png}: cannot be written ({error.strerror}); name another with --png") from error
        if not options.json:
            print(f"picture: {png}")
    return 1 if found.wrong else 0


def _add_requests(add: Callable[..., argparse.ArgumentParser]) -> None:
    """A command for each of CAMPAIGNS; parameters are options, or words as the Makefile's variables."""
    for target, campaign in CAMPAIGNS.items():
        words = f"{campaign.meaning}; the same as `make {target}`"
        command = add(target, _perform, help=campaign.meaning, description=words, allow_abbrev=False)
        command.set_defaults(target=target)
        for name, (default, meaning) in variables(target).items():
            if refused(target, name):
                continue
            several = name in ("DOSES", "LOSSES", "METHODS", "SEEDS", "RATES")
            option = "--output-dir" if name == "OUT" else f"--{name.lower().replace('_', '-')}"
            told = f"{meaning} (default: {default})" if default else meaning
            command.add_argument(option, dest=name, nargs="+" if several else None, metavar=name, help=told)
        command.add_argument("words", nargs="*", metavar="NAME=value", help="the same parameters, as make writes them")


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = argparse.ArgumentParser(
        prog="ptycho",
        description="Dose-response studies for ptychography: how many photons, which loss, how sure.",
        epilog="The stages of a study run by commands of their own: run, bound, gather, verify, submit, variables.",
    )
    top.add_argument("--version", action="version", version=f"ptycho {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND", title="commands")

    def add(name: str, do: Callable[[argparse.Namespace], int | None], **how: Any) -> argparse.ArgumentParser:
        command = commands.add_parser(name, **how)
        command.set_defaults(do=do)
        return command

    _add_requests(add)
    for name, do, words in (
        ("status", lambda given: print(watch.tell(folder(given.out))), "show how far a study or sweep is"),
        ("report", _report, "write the report and the verdict of a study, sweep or campaign anew"),
        ("clean", lambda given: engine.clean(Path(folder(given.out))), "remove a study or sweep, and no other files"),
    ):
        default = CAMPAIGNS["study"].defaults["OUT"]
        command = add(name, do, help=words, description=words)
        command.add_argument("out", nargs="?", default=default, help=f"its folder (default: {default})")

    command = add("inspect", _inspect, help="say what a scan's file holds, what is missing and what looks wrong")
    command.add_argument("scan", metavar="SCAN", help="a scan's file, or siemens-star")
    beside = "beside the scan, else in this folder, SCAN.inspect.png"
    command.add_argument("--png", type=Path, help=f"where its picture goes (default: {beside})")
    command.add_argument("--json", action="store_true", help="print it as JSON, and draw only where --png asks for it")
    command.add_argument("--material", metavar="FORMULA", help="of the sample, like H50C30N9O10S1: tells gray")
    mapping = "a YAML that tells how to read it (default: SCAN.map.yaml, where there is one)"
    command.add_argument("--map", type=Path, dest="mapping", metavar="MAP", help=mapping)

    command = add("reconstruct", _reconstruct, help="reconstruct one scan, without a study and without training")
    command.add_argument("scan", metavar="SCAN", help="a scan's file, or siemens-star")
    command.add_argument("--model", type=Path, metavar="M.keras", help="a trained network, such as a study leaves")
    command.add_argument("--method", choices=("direct", "network"), help="network with --model, else direct: a fit")
    command.add_argument("--uncertainty", action="store_true", help="find the standard deviation of each pixel, too")
    kinds = "NPZ, ptychodus product (.h5) or picture (.png), by the suffix; several may be given"
    command.add_argument("-o", "--output", type=Path, nargs="+", required=True, metavar="OUT", help=kinds)

    command = add("convert", _convert, help="write a scan or a reconstruction in another format")
    command.add_argument("source", type=Path, metavar="IN")
    command.add_argument("target", type=Path, metavar="OUT", help="its suffix names the format")
    command.add_argument("--to", metavar="NAME", help="the format, where the suffix of OUT does not name it")
    parts = "what to go without: patterns, probe ..."
    command.add_argument("--drop", nargs="+", default=[], metavar="PART", help=parts)
    command.add_argument("--pixel-size", type=float, metavar="METRES", help="object pixel, where IN does not tell")
    command.add_argument("--of", type=Path, metavar="SCAN", help="the scan of an arm's reconstruction.npz")
    command.add_argument("--part", default="train", help="of an arm's reconstruction: train, heldout or direct")
    command.add_argument("--map", type=Path, dest="mapping", metavar="MAP", help=mapping.replace("SCAN", "IN"))

    words = "open JupyterLab on the notebooks"
    command = add("lab", lambda given: lab.open_notebooks(assigned(given.words)), help=words, description=words)
    command.add_argument("words", nargs="*", metavar="NAME=value", help=f"where it listens: {lab.ACCEPTED}")
    _add_stages(add)
    return top


def _add_stages(add: Callable[..., argparse.ArgumentParser]) -> None:
    """What make calls; without a line in the help, where users look."""
    run = add("run", _run, description="execute one notebook")
    run.add_argument("notebook", type=Path)
    run.add_argument("output", type=Path)
    run.add_argument("--parameters", type=Path, required=True, help="YAML file")
    bound = add("bound", _bound, description="compute the Cramér-Rao bounds of a study's scans")
    bound.add_argument("out", type=Path)
    for command in (run, bound):
        command.add_argument("--log", type=Path, required=True)
        command.add_argument("--jobs", type=int, default=1, help="notebooks that share the cores")
    run.add_argument("--within", type=Path, metavar="OUT", help="of a study or sweep: only log what it prints")

    how = "run a command on a dask cluster"
    submit = add("submit", lambda given: cluster.submit(given.scheduler, given.words), description=how)
    submit.add_argument("scheduler", metavar="ADDRESS")
    submit.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")

    gather = add("gather", _gather, description="put the arms of a sweep together in arms.json")
    gather.add_argument("out", type=Path)
    verify = add("verify", lambda given: engine.verify(given.out), description="judge a study and print the verdict")
    verify.add_argument("out", type=Path)
    add("variables", _variables, description="print what `make help` says of a study's variables")


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; a wrong value or file, or a fit that diverged, is one message and exit status 2."""
    options = parser().parse_args(words)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # where a terminal has no λ, as stderr does
    try:
        status = options.do(options) or 0
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever read the output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (TrainingError, NonFiniteError) as error:
        told = f"{error}\n{error.advice}"
    except ValueError as error:
        told = str(error)
    except OSError as error:
        reason = " ".join(str(error.strerror or error).split())  # HDF5 says it in three lines
        told = reason if error.filename is None else f"{error.filename}: {reason}"
    except ModuleNotFoundError as error:
        if (error.name or "ptycho").partition(".")[0] == "ptycho":
            raise
        told = f"{error.name} is not installed for {sys.executable}"
        told += "; use .venv/bin/ptycho, which `make study` sets up, or pip install ."
    except KeyboardInterrupt:
        return 130
    print(f"ptycho: {told}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
