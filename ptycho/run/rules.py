"""The rules by which make makes a study or a sweep, written from the table of stages."""

import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from ptycho.files import NOTEBOOKS
from ptycho.study import layout
from ptycho.study.campaigns import Request
from ptycho.study.layout import Stage

ALL = 1_000_000
"""The jobs of `make -j`: as many as there are."""

HEAD = """\
# Written by ptycho: what is made from what, and how.
.SUFFIXES:
.PHONY: pipeline arms gathered
# what a finished stage left beside its notebook, should it have gone
lost = $(if $(filter-out $(wildcard $1),$1),FORCE)
FORCE:
"""


def rules(request: Request, jobs: int) -> str:
    """The rules for what was asked for, `jobs` stages at a time.

    The goals are ``pipeline`` for a study, ``arms`` and ``gathered`` for a sweep. Paths hold no character that make or
    a shell reads otherwise (:func:`ptycho.study.campaigns.folder`).
    """
    out, seeds, config = request.out, request.seeds, request.config
    python = f"{shlex.quote(sys.executable)} -m ptycho"
    notebooks = NOTEBOOKS.relative_to(Path.cwd()) if NOTEBOOKS.is_relative_to(Path.cwd()) else NOTEBOOKS
    # where a command runs does not change the command
    there = f"{python} submit {shlex.quote(request.scheduler)} {python}" if request.scheduler else python
    asked = {**config.values("doses", "losses", "methods"), "seeds": seeds, "measured": config.scan is not None}
    stages = layout.sweep_stages(asked) if seeds else layout.study_stages(asked)
    pages = f"{python} report {out} > /dev/null"  # whose end says where the report is
    arms = [stage.rendered for stage in stages if stage.notebook == "train-arm"]
    share = " --jobs '{jobs}'" if request.scheduler else f" --jobs {min(jobs, len(arms))}"

    def run(stage: Stage, where: str = there) -> str:
        notebook = shlex.quote(str(notebooks / f"{stage.notebook}.ipynb"))
        command = f"{where} run {notebook} $@ --parameters {out}/{stage.parameters}"
        command += f" --log {out}/{stage.seed}{layout.LOG} --within {out}"
        return command + (share if stage.notebook in ("train-arm", "resolution") else "")

    made = {stage.rendered: (stage.needs, run(stage), stage.outputs) for stage in stages}
    for stage in stages:
        if stage.notebook == "simulate":
            # The notebook leaves a scan alone whose content did not change: the arms of it are then not made again.
            made |= {path: ((stage.rendered,), ":", ()) for path in stage.outputs}
    if not seeds:
        made[layout.INDEX] = ((stages[-1].rendered,), pages, ())
        goals = {"pipeline": ([layout.INDEX], ":")}
    else:
        bounds = []
        for folder in (f"{layout.seed_folder(seed)}/" for seed in seeds):
            scans = tuple(folder + layout.scan_file(config.doses[0], split) for split in layout.SPLITS)
            command = f"{there} bound {out}/{folder} --log {out}/{folder}{layout.LOG}{share}"
            made[folder + layout.BOUND] = (scans, command, ())
            bounds.append(folder + layout.BOUND)
        last = layout.gathering()
        made[layout.ARMS] = (("FORCE",), f"{python} gather {out}", ())
        made[last.rendered] = (last.needs, run(last, python), last.outputs)
        made[layout.INDEX] = ((last.rendered,), pages, ())
        goals = {"arms": (arms + bounds, ":"), "gathered": ([layout.INDEX], ":")}

    lines = [HEAD]
    for target, (needs, command, left) in made.items():
        lost = f" $(call lost,{_paths(out, left)})" if left else ""
        lines.append(f"{out}/{target}: {_paths(out, needs)}{lost}\n\t@{command}")
    lines += [f"{name}: {_paths(out, needs)}\n\t@{command}" for name, (needs, command) in goals.items()]
    # written by the plan; a dry run comes here without them
    planned = {need for needs, _, _ in made.values() for need in needs if need.endswith((".yaml", ".sha256"))}
    lines += [f"{_paths(out, sorted(planned))}:\n\t@test -f $@"]
    return "\n".join(lines) + "\n"


def _paths(out: str, names: Iterable[str]) -> str:
    return " ".join(name if name == "FORCE" else f"{out}/{name}" for name in names)
