"""The report of the slow tests: what ran, what became of it, and a first line that a failure changes."""

import slow

JUNIT = """<testsuites><testsuite name="pytest">
<testcase classname="tests.run.test_sizes" name="test_a[48]" time="12.34"/>
<testcase classname="tests.judge.test_trust" name="test_b" time="99.96"><failure message="no">why</failure></testcase>
<testcase classname="tests.run.test_wheel" name="test_c" time="0.1"><skipped message="no make"/></testcase>
</testsuite></testsuites>"""


def test_every_test_has_a_row_and_a_failure_is_told_first(tmp_path):
    (tmp_path / "slow.xml").write_text(JUNIT)
    rows = slow.outcomes(tmp_path / "slow.xml")
    assert rows == [
        {"test": "tests/judge/test_trust::test_b", "outcome": "failure", "seconds": 100.0},
        {"test": "tests/run/test_sizes::test_a[48]", "outcome": "passed", "seconds": 12.3},
        {"test": "tests/run/test_wheel::test_c", "outcome": "skipped", "seconds": 0.1},
    ]
    told = slow.status(rows, "abc", "2026-11-30").splitlines()
    assert told == [
        "FAILED",
        "- 1 passed, 1 skipped, 1 failure, of abc, on 2026-11-30",
        "- failure: tests/judge/test_trust::test_b",
    ]
    assert slow.status(rows[1:], "abc", "2026-11-30").startswith("PASSED\n")
    assert slow.status(rows[2:], "abc", "2026-11-30").startswith("FAILED\n")  # nothing but skipped tests shows nothing
