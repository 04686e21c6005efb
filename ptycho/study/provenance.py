"""Where a result comes from: code, versions, machine, seeds, times; nothing that names a person, a host or a folder."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from ptycho import __version__
from ptycho.cores import THREADS, gpus, processor, usable_cores
from ptycho.files import ROOT, write_json
from ptycho.study.layout import PROVENANCE

PACKAGES = ("tensorflow", "keras", "numpy", "scipy", "scikit-image", "matplotlib", "papermill")


def utc_now() -> str:
    """Return the time as ISO 8601 in UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


_STARTED = utc_now()
"""When this module was imported: for a notebook, the start of its run."""


def provenance(arm_dir: str | os.PathLike[str], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Write `arm_dir`/provenance.json and return what it holds.

    `parameters` are those of the run, JSON values, with every derived seed. Call it at the end: `ended_utc` is now.
    Raises ValueError for a parameter that JSON cannot hold.
    """
    record = {
        "ptycho": __version__,
        "git": git_state(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": processor("model name").split(":", 1)[-1].strip(),
        "cpu_count": usable_cores(),
        "gpus": gpus() if "tensorflow" in sys.modules else [],  # not imported for this: it takes seconds
        "threads": {name: os.environ.get(name) for name in THREADS},
        "parameters": dict(parameters),
        "started_utc": _STARTED,
        "ended_utc": utc_now(),
    }
    write_json(Path(arm_dir) / PROVENANCE, record)
    return record


def git_state(root: Path = ROOT) -> dict[str, Any] | None:
    """Return {"commit", "dirty"} of the checkout `root`, or None when it is not one.

    Untracked files do not count, nor does what lies in reports/: a study makes nothing from an earlier one's results.
    """
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!reports")
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit.strip(), "dirty": bool(changed.strip())}


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(root), *words], check=True, capture_output=True, text=True).stdout


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
