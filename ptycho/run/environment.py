"""Are the packages that the project needs here? Standard library only, for it runs before they are installed."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

from ptycho.files import ROOT

_REQUIREMENT = re.compile(r'^\s+"([A-Za-z0-9._-]+)>=([0-9.]+)",', re.MULTILINE)


def requirements(pyproject: Path = ROOT / "pyproject.toml") -> dict[str, str]:
    """Return {distribution: least version} of `pyproject`, development tools included.

    Read with a regular expression because Python 3.10 has no TOML reader; a test compares it with one.
    """
    return dict(_REQUIREMENT.findall(pyproject.read_text(encoding="utf-8")))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def first_missing(needed: dict[str, str]) -> str | None:
    """Return, in words, the first of `needed` ({distribution: least version}) that is absent or too old, or None."""
    for name, least in needed.items():
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            return f"{name} is not installed"
        if _numbers(found) < _numbers(least):
            return f"{name} is {found}, {least} or later is needed"
    return None


def main() -> int:
    """Print one message and return 1 if the active environment lacks a package, else return 0."""
    missing = first_missing(requirements())
    if missing is None:
        return 0
    print(
        f"The active environment ({sys.prefix}) cannot be used: {missing}.\n"
        f"Either install what is needed:  {sys.executable} -m pip install -r requirements.lock\n"
        "or deactivate the environment: make then sets up its own in .venv.",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
