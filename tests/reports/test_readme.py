"""What the README shows as measured is what the reports hold."""

import pytest
import readme


def test_the_tables_are_those_of_the_reports():
    text = (readme.ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.written(text) == text, "python tests/readme.py writes the tables anew"


def test_a_table_that_is_missing_is_named():
    with pytest.raises(ValueError, match=r"has 0 tables that begin with '\| FRC50, means"):
        readme.written("# ptycho\n")
