"""What can be asked for: a study, a sweep over seeds, and campaigns, which are made of several sweeps.

A request is read from the words of a command, ``NAME=value``. What they do not say is the default of what is asked for.
Standard library only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ptycho.config import DIRECT, require
from ptycho.errors import ConfigError
from ptycho.study.config import PARAMETERS, StudyConfig, default_architecture
from ptycho.study.plan import read_yaml

HOW = {
    "SEEDS": "of a sweep: seeds, one study each",
    "RATES": "of `rates`: the learning rates that are tried",
    "OUT": "the folder of what is made",
    "JOBS": "arms at a time, which share the cores and the memory; as many as there are cores",
    "ENGINE": "what runs the notebooks: local, this machine, or dask, a running dask.distributed cluster",
    "SCHEDULER": "address of the dask cluster's scheduler, e.g. tcp://10.0.0.1:8786",
}
"""The words beside those of StudyConfig, and their meaning."""


@dataclass(frozen=True)
class Campaign:
    """Something that can be asked for.

    meaning   what it does
    defaults  words that it takes where they are not given
    members   of what is made of several sweeps: the folder of each, and the words that it has of its own
    notebook  of these: the stem of the notebook that gathers them, and the parameter that takes the folders' names
    """

    meaning: str
    defaults: Mapping[str, str]
    members: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    notebook: tuple[str, str] = ("", "")


CAMPAIGNS = {
    "study": Campaign("run the dose study, or what is missing of it", {"OUT": "reports/dose-study"}),
    "sweep": Campaign(
        "run every dose, loss and seed, or what is missing of them, and gather them in one report",
        {
            "OUT": "reports/sweep",
            "DOSES": "1e2 1e3 2e3 5e3 1e4 2e4 5e4 1e5 1e6 1e7 1e9",
            "LOSSES": "nll mae mse anscombe",
            "SEEDS": "1 2 3 4 5",
        },
    ),
    "rates": Campaign(
        "try each of RATES for every loss, on seeds that no result uses, and choose one for each",
        {
            **{"OUT": "reports/rates", "DOSES": "1e4 1e9", "LOSSES": "nll mae mse", "SEEDS": "0 11 12"},
            "RATES": "1.6e-2 3.2e-2 6.4e-2 1.28e-1",
        },
        notebook=("learning-rates", "rates"),
    ),
    "conditions": Campaign(
        "run the ends of the dose-response for other objects, probes and scans",
        {"OUT": "reports/conditions", "DOSES": "1e3 1e9", "LOSSES": "nll mae", "SEEDS": "1 2 3"},
        {
            "lines": {},
            "grf": {"OBJECT": "grf"},
            "siemens": {"OBJECT": "siemens", "PHASE": "1"},
            "defocused": {"ILLUMINATION": "zone_plate"},
            "sparse": {"N_TRAIN": "500"},
        },
        ("conditions", "conditions"),
    ),
    "fluence": Campaign(
        "run the dose-response at N=64 and 128, against photons per pattern and per object pixel",
        {"OUT": "reports/fluence", "DOSES": "1e3 1e4 1e5 1e6 1e7", "LOSSES": "nll mae", "SEEDS": "1 2 3"},
        {"N-64": {"N": "64"}, "N-128": {"N": "128"}},
        ("fluence", "sweeps"),
    ),
}


@dataclass(frozen=True)
class Request:
    """What was asked for, checked: by the words `given`, and in full.

    given holds the words of the user, and those that a campaign sets for one of its sweeps. No default is in it. seeds
    are empty for a study; jobs is None where it follows from the machine or the cluster.
    """

    target: str
    given: Mapping[str, str]
    config: StudyConfig
    out: str
    seeds: tuple[int, ...] = ()
    rates: tuple[str, ...] = ()
    jobs: int | None = None
    scheduler: str | None = None

    @property
    def members(self) -> dict[str, Request]:
        """The sweeps of a campaign, by their folders' names."""
        own = CAMPAIGNS[self.target]
        folders = own.members or {rate: {"LEARNING_RATE": rate} for rate in self.rates}
        words = {name: word for name, word in {**own.defaults, **self.given}.items() if name != "RATES"}
        words |= {"METHODS": " ".join(self.config.methods), "DOSES": " ".join(self.config.doses)}
        # a dose is asked for where the user gave it: a default above what a scan measured is left out
        return {
            name: replace(ask("sweep", {**words, **more, "OUT": f"{self.out}/{name}"}), given={**self.given, **more})
            for name, more in folders.items()
        }

    def gathering(self) -> dict[str, Any]:
        """The parameters of the notebook that gathers a campaign's sweeps."""
        values: dict[str, Any] = {"evidence": ".", "out": ".", CAMPAIGNS[self.target].notebook[1]: list(self.members)}
        if self.rates:
            (method,) = self.config.methods
            values["used"] = {loss: self.config.learning_rates(loss)[method] for loss in self.config.losses}
        return values


def ask(target: str, given: Mapping[str, str]) -> Request:
    """Read a request for `target`, one of CAMPAIGNS. Raises ConfigError for a word that is not accepted."""
    for name in given:
        if name not in PARAMETERS and name not in HOW:
            raise ConfigError(f"unknown parameter {name}: the parameters are {' '.join([*PARAMETERS, *HOW])}")
        if why := refused(target, name):
            raise ConfigError(why)
    words = {**CAMPAIGNS[target].defaults, **given}
    words["SCAN"] = os.path.expanduser(words.get("SCAN", "").strip())
    engine, scheduler = words.get("ENGINE") or "local", words.get("SCHEDULER", "").strip()
    require(engine in ("local", "dask"), "ENGINE", engine, "local or dask")
    accepted = "with ENGINE=dask the address of its scheduler, without it nothing"
    require((engine == "dask") == bool(scheduler), "SCHEDULER", scheduler, accepted)
    if words["SCAN"] and "DOSES" not in given:
        words["DOSES"] = "full 1e5 1e4 1e3 1e2" if target == "sweep" else "full 1e4"
    elif words.get("VOLTAGE", "").strip() and "DOSES" not in given:
        words["DOSES"] = "1e0 1e1 1e2 1e3 1e4" if target == "sweep" else ""
    if target == "rates" and not words.get("METHODS", "").strip():
        words["METHODS"] = words.get("ARCH", "").strip() or default_architecture(words["SCAN"])
    config = StudyConfig.from_strings({name: word for name, word in words.items() if name in PARAMETERS})
    jobs = words.get("JOBS", "").strip()
    require(not jobs or (jobs.isdecimal() and int(jobs) >= 1), "JOBS", jobs, "an integer >= 1")
    out = folder(words["OUT"])
    seeds = () if target == "study" else _seeds(words["SEEDS"])
    rates = _rates(words["RATES"], config) if target == "rates" else ()
    return Request(target, given, config, out, seeds, rates, int(jobs) if jobs else None, scheduler or None)


def campaign_in(out: str | os.PathLike[str]) -> str | None:
    """The campaign of several sweeps whose folder `out` is; None where it is none's."""
    named = (name for name, one in CAMPAIGNS.items() if one.notebook[0])
    return next((name for name in named if Path(out, f"{name}.yaml").is_file()), None)


def sweeps_in(out: Path, campaign: str) -> dict[str, Path]:
    """The folders of the sweeps of a `campaign`, one of CAMPAIGNS, in `out`, by name. Raises ValueError for a broken
    plan."""
    _, names = CAMPAIGNS[campaign].notebook
    planned = read_yaml(out / f"{campaign}.yaml", {names}) or {names: ()}
    return {name: out / name for name in planned[names]}


def refused(target: str, name: str) -> str:
    """Why `target` does not take the parameter `name`, which another one has; "" where it does."""
    if target == "study" and name in ("SEEDS", "METHODS"):
        return f"{name} is a parameter of `make sweep`, which `make study` does not have"
    if target != "study" and name == "SEED":
        return "SEED is a parameter of `make study`; that of `make sweep` is SEEDS"
    if target != "rates" and name == "RATES":
        return f"RATES is a parameter of `make rates`, which `make {target}` does not have"
    if target == "rates" and name == "LEARNING_RATE":
        return "LEARNING_RATE is a parameter of `make sweep`; that of `make rates` is RATES"
    if any(name in own for own in CAMPAIGNS[target].members.values()):
        return f"{name} is a parameter of `make sweep`; `make {target}` sets it itself"
    return ""


def variables(target: str) -> dict[str, tuple[str, str]]:
    """{name: (default, meaning, with what is accepted)} of every parameter; the defaults are those of `target`."""
    found = {}
    for name, of in PARAMETERS.items():
        default = " ".join(map(str, of.default)) if isinstance(of.default, tuple) else of.default
        accepted = ", ".join(map(str, of.metadata["choices"]))
        found[name] = ("" if default is None else str(default), of.metadata["meaning"] + (accepted and f": {accepted}"))
    owners = {"SEEDS": "sweep", "RATES": "rates"}  # whose default is told where the target at hand has none
    found |= {name: (CAMPAIGNS[owners.get(name, target)].defaults.get(name, ""), HOW[name]) for name in HOW}
    return {name: (CAMPAIGNS[target].defaults.get(name, default), words) for name, (default, words) in found.items()}


def folder(word: str) -> str:
    """The study's folder, as OUT names it; ~ is the home. ConfigError for a path that make or a shell would misread."""
    path = os.path.expanduser(word.strip())
    require(len(path.split()) == 1, "OUT", word, "the study's folder, a path without spaces")
    others = (".", "..", "/", os.path.expanduser("~"))
    require(os.path.normpath(path) not in others, "OUT", word, "a folder of the study's own")
    unfit = re.sub(r"[\w./+@-]", "", path)
    require(not unfit, "OUT", word, f"a path without {' '.join(dict.fromkeys(unfit))}")
    require(not path.startswith("-"), "OUT", word, "a path that does not begin with -; ./ before it will do")
    return path.rstrip("/")


def _seeds(word: str) -> tuple[int, ...]:
    words = word.split()
    seeds = tuple(int(seed) for seed in words if seed.isdecimal())
    require(0 < len(words) == len(set(seeds)), "SEEDS", word, "distinct integers >= 0")
    return seeds


def _rates(word: str, config: StudyConfig) -> tuple[str, ...]:
    rates = tuple(word.split())
    try:
        values = [float(rate) for rate in rates]
    except ValueError:
        values = []
    require(0 < len(values) == len(set(values)), "RATES", word, "distinct numbers > 0")
    methods, accepted = config.methods, f"one, {config.architecture} or {DIRECT}"
    require(len(methods) == 1, "METHODS", " ".join(methods), accepted)
    for value in values:
        replace(config, learning_rate=value)  # refuses one out of range
    return rates
