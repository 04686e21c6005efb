"""The evidence in reports/: small, complete, listed, and of one piece."""

import csv
import json
import re
import shutil
import subprocess

import pytest
from standins import ROOT

MOST, MOST_OF_A_FILE = 15_000_000, 1_200_000
"""Bytes. The largest files hold the curves of a sweep, one a method, dose and loss."""


@pytest.fixture(scope="module")
def tracked():
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "reports"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).exists()]


def test_the_evidence_is_small(tracked):
    assert sum(path.stat().st_size for path in tracked) <= MOST
    assert [path for path in tracked if path.stat().st_size > MOST_OF_A_FILE] == []


def test_what_is_a_twin_or_can_be_made_again_is_not_tracked(tracked):
    assert [path for path in tracked if path.suffix in (".html", ".pdf", ".npz", ".keras")] == []
    assert [path for path in tracked if path.name == "dose_response.json"] == []  # its numbers are in the tables
    arms = {path.relative_to(ROOT / "reports").parts[0] for path in tracked if path.name == "train-arm.ipynb"}
    assert arms == {"lines", "regression"}


def test_every_report_is_listed_with_its_question_command_date_and_version(tracked):
    table = (ROOT / "reports" / "README.md").read_text()
    row = r"^\| \[([\w-]+)\]\(([^)]+)\) \| [^|]+ \| `make [^|]+ \| (\S+) \| ([^|]+) \|$"
    rows = re.findall(row, table, re.MULTILINE)
    assert {row[0] for row in rows} == {path.relative_to(ROOT / "reports").parts[0] for path in tracked} - {"README.md"}
    for name, link, date, version in rows:
        assert link.startswith(f"{name}/") and (ROOT / "reports" / link) in tracked
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", date) and re.match(r"[0-9a-f]{7}\b", version), name


def test_the_arms_of_a_sweep_are_the_same_in_its_table_its_record_and_its_verdict(tracked):
    gathered = [path for path in tracked if path.name == "arms.json" and path.with_suffix(".csv") in tracked]
    assert len(gathered) > 10
    for path in gathered:
        record = {arm["name"]: arm["status"] for arm in json.loads(path.read_text())["arms"]}
        table = csv.DictReader(path.with_suffix(".csv").read_text().splitlines())
        assert {row["name"]: row["status"] for row in table} == record, path
        assert f"- {len(record)} arms: " in path.with_name("status.txt").read_text()
        assert all(status in ("ok", "collapsed") for status in record.values()), path
