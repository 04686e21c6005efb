"""The site of `make docs`: it builds without a warning, its links lead somewhere, and it needs no network."""

import re
import shutil
import subprocess
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from standins import ROOT, environment

from ptycho.scans.formats import FORMATS

DOCS = ROOT / "docs"


def text_of(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_every_page_is_in_one_list_of_the_index():
    lists = re.findall(r"^```\{toctree\}\n(.*?)^```$", text_of("index.md"), re.MULTILINE | re.DOTALL)
    listed = [line for text in lists for line in text.splitlines() if line and not re.search("[:/]", line)]
    assert sorted(listed) == sorted(path.stem for path in DOCS.glob("*.md") if path.stem != "index")


def test_the_page_of_formats_has_all_that_are_read_and_all_that_are_written():
    text = text_of("formats.md")
    assert set(re.findall(r"^\| `(.+?)` \|", text, re.MULTILINE)) == {kind.NAME for kind in FORMATS}
    written = re.search(r"^`convert` writes (.*)\.$", text, re.MULTILINE)[1]
    assert set(re.findall("`(.+?)`", written)) == {kind.NAME for kind in FORMATS if hasattr(kind, "write")}


# --- the site, built -------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """What a page links to, what it loads, and the places that a link can lead to."""

    def __init__(self, path: Path):
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.places: set[str] = set()
        self.tags: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        values = defaultdict(str, {name: value or "" for name, value in attrs})
        self.tags.add(tag)
        self.places |= {values["id"], values["name"]} - {""}
        self.links += [values["href"]] if tag == "a" and values["href"] else []
        self.loaded += [values["href"]] if tag == "link" and values["href"] else []
        self.loaded += [values[name] for name in ("src", "data") if values[name]]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Built by `make docs` in a copy of what is tracked: nothing is left in the checkout."""
    if not all(map(shutil.which, ("git", "make"))) or not (ROOT / ".git").exists():
        pytest.skip("needs git, make and a git checkout")
    copy = tmp_path_factory.mktemp("checkout")
    others = ["--cached", "--others", "--exclude-standard"]
    names = subprocess.run(["git", "ls-files", "-z", *others], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, names.stdout.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    for words in (("init", "-q"), ("add", "-A")):
        subprocess.run(["git", *words], cwd=copy, check=True)
    done = subprocess.run(["make", "docs"], cwd=copy, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return (copy / "build" / "docs").resolve()


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in site.rglob("*.html")}


@pytest.mark.slow
def test_every_document_notebook_and_module_has_a_page(site, pages):
    for folder in ("notebooks", "reports"):
        tracked = subprocess.run(
            ["git", "ls-files", f"{folder}/*.ipynb"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        for name in tracked.stdout.split():
            assert (site / name).with_suffix(".html").is_file(), name
    for path in DOCS.glob("*.md"):
        assert (site / "docs" / path.stem).with_suffix(".html").is_file(), path.name
    for path in (ROOT / "ptycho").rglob("*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if not path.name.startswith("__main__"):
            assert (site / "docs" / "api" / f"{module}.html").is_file(), module
    assert "ptycho.physics.losses.poisson_deviance" in pages[site / "docs/api/ptycho.physics.losses.html"].places
    assert 'url=docs/index.html"' in (site / "index.html").read_text()


@pytest.mark.slow
def test_every_link_inside_the_site_leads_to_a_page_and_a_place_in_it(site, pages):
    wrong = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            place = unquote(parts.fragment) if target in pages else ""
            there = target.is_file() and target.is_relative_to(site)
            if not there or (place and place not in pages[target].places):
                wrong.append(f"{path.relative_to(site)}: {link}")
    assert not wrong


@pytest.mark.slow
def test_nothing_is_loaded_from_elsewhere(site, pages):
    for path, page in pages.items():
        for loaded in page.loaded:
            parts = urlsplit(loaded)
            assert parts.scheme in ("", "data") and not parts.netloc, f"{path.relative_to(site)}: {loaded}"
            if parts.path and not parts.scheme:
                assert (path.parent / unquote(parts.path)).is_file(), f"{path.relative_to(site)}: {loaded}"
    for path in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", path.read_text(encoding="utf-8")), path.name


@pytest.mark.slow
def test_equations_are_drawn_by_the_browser_and_outputs_are_shown(site, pages):
    for name in ("docs/methods", "reports/lines/simulate", "reports/sweep/dose-response"):
        page = pages[site / f"{name}.html"]
        assert "math" in page.tags and not any("mathjax" in loaded.lower() for loaded in page.loaded)
    assert any("img" in pages[path].tags for path in (site / "reports" / "sweep").glob("*.html"))
    assert (site / "searchindex.js").stat().st_size > 100_000
