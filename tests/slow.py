"""Run the slow tests, and leave their result as a report: `python tests/slow.py reports/slow`."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from xml.etree import ElementTree

from ptycho.figures import output
from ptycho.files import ROOT, write_text

UNKNOWN = 70  # pytest's own status is below


def outcomes(report: Path) -> list[dict[str, str | float]]:
    """A row for each test in a JUnit file: its name, what became of it, and its seconds, the slowest first."""
    rows: list[dict[str, str | float]] = []
    for case in ElementTree.parse(report).iter("testcase"):
        found = {child.tag for child in case} & {"failure", "error", "skipped"}
        name = f"{case.get('classname', '').replace('.', '/')}::{case.get('name')}"
        seconds = round(float(case.get("time", "nan")), 1)
        rows.append({"test": name, "outcome": next(iter(found), "passed"), "seconds": seconds})
    return sorted(rows, key=lambda row: -float(row["seconds"]))


def status(rows: list[dict[str, str | float]], commit: str, day: str) -> str:
    """What the report says first: whether all passed, how many, of which code and when, and what did not pass."""
    counts = {word: sum(row["outcome"] == word for row in rows) for word in ("passed", "skipped", "failure", "error")}
    good = counts["passed"] > 0 and not counts["failure"] + counts["error"]
    told = ", ".join(f"{n} {word}" for word, n in counts.items() if n)
    lines = ["PASSED" if good else "FAILED", f"- {told or 'no test ran'}, of {commit}, on {day}"]
    lines += [f"- {row['outcome']}: {row['test']}" for row in rows if row["outcome"] in ("failure", "error")]
    return "\n".join(lines) + "\n"


def main(out: str) -> int:
    """Write slow.csv and status.txt into the folder `out`; the status of pytest."""
    report = ROOT / "build" / "slow.xml"
    report.parent.mkdir(exist_ok=True)
    report.unlink(missing_ok=True)
    tests = [sys.executable, "-m", "pytest", "-n", "auto", "--maxprocesses", "2", "-m", "slow", f"--junitxml={report}"]
    done = subprocess.run(tests, cwd=ROOT, check=False)
    if not report.exists():
        return done.returncode or UNKNOWN
    head = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    rows, folder = outcomes(report), Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    output.save_rows(folder / "slow.csv", rows)
    day = datetime.now(timezone.utc).date().isoformat()
    write_text(folder / "status.txt", status(rows, head.stdout.strip() or "no commit", day))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
