"""Run the slow tests, and leave their result as a report: `python tests/slow.py reports/slow`.

A test's row is written as soon as it has ended, and names the commit of its code. It stands until a file changes that
the test could see: all but reports and the tests of other files. So a run that was stopped goes on where it was, and a
test that was mended runs again alone. With files that are not committed, all run again.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from itertools import groupby
from pathlib import Path

import pytest

from ptycho.figures import output
from ptycho.files import ROOT, rows_of, write_text

BAD = ("failed", "error")
CHANGED = ", changed"
UNSEEN = re.compile(r"(reports/|CHANGELOG\.md$|tests/(.*/)?test_\w+\.py$)")
"""Files that no test sees but, of the last kind, the tests in it."""


class Record:
    """The rows of slow.csv, each a test, and the first lines of status.txt; a pytest plugin that keeps both up to date.

    commit is that of the code; wanted names all slow tests; changed tells the files that differ since another commit.
    """

    def __init__(self, folder: Path, commit: str, wanted: list[str], changed: Callable[[str], list[str]]) -> None:
        self.folder, self.commit, self.wanted = folder, commit, wanted
        kept = [row for row in rows_of(folder / "slow.csv") if row["test"] in wanted and CHANGED not in commit]
        since = {before: changed(before) for before in {row["commit"] for row in kept}}
        self.rows = {row["test"]: row for row in kept if _stands(row["test"], since[row["commit"]])}
        self.parts: dict[str, list[pytest.TestReport]] = {}

    def left(self) -> list[str]:
        """The tests that have no row yet."""
        return [test for test in self.wanted if test not in self.rows]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test has ended when it was taken down: its outcome is the worst of its parts."""
        parts = self.parts.setdefault(report.nodeid, [])
        parts.append(report)
        if report.when in ("setup", "call"):
            return
        outcomes = {"error" if part.failed and part.when != "call" else part.outcome for part in parts}
        outcome = next(word for word in (*BAD, "skipped", "passed") if word in outcomes)
        seconds = f"{sum(part.duration for part in parts):.1f}"
        self.rows[report.nodeid] = {
            "test": report.nodeid,
            "outcome": outcome,
            "seconds": seconds,
            "commit": self.commit,
        }
        self.write()

    def write(self) -> None:
        """Write slow.csv, the slowest test first, and status.txt."""
        rows = sorted(self.rows.values(), key=lambda row: -float(row["seconds"]))
        output.save_rows(self.folder / "slow.csv", rows)
        write_text(self.folder / "status.txt", self.status())

    def status(self) -> str:
        """Whether all tests have passed, how many, of which code and when, and which have not."""
        counts = {
            word: sum(row["outcome"] == word for row in self.rows.values()) for word in ("passed", "skipped", *BAD)
        }
        left = len(self.left())
        first = "FAILED" if any(counts[word] for word in BAD) else "UNFINISHED" if left else "PASSED"
        if not counts["passed"] and not left:
            first = "FAILED"  # tests that are all skipped show nothing
        told = [f"{n} {word}" for word, n in counts.items() if n] + [f"{left} to come"] * bool(left)
        day = datetime.now(timezone.utc).date().isoformat()
        commits = " and ".join(sorted({row["commit"] for row in self.rows.values()})) or self.commit
        lines = [first, f"- {', '.join(told) or 'there is no test'}, of {commits}, on {day}"]
        lines += [f"- {row['outcome']}: {test}" for test, row in sorted(self.rows.items()) if row["outcome"] in BAD]
        return "\n".join(lines) + "\n"


def _stands(test: str, changed: list[str]) -> bool:
    """Whether a test would end as it did before these files changed."""
    return all(UNSEEN.match(path) and path != test.partition("::")[0] for path in changed)


def _git(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)


def commit_of(root: Path) -> str:
    """The commit of the code, and whether files other than reports differ from it."""
    head = _git(root, "rev-parse", "--short", "HEAD").stdout.strip() or "no commit"
    return head + CHANGED * bool(_git(root, "status", "--porcelain", "--", ".", ":!reports").stdout)


def changed_since(root: Path, commit: str) -> list[str]:
    """The files that differ between a commit and the present one; of a commit that is not known, all."""
    found = _git(root, "diff", "--name-only", commit, "HEAD")
    return found.stdout.splitlines() if not found.returncode else ["."]


def slow_tests() -> list[str]:
    """The names of all slow tests. Raises SystemExit, with pytest's words, when they cannot be collected."""
    asked = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "slow", "-n", "0"]
    found = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode:
        sys.exit(found.stdout + found.stderr)
    return [line for line in found.stdout.splitlines() if "::" in line]


def main(out: str) -> int:
    """Write slow.csv and status.txt into the folder `out`; 0 when all tests passed."""
    record = Record(ROOT / out, commit_of(ROOT), slow_tests(), partial(changed_since, ROOT))
    # each file by new processes: those that have run the tests of many keep gigabytes, which the next would lack
    for _, tests in groupby(record.left(), lambda test: test.partition("::")[0]):
        pytest.main(["-n", "auto", "--maxprocesses", "2", "-m", "slow", *tests], plugins=[record])
    status = record.status()
    print(status, end="")
    return 0 if status.startswith("PASSED") else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
