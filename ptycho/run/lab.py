"""JupyterLab on the page that lists the notebooks."""

import json
import os
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from ptycho.config import require
from ptycho.errors import ConfigError
from ptycho.files import NOTEBOOKS, ROOT, user_cache, write_if_changed

ACCEPTED = "PORT=8888 HOST=localhost"
"""What may be given, with the defaults."""
START = "README.md"
"""The page that lists the notebooks, in their folder."""
SETTINGS = {
    "@jupyterlab/docmanager-extension:plugin": {"defaultViewers": {"markdown": "Markdown Preview"}},
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
}
"""Of JupyterLab: the page opens as text to be read, whose links open the notebooks; nothing is asked of a network."""
OF_MAKE = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES")
"""What a `make` in one of Lab's terminals would else take for its own."""


def open_notebooks(words: Mapping[str, str]) -> None:
    """Open JupyterLab, in place of this process. Notebooks of an installed package are copied to here first.

    Raises ConfigError where it cannot listen at the PORT and HOST in `words`.
    """
    line = command(words, folder := _root())
    settings = user_cache().absolute() / "lab"
    (settings / "labconfig").mkdir(parents=True, exist_ok=True)
    write_if_changed(settings / "labconfig" / "default_setting_overrides.json", json.dumps(SETTINGS))
    kept = {name: value for name, value in os.environ.items() if name not in OF_MAKE}
    paths = os.pathsep.join(filter(None, (os.environ.get("JUPYTER_CONFIG_PATH"), str(settings))))
    os.chdir(folder)
    os.execve(sys.executable, line, {**kept, "JUPYTER_CONFIG_PATH": paths})


def command(words: Mapping[str, str], folder: Path) -> list[str]:
    """The command line that opens JupyterLab on `folder`. Raises ConfigError as :func:`open_notebooks`."""
    for name in words:
        if name not in ("PORT", "HOST"):
            raise ConfigError(f"unknown parameter {name}: the parameters are {ACCEPTED}")
    host, port = words.get("HOST", "localhost").strip(), words.get("PORT", "8888").strip()
    accepted = port.isdecimal() and 1 <= int(port) <= 65535
    require(accepted, "PORT", port, "an integer from 1 to 65535")
    if "PORT" in words or "HOST" in words:
        _check(host, int(port))
    line = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder}", f"--ServerApp.port={port}"]
    line += [f"--ServerApp.ip={host}", f"--LabApp.default_url=/lab/tree/notebooks/{START}"]
    if "PORT" in words:
        line.append("--ServerApp.port_retries=0")  # that port, or none
    if os.getuid() == 0:
        line.append("--ServerApp.allow_root=True")  # in a container there often is no other user; Lab else refuses
    return line


def _check(host: str, port: int) -> None:
    """Raise ConfigError where nothing can listen at that port of that host."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
            trial.listen()
    except (socket.gaierror, UnicodeError):
        raise ConfigError(f"HOST={host!r} is not accepted: a name or address of this machine, or 0.0.0.0") from None
    except OSError as error:
        told = f"nothing can listen at PORT={port} of HOST={host!r} ({error.strerror})"
        raise ConfigError(f"{told}; expected a free port, and an address of this machine") from None


def _root() -> Path:
    """The folder that Lab opens on: the checkout, or this one, which then gets the notebooks of the package."""
    if NOTEBOOKS.parent == ROOT:
        return ROOT
    notebooks = Path("notebooks")
    notebooks.mkdir(exist_ok=True)
    for path in (*NOTEBOOKS.glob("*.ipynb"), NOTEBOOKS / START):
        if not (notebooks / path.name).exists():
            shutil.copy(path, notebooks)
    return Path.cwd()
