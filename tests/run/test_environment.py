"""pyproject.toml, requirements.lock and environment.yml say the same, and no tracked file says where it was made."""

import json
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from standins import ROOT

from ptycho import __version__
from ptycho.__main__ import parser
from ptycho.run import environment

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
BLOCK = re.compile(r"^([a-z0-9][^ \\]*==[^\\\n]*?) *\\\n((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)


def lock() -> list[Requirement]:
    return [Requirement(line) for line, _ in BLOCK.findall((ROOT / "requirements.lock").read_text())]


def declared() -> list[Requirement]:
    tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")  # which comes with pytest
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [Requirement(word) for word in [*project["dependencies"], *project["optional-dependencies"]["dev"]]]


def test_every_line_of_the_lock_has_hashes():
    text = (ROOT / "requirements.lock").read_text()
    pinned = re.findall(r"^[A-Za-z0-9]\S*", text, re.MULTILINE)
    assert len(pinned) == len(lock()) > 50
    rest = BLOCK.sub("", text)
    assert [line for line in rest.splitlines() if line.strip() and not line.lstrip().startswith("#")] == []


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_satisfies_the_project_on_every_python(python):
    at = {"python_version": python, "python_full_version": f"{python}.5", "sys_platform": "linux"}
    pinned: dict[str, Version] = {}
    for line in lock():
        if line.marker is None or line.marker.evaluate(at):
            name = canonicalize_name(line.name)
            assert name not in pinned, f"{name} twice on Python {python}"
            pinned[name] = Version(next(iter(line.specifier)).version)
    for need in declared():
        assert pinned[canonicalize_name(need.name)] in need.specifier, need


def test_the_minimal_reader_reads_what_a_toml_reader_reads():
    assert environment.requirements() == {need.name: next(iter(need.specifier)).version for need in declared()}


def test_versions_agree():
    text = (ROOT / "pyproject.toml").read_text()
    assert re.search(r'^version = "(.*)"$', text, re.MULTILINE)[1] == __version__
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.search(r'^requires-python = "(.*)"$', text, re.MULTILINE)[1] == ">=3.10,<3.14"


def test_the_conda_environment_takes_its_packages_from_the_lock():
    content = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, packages = content["dependencies"]
    assert conda == ["python >=3.10,<3.14", "pip", "make"]
    assert packages == {"pip": ["-r requirements.lock"]}


def test_containers_take_their_packages_from_the_lock():
    assert "pip install --no-cache-dir --require-hashes -r requirements.lock\n" in (ROOT / "Dockerfile").read_text()
    binder = ROOT / ".binder"
    assert (binder / "requirements.txt").read_text() == "-r ../requirements.lock\n"
    program, *words = json.loads((ROOT / "Dockerfile").read_text().rpartition("\nCMD ")[2])
    assert program == "ptycho" and parser().parse_args(words).words == ["HOST=0.0.0.0"]
    python = (binder / "runtime.txt").read_text().strip().removeprefix("python-")
    assert python in PYTHONS and f"\nFROM python:{python}-slim\n" in (ROOT / "Dockerfile").read_text()


def test_this_environment_has_what_is_needed():
    assert environment.first_missing(environment.requirements()) is None


@pytest.mark.parametrize(
    ("needed", "message"),
    [
        ({"numpy": "1.0", "no-such-package": "1.0", "another": "2"}, "no-such-package is not installed"),
        ({"numpy": "1000.0"}, r"numpy is [\d.]+, 1000\.0 or later is needed"),
    ],
)
def test_the_first_missing_package_is_named(needed, message):
    assert re.fullmatch(message, environment.first_missing(needed))


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, ptycho, ptycho.study.plan, ptycho.run.stage"
    code += "; print({'numpy', 'tensorflow', 'yaml'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def tracked() -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_tracked_file_tells_where_it_was_made():
    folders = re.compile(r"(?<![\w.~/-])/(home|root|Users|work|mnt|opt|workspace)/\w|[A-Z]:\\\\?Users")
    index = re.compile(r"--index-url|--extra-index-url|--find-links|--trusted-host|/simple\b")
    host = socket.gethostname()
    for path in tracked():
        if path == Path(__file__).resolve() or path.suffix in (".png", ".pdf"):
            continue
        text = path.read_bytes().decode(errors="replace")  # a saved model is no text, and tells nothing either
        text = re.sub(r"base64,[A-Za-z0-9+/=]+|\"image/png\": \"[^\"]*\"", "", text)
        found = [match[0] for pattern in (folders, index) for match in pattern.finditer(text)]
        if len(host) > 5:
            found += re.findall(rf"\b{re.escape(host)}\b", text)
        assert not found, f"{path.relative_to(ROOT)}: {found[:3]}"


def test_the_tracked_evidence_is_small():
    sizes: dict[str, int] = {}
    for path in tracked():
        if path.is_relative_to(ROOT / "reports"):
            report = path.relative_to(ROOT / "reports").parts[0]
            sizes[report] = sizes.get(report, 0) + path.stat().st_size
    assert sizes["lines"] + sizes["siemens-star"] < 8e6 and max(sizes.values()) < 8e6, sizes
