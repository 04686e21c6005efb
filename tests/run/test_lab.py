"""`ptycho lab`: the command line that opens JupyterLab, what is refused, and the server, without a browser."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from standins import ROOT, environment, free_port, gone

from ptycho.__main__ import main
from ptycho.errors import ConfigError
from ptycho.run import lab


@pytest.fixture
def executed(monkeypatch, tmp_path):
    """Runs the command up to where JupyterLab takes its place: its folder, command line and environment."""
    monkeypatch.setenv("PTYCHO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    found = []
    monkeypatch.setattr(os, "execve", lambda program, line, given: found.append((Path.cwd(), line, given)))

    def run(*words):
        assert main(["lab", *words]) == 0
        return found[-1]

    return run


def test_it_opens_the_page_of_the_notebooks_at_the_root_of_the_checkout(executed):
    folder, line, given = executed()
    assert folder == ROOT and line[:3] == [sys.executable, "-m", "jupyterlab"]
    assert {f"--ServerApp.root_dir={ROOT}", "--LabApp.default_url=/lab/tree/notebooks/README.md"} <= set(line)
    assert {"--ServerApp.port=8888", "--ServerApp.ip=localhost"} <= set(line)
    assert not any("retries" in word for word in line)  # if another server is there, the next port will do
    overrides = Path(given["JUPYTER_CONFIG_PATH"].split(os.pathsep)[-1], "labconfig", "default_setting_overrides.json")
    viewers, news = json.loads(overrides.read_text()).values()
    assert viewers == {"defaultViewers": {"markdown": "Markdown Preview"}}
    assert news == {"fetchNews": "false", "checkForUpdates": False}  # no box that asks, no network


def test_it_listens_where_it_is_told(executed):
    port = free_port()
    _, line, _ = executed(f"PORT={port}", "HOST=0.0.0.0")
    assert {f"--ServerApp.port={port}", "--ServerApp.ip=0.0.0.0", "--ServerApp.port_retries=0"} <= set(line)


@pytest.mark.parametrize(("uid", "allowed"), [(0, True), (1000, False)])
def test_only_root_needs_leave_to_run_as_root(executed, monkeypatch, uid, allowed):
    monkeypatch.setattr(os, "getuid", lambda: uid)
    _, line, _ = executed()
    assert ("--ServerApp.allow_root=True" in line) == allowed


def test_trap_a_make_in_a_terminal_of_lab_takes_the_port_for_a_parameter_of_its_own(executed, monkeypatch):
    monkeypatch.setenv("MAKEFLAGS", " -- PORT=8889")
    assert "MAKEFLAGS" not in executed()[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["PORT=no"], "PORT='no' is not accepted: an integer from 1 to 65535"),
        (["PORT=65536"], "PORT='65536' is not accepted"),
        (["HOST=no such host"], "HOST='no such host' is not accepted: a name or address of this machine"),
        (["HOST=192.0.2.1"], "nothing can listen at PORT=8888 of HOST='192.0.2.1'"),
        (["OUT=x"], "unknown parameter OUT: the parameters are PORT=8888 HOST=localhost"),
        (["8889"], "'8889' is not accepted: parameters are written NAME=value"),
    ],
)
def test_a_wrong_word_is_refused_in_one_line(words, message, capsys):
    assert main(["lab", *words]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1


def test_a_port_that_is_taken_is_refused():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"nothing can listen at PORT={port}"):
            lab.command({"PORT": str(port), "HOST": "127.0.0.1"}, ROOT)


def test_notebooks_of_an_installed_package_are_copied_here_once(executed, monkeypatch, tmp_path):
    monkeypatch.setattr(lab, "ROOT", tmp_path / "elsewhere")
    folder, line, _ = executed()
    assert folder == tmp_path and f"--ServerApp.root_dir={tmp_path}" in line
    names = {path.name for path in (ROOT / "notebooks").glob("*.ipynb")} | {lab.START}
    assert {path.name for path in (tmp_path / "notebooks").iterdir()} == names
    (tmp_path / "notebooks" / "simulate.ipynb").write_text("mine")
    executed()
    assert (tmp_path / "notebooks" / "simulate.ipynb").read_text() == "mine"


@pytest.mark.slow
def test_the_server_starts_serves_the_page_and_stops(tmp_path):
    port = free_port()
    more = {"JUPYTER_TOKEN": "secret", "BROWSER": "true", "PTYCHO_CACHE": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "ptycho", "lab", f"PORT={port}", "HOST=127.0.0.1"]

    def ask(path):
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Authorization": "token secret"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment(**more), stdout=log, stderr=log)
    try:
        until = time.time() + 300
        while True:
            try:
                assert "started" in ask("/api/status")
                break
            except (urllib.error.URLError, ConnectionError):
                assert process.poll() is None and time.time() < until, (tmp_path / "log").read_text()
                time.sleep(0.5)
        assert "train-arm.ipynb" in ask("/api/contents/notebooks/README.md")["content"]
        settings = ask("/lab/api/settings/@jupyterlab/docmanager-extension:plugin")
        assert settings["schema"]["properties"]["defaultViewers"]["default"] == {"markdown": "Markdown Preview"}
    finally:
        process.terminate()
        assert process.wait(timeout=60) is not None and gone(process.pid)
