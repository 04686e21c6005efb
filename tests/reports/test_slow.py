"""The report of the slow tests: what ran, what became of it, and a first line that a failure changes."""

import csv
import subprocess

import pytest
import slow

OF_B = "tests/b/test_b.py"
A, B, C, D = "tests/test_a.py::test_a[4-8]", f"{OF_B}::test_b", "tests/test_c.py::test_c", "tests/test_d.py::test_d"


def ended(record, test, setup="passed", call="passed", teardown="passed"):
    """What pytest tells a plugin of one test, a part at a time, 1 s each."""
    parts = {"setup": setup, "call": call, "teardown": teardown}
    if setup != "passed":
        del parts["call"]
    for when, outcome in parts.items():
        record.pytest_runtest_logreport(pytest.TestReport(test, (test, 1, ""), {}, outcome, None, when, duration=1.0))


def begun(folder, commit, wanted, changed=()):
    """A record, where `changed` are the files that differ since any other commit."""
    return slow.Record(folder, commit, wanted, lambda before: list(changed) if before != commit else [])


def rows(folder):
    return {row["test"]: row for row in csv.DictReader((folder / "slow.csv").read_text().splitlines())}


def test_every_test_has_a_row_as_soon_as_it_ended_and_a_failure_is_told_first(tmp_path):
    record = begun(tmp_path, "abc", [A, B, C, D])
    ended(record, A)
    assert rows(tmp_path) == {A: {"test": A, "outcome": "passed", "seconds": "3.0", "commit": "abc"}}
    assert (tmp_path / "status.txt").read_text().startswith("UNFINISHED\n- 1 passed, 3 to come, of abc, on 2")
    ended(record, B, setup="skipped")
    assert rows(tmp_path)[B]["outcome"] == "skipped" and record.left() == [C, D]
    ended(record, C, call="failed")
    told = (tmp_path / "status.txt").read_text().splitlines()
    assert told[0] == "FAILED" and told[2:] == [f"- failed: {C}"]
    assert told[1].startswith("- 1 passed, 1 skipped, 1 failed, 1 to come, of abc")
    ended(record, D, teardown="failed")
    assert rows(tmp_path)[D]["outcome"] == "error"
    assert (tmp_path / "status.txt").read_text().splitlines()[2:] == [f"- error: {D}", f"- failed: {C}"][::-1]


def test_a_worker_that_died_fails_its_test(tmp_path):
    record = begun(tmp_path, "abc", [A])
    record.pytest_runtest_logreport(pytest.TestReport(A, (A, 1, ""), {}, "failed", "crashed", "???", duration=0.0))
    assert rows(tmp_path)[A]["outcome"] == "error" and record.status().startswith("FAILED\n")


def test_all_passed_and_nothing_but_skipped(tmp_path):
    record = begun(tmp_path, "abc", [A, B])
    ended(record, A, setup="skipped")
    assert record.status().startswith("UNFINISHED\n")
    ended(record, B)
    assert record.status().startswith("PASSED\n- 1 passed, 1 skipped, of abc, on 2")
    alone = begun(tmp_path, "abc", [A])
    assert alone.left() == [] and alone.status().startswith("FAILED\n")  # skipped tests show nothing


def test_a_stopped_run_goes_on_where_it_was(tmp_path):
    ended(begun(tmp_path, "abc", [A, B]), A)
    assert begun(tmp_path, "abc", [A, B, C]).left() == [B, C]
    assert begun(tmp_path, "abc", [B]).rows == {}  # a test that is no more has no row
    ended(begun(tmp_path, f"abc{slow.CHANGED}", [A, B]), A)  # the next change of files is another
    assert begun(tmp_path, f"abc{slow.CHANGED}", [A, B]).left() == [A, B]


@pytest.mark.parametrize("seen", ["ptycho/a.py", "Makefile", "tests/standins.py", "notebooks/compare.ipynb", "."])
def test_what_a_test_sees_has_it_run_again_and_its_own_file_it_alone(tmp_path, seen):
    first = begun(tmp_path, "abc", [A, B])
    ended(first, A)
    ended(first, B, call="failed")
    unseen = ["reports/slow/slow.csv", "CHANGELOG.md", "tests/run/test_c.py"]
    assert begun(tmp_path, "def", [A, B], unseen).left() == []
    assert begun(tmp_path, "def", [A, B], [*unseen, seen]).left() == [A, B]
    again = begun(tmp_path, "def", [A, B], [*unseen, OF_B])
    assert again.left() == [B]
    ended(again, B)
    assert again.status().startswith("PASSED\n- 2 passed, of abc and def, on 2")


def test_the_commit_says_whether_files_were_changed(tmp_path):
    assert slow.commit_of(tmp_path).startswith("no commit")

    def git(*words):
        author = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        subprocess.run(["git", *author, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-q")
    (tmp_path / "code.py").write_text("1\n")
    git("add", "code.py")
    git("commit", "-qm", "first")
    head = slow.commit_of(tmp_path)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "slow.csv").write_text("a\n")
    assert slow.commit_of(tmp_path) == head and "changed" not in head
    assert slow.changed_since(tmp_path, head) == [] and slow.changed_since(tmp_path, "123") == ["."]
    (tmp_path / "code.py").write_text("2\n")
    assert slow.commit_of(tmp_path) == f"{head}, changed"
    git("commit", "-qam", "second")
    assert slow.changed_since(tmp_path, head) == ["code.py"]
