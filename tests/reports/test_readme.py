"""What README and docs show as measured is what the reports hold, and their links lead somewhere."""

import re

import pytest
import readme

DOCUMENTS = {path.name: path for path in readme.documents()}


def text_of(path):
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_tables_are_those_of_the_reports(name):
    text = text_of(DOCUMENTS[name])
    assert readme.written(text) == text, "python tests/readme.py writes the tables anew"


def test_each_table_is_in_one_document():
    found = [heading for path in DOCUMENTS.values() for heading in readme.heads(text_of(path))]
    assert sorted(found) == sorted(readme.TABLES)


def test_what_the_readme_claims_is_what_the_reports_hold():
    words = " ".join(text_of(DOCUMENTS["README.md"]).split())
    for claim in readme.claims():
        assert claim in words


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_to_files(name):
    path = DOCUMENTS[name]
    for target in re.findall(r"\]\(([^)#]+)\)", text_of(path).replace("\n", " ")):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target


def test_the_readme_is_a_screen_or_two():
    assert len(text_of(DOCUMENTS["README.md"]).encode()) <= 8192
