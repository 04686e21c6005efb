"""The child process of the runner: executes one notebook with papermill and tells the runner how it went."""

import json
import os
import re
import socket
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptycho.errors import ConfigError
from ptycho.files import ROOT


def check_parameters(notebook: Path, parameters: Mapping[str, Any]) -> None:
    """Raise ConfigError for a parameter that the `parameters` cell of `notebook` does not declare.

    papermill itself only warns, and goes on with the default of the name that was meant.
    """
    import papermill

    declared = papermill.inspect_notebook(str(notebook))
    for name in parameters:
        if name not in declared:
            raise ConfigError(f"{notebook.name} has no parameter {name!r}; it has {', '.join(declared) or 'none'}")


def without_iri_grammar() -> None:
    """Keep jsonschema from a check that no notebook needs: its grammar is built at import, a third of a start's time.

    jsonschema takes ``rfc3987_syntax`` where it can be imported, and does without where it cannot.
    """
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]


def anonymous(text: str) -> str:
    """Return `text` without what tells where and by whom it was made: folders, host name, addresses in memory."""
    text = re.sub(r"/[^\s'\"]*/ipykernel_\d+/\d+\.py", "<cell>", text)
    folders = {str(ROOT): ".", sys.prefix: "<env>", sys.base_prefix: "<python>", os.path.expanduser("~"): "~"}
    for folder, name in sorted(folders.items(), key=lambda item: -len(item[0])):  # one may lie within another
        if len(folder) > 1:
            text = re.sub(re.escape(folder) + r"(?=[/\s'\":,)]|$)", name, text)
    host = socket.gethostname()
    if len(host) > 3 and host != "localhost":
        text = re.sub(rf"\b{re.escape(host)}\b", "<host>", text)
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def clean(notebook: Any) -> None:
    """Strip from the executed `notebook`, in place, what differs between machines: paths and papermill's time stamps.

    The duration of the whole stays, for `make status`.
    """
    notebook.metadata["papermill"] = {"duration": notebook.metadata.get("papermill", {}).get("duration")}
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        # what libraries print of the machine they run on is in run.log
        cell["outputs"] = [output for output in cell.get("outputs", []) if output.get("name") != "stderr"]
        for output in cell["outputs"]:
            if "text" in output:
                output["text"] = anonymous(output["text"])
            for kind, value in output.get("data", {}).items():
                if kind.startswith("text/") and isinstance(value, str):
                    output["data"][kind] = anonymous(value)


def execute(notebook: Path, output: Path, parameters_file: Path, sockets: Path) -> None:
    """Execute `notebook` with the parameters of the YAML `parameters_file` into `output`, in the folder of `output`.

    What the cells print goes to this process's stdout and stderr as it comes. The kernel is spoken to through sockets
    in the folder `sockets`: TCP ports are chosen by the one side and bound by the other a second later, when a kernel
    that starts beside this one may have taken them. Raises what papermill raises.
    """
    without_iri_grammar()
    import nbformat
    import papermill
    import yaml
    from traitlets.config import Config

    notebook, output = notebook.resolve(), output.resolve()
    parameters = yaml.safe_load(parameters_file.read_text(encoding="utf-8"))
    check_parameters(notebook, parameters)
    executed = papermill.execute_notebook(
        str(notebook),
        str(output),
        parameters=parameters,
        kernel_name="python3",
        cwd=str(output.parent),
        progress_bar=False,
        stdout_file=sys.stdout,
        stderr_file=sys.stderr,
        coalesce_streams=True,
        config=Config(KernelManager={"transport": "ipc", "ip": str(sockets / "kernel")}),
        # what TensorFlow's C++ writes goes straight to our stderr: to the log, once, and not into the notebook;
        # the kernel's own remark goes nowhere: that, now and then, its end came as an interrupt
        extra_arguments=["--IPKernelApp.capture_fd_output=False", "--IPKernelApp.log_level=CRITICAL"],
    )
    clean(executed)
    nbformat.write(executed, str(output))


def _end_with(parent: int) -> None:
    """End this process, and with it its kernel, when the process `parent` is gone."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def main(notebook: str, output: str, parameters_file: str, sockets: str, outcome: str) -> int:
    """Execute; write {name, message, traceback} of a failure to the file descriptor `outcome`; return the status."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    try:
        execute(Path(notebook), Path(output), Path(parameters_file), Path(sockets))
    except BaseException as error:
        # no more than a pipe holds, for the runner reads it when this process has ended
        message, trace = str(error)[:4_000], traceback.format_exc()[-6_000:]
        told = {"name": type(error).__name__, "message": message, "traceback": trace}
        os.write(int(outcome), json.dumps(told).encode())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
