"""The record of a study as an RO-Crate: ro-crate-metadata.json says what each file is, and which run made it.

The file follows RO-Crate 1.1 and the profile Workflow Run Crate 0.5, https://w3id.org/ro/wfrun/workflow/0.5: the rules
of make are the workflow, and each rendered notebook is one run of it. Programs for research data read such files.
It holds no time of its own: the same study has the same record.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from ptycho.files import json_if_any, write_json_if_changed
from ptycho.run.crate.contents import contents
from ptycho.run.watch import stages_of
from ptycho.study import layout, plan, sources, sweep
from ptycho.study.layout import Stage
from ptycho.study.status import NOT_VERIFIED, status_lines

if TYPE_CHECKING:
    from rocrate.model.entity import Entity
    from rocrate.rocrate import ROCrate

LICENSE = "BSD-3-Clause"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
SHA256 = "http://schema.org/sha256"
"""The context of RO-Crate 1.1 is older than this term."""
NAMES = {"ptycho": "ptycho", "python": "Python", "tensorflow": "TensorFlow", "keras": "Keras", "numpy": "NumPy"}


def write(out: str | os.PathLike[str]) -> None:
    """Write the record of the study or sweep in `out`, if it says something new. A file that is missing is left out.

    Raises ConfigError where there is neither.
    """
    out = Path(out)
    found = contents(out)
    if _listed(out) == {file.path: file.sha256 for file in found}:
        return  # all that it says follows from these files
    swept = sweep.planned(out)
    planned = plan.planned(out) if swept is None else swept
    crate = _described(out, plan.title(out, planned))
    files = {
        path: crate.add_file(
            dest_path=path,
            properties={"name": path, "contentSize": str(size), "encodingFormat": kind, "sha256": sha256},
        )
        for path, size, kind, sha256 in found
    }
    runs = [_run(crate, out, stage, files) for stage in stages_of(out) if stage.rendered in files]
    if layout.RULES in files:
        runs.append(_whole(crate, files[layout.RULES], runs))
    root = crate.root_dataset
    root["mentions"] = runs
    # a study whose runs left no times has the date of its plan
    ends = [run["endTime"] for run in runs if "endTime" in run]
    root["datePublished"] = max(ends) if ends else _changed(out / (layout.STUDY if swept is None else layout.SWEEP))
    write_json_if_changed(out / layout.CRATE, crate.metadata.generate())


def _listed(out: Path) -> dict[str, str | None]:
    """The files that the record there lists, and their checksums."""
    entities = json_if_any(out / layout.CRATE).get("@graph", [])
    return {unquote(entity["@id"]): entity.get("sha256") for entity in entities if "encodingFormat" in entity}


def _described(out: Path, title: str) -> ROCrate:
    """A crate that says what the study is and what its verdict is."""
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate  # late: it takes a quarter of a second, and most commands need no record

    crate = ROCrate(version="1.1")
    crate.metadata.extra_terms["sha256"] = SHA256
    licence = {"@type": "CreativeWork", "name": LICENSE, "identifier": LICENSE}
    root = crate.root_dataset
    root["name"] = title
    root["description"] = (status_lines(out) or [NOT_VERIFIED])[0]
    root["license"] = crate.add(ContextEntity(crate, f"https://spdx.org/licenses/{LICENSE}", licence))
    whole = (out / layout.RULES).exists()
    profiles = [
        crate.add(ContextEntity(crate, address, {"@type": "CreativeWork", "name": name, "version": address[-3:]}))
        for address, name in PROFILES.items()
        if whole or "process" in address
    ]
    root["conformsTo"] = profiles
    if whole:
        crate.metadata["conformsTo"] = [{"@id": crate.metadata.profile}, profiles[-1]]
    return crate


def _run(crate: ROCrate, out: Path, stage: Stage, files: Mapping[str, Entity]) -> Entity:
    """One run of a notebook: what it was made from, what it left, when, and with which software."""
    from rocrate.model.contextentity import ContextEntity

    made = json_if_any(out / stage.folder / layout.PROVENANCE) if stage.folder else {}
    known = {"@type": "CreateAction", "name": stage.name}
    started, ended = made.get("started_utc"), made.get("ended_utc")
    if ended is None:
        started, ended = _logged(out / stage.seed / layout.LOG, stage)
    known |= {name: time for name, time in (("startTime", started), ("endTime", ended)) if time is not None}
    run = crate.add(ContextEntity(crate, f"#run/{stage.name}", known))
    programs = _software(crate, made) if made else []
    if programs:  # two arms of one notebook may have run with two versions
        run["description"] = ", ".join(f"{program['name']} {program['softwareVersion']}" for program in programs)
    run["instrument"] = _notebook(crate, out, stage, programs)
    inputs = [files[path] for path in (stage.parameters, *stage.inputs) if path in files]
    if f"{stage.seed}{layout.source('scan')}" in stage.inputs:
        inputs += _scan(crate, out / stage.seed)
    run["object"] = inputs
    left = (stage.rendered, *stage.outputs, f"{stage.folder}{layout.PROVENANCE}")
    run["result"] = [files[path] for path in left if path in files]
    return run


def _whole(crate: ROCrate, rules: Entity, runs: Sequence[Entity]) -> Entity:
    """The run of the whole study by make: its rules are the workflow, whose parts are the notebooks."""
    from rocrate.model.contextentity import ContextEntity

    make = {"@type": "ComputerLanguage", "name": "GNU make", "url": "https://www.gnu.org/software/make/"}
    rules.properties()["@type"] = ["File", "SoftwareSourceCode", "ComputationalWorkflow"]
    rules["programmingLanguage"] = crate.add(ContextEntity(crate, "#make", make))
    rules["hasPart"] = _once(run["instrument"] for run in runs)
    crate.root_dataset["mainEntity"] = rules
    known = {"@type": "CreateAction", "name": f"The whole: {crate.root_dataset['name']}"}
    for name, which in (("startTime", min), ("endTime", max)):
        if times := [run[name] for run in runs if name in run]:
            known[name] = which(times)
    whole = crate.add(ContextEntity(crate, "#run", known))
    whole["instrument"] = rules
    made = _once(file for run in runs for file in run["result"])
    whole["object"] = [file for file in _once(file for run in runs for file in run["object"]) if file not in made]
    whole["result"] = made
    return whole


def _notebook(crate: ROCrate, out: Path, stage: Stage, programs: list[Entity]) -> Entity:
    """The notebook of a stage, known by the digest of its code, with the software that its runs tell of."""
    from rocrate.model.contextentity import ContextEntity

    address = f"#{stage.notebook}.ipynb"
    notebook = crate.get(address)
    if notebook is None:
        known = {"@type": "SoftwareSourceCode", "name": f"{stage.notebook}.ipynb"}
        with suppress(OSError, UnicodeDecodeError):
            known["identifier"] = f"sha256 of the code cells: {(out / stage.code).read_text(encoding='utf-8').strip()}"
        notebook = crate.add(ContextEntity(crate, address, known))
        python = {"@type": "ComputerLanguage", "name": "Python", "url": "https://www.python.org/"}
        notebook["programmingLanguage"] = crate.add(ContextEntity(crate, "https://www.python.org/", python))
    if programs:
        notebook["softwareRequirements"] = _once([*notebook.get("softwareRequirements", []), *programs])
    return notebook


def _software(crate: ROCrate, made: Mapping[str, Any]) -> list[Entity]:
    """The programs that a provenance.json names. The commit of ptycho is in its version, as PEP 440 writes it."""
    from rocrate.model.contextentity import ContextEntity

    git = made.get("git") or {}
    commit = f"+g{git['commit'][:12]}{'.dirty' if git.get('dirty') else ''}" if git.get("commit") else ""
    versions = {"ptycho": f"{made.get('ptycho')}{commit}", "python": made.get("python"), **made.get("packages", {})}
    programs = []
    for name, version in versions.items():
        if version is None:
            continue
        known = {"@type": "SoftwareApplication", "name": NAMES.get(name, name), "softwareVersion": version}
        if name == "ptycho" and commit:
            known["identifier"] = git["commit"]
        programs.append(crate.add(ContextEntity(crate, f"#{name}-{version}", known)))
    return programs


def _scan(crate: ROCrate, folder: Path) -> list[Entity]:
    """A measured scan. It lies outside the folder: the record tells its name, and what was known when it was read."""
    from rocrate.model.contextentity import ContextEntity

    known = json_if_any(folder / sources.SCAN)
    if not known.get("files"):
        return []
    names = ", ".join(Path(name).name for name, _ in known["files"])
    size = str(sum(mark[0] for _, mark in known["files"]))
    told = {"@type": "CreativeWork", "name": names, "contentSize": size, "sha256": known["digest"]}
    return [crate.add(ContextEntity(crate, "#scan", told))]


def _logged(log: Path, stage: Stage) -> tuple[str | None, str | None]:
    """When the last run of a stage began and ended, as run.log tells."""
    label = re.escape(stage.name.removeprefix(stage.seed))
    started = ended = None
    with suppress(OSError, ValueError):
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            if found := re.match(rf"{label} \| === \S+ started (\S+)$", line):
                started, ended = found[1], None
            elif started and (found := re.match(rf"{label} \| === \S+ done in ([\d.]+) s$", line)):
                ended = _iso(
                    datetime.fromisoformat(started.replace("Z", "+00:00")) + timedelta(seconds=float(found[1]))
                )
    return started, ended


def _changed(path: Path) -> str:
    return _iso(datetime.fromtimestamp(path.stat().st_mtime, timezone.utc))


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="seconds").replace("+00:00", "Z")


def _once(entities: Iterable[Entity]) -> list[Entity]:
    """Each entity once, in the order of their first."""
    return list({entity.id: entity for entity in entities}.values())
