"""What is said when a notebook fails: one short message for the terminal, a report with the rest for the folder."""

from __future__ import annotations

import errno
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptycho import errors

USER_ERRORS = ("ConfigError", "DataError")
"""Errors whose message is all that there is to say."""
STAGES = {
    "simulate": "simulation",
    "train-arm": "training",
    "compare": "visualisation",
    "dose-response": "visualisation",
}
"""What a notebook mainly does: the stage of a cell that has no `stage:` tag."""
_MEMORY = re.compile(r"Killed|MemoryError|_ArrayMemoryError|ResourceExhaustedError|.*: RESOURCE_EXHAUSTED")
_DISK, _WRITE = {errno.ENOSPC, errno.EDQUOT}, {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}


@dataclass(frozen=True)
class Failure:
    """Where and why a notebook stopped."""

    stage: str
    last_step: str
    name: str
    message: str
    traceback: str

    @property
    def summary(self) -> str:
        """The error as the user needs it, in one line."""
        # a user's error may name several faults of one file, a line each
        words = textwrap.shorten("; ".join(self.message.splitlines()), 1000 if self.name in USER_ERRORS else 400)
        return words if self.name in USER_ERRORS else f"{self.name}: {words}"


def advice(failure: Failure) -> str:
    """Return what to try against `failure`, as its kind says; its text is a person's."""
    if failure.name in vars(errors):
        return str(vars(errors)[failure.name].advice)
    number = re.match(r"\[Errno (\d+)\]", failure.message)
    code = int(number[1]) if number else None
    if _MEMORY.match(f"{failure.name}: {failure.message}") or code == errno.ENOMEM:
        return (
            "Memory ran out, as far as can be told. Try fewer arms at a time (JOBS=1) or a smaller GRIDSIZE, or, of a "
            "simulated scan, a smaller N_TRAIN, N_TEST or N. Each is an option of `make study`."
        )
    if code in _DISK:
        return "The disk is full. Free some space, or put the study elsewhere with OUT=<folder>."
    if code in _WRITE:
        return "The study's folder cannot be written. Make it writable, or put the study elsewhere with OUT=<folder>."
    return "Read the traceback and the failed notebook, which holds every output up to the failure."


def diagnose(notebook: Mapping[str, Any], stem: str, fallback: tuple[str, str, str]) -> Failure:
    """Say where and why the partly executed `notebook` (nbformat 4, as JSON), rendered from `stem`.ipynb, stopped.

    `fallback` is (name, message, traceback) for the case that no cell holds an error: the process was killed.
    """
    heading, last_step, mainly = "the notebook's beginning", "none", STAGES.get(stem, stem)
    for cell in notebook.get("cells", []):
        metadata = cell.get("metadata", {})
        tags = metadata.get("tags", [])
        if "papermill-error-cell-tag" in tags:
            continue
        if cell.get("cell_type") == "markdown":
            lines = "".join(cell.get("source", "")).splitlines()
            heading = next((line.lstrip("# ") for line in lines if line.startswith("#")), heading)
        if cell.get("cell_type") != "code":
            continue
        stage = next((tag.partition(":")[2] for tag in tags if tag.startswith("stage:")), mainly)
        raised = [output for output in cell.get("outputs", []) if output.get("output_type") == "error"]
        if raised:
            traceback = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", "\n".join(raised[-1]["traceback"]))  # without its colours
            return Failure(stage, last_step, raised[-1]["ename"], raised[-1]["evalue"], traceback)
        if metadata.get("papermill", {}).get("status") != "completed":
            return Failure(stage, last_step, *fallback)
        if not {"injected-parameters", "parameters"}.intersection(tags):
            last_step = f"{heading} ({stage})"
    return Failure(mainly, last_step, *fallback)


def report(failure: Failure, label: str, notebook: Path | str, when: str) -> str:
    """Return the failure report, in Markdown; `label` is the arm or the notebook, `notebook` what it left behind."""
    return f"""# Blocked: {failure.stage} of {label}

- When: {when}
- Stage: {failure.stage}
- Arm: {"none" if label in STAGES else label}
- Last successful step: {failure.last_step}
- Error: {failure.summary}
- Failed notebook: {notebook}

## What to try

{advice(failure)}

Then give the same `make study` again: it resumes where it stopped; nothing that was finished is done again.

## Traceback

```
{failure.traceback.strip() or failure.summary}
```
"""
