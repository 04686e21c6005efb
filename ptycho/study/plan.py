"""A study's files: which arms it has, where they lie, and what parameters their notebooks get."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Set
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ptycho.config import GROUPED, HELD_OUT, STAR, require
from ptycho.errors import ConfigError, DataError
from ptycho.files import json_if_any, write_if_changed
from ptycho.study import layout, sources
from ptycho.study.arms import exposure_of
from ptycho.study.config import StudyConfig, arms, period
from ptycho.study.status import mark_unfinished


def parameters(config: StudyConfig, out: Path) -> dict[str, dict[str, Any]]:
    """Return {file: parameters} for each parameter file of a study, relative to its folder `out`.

    A notebook runs in the folder of its output, whatever link leads there, so the paths it gets are relative to that:
    nothing depends on where the study lies.
    """
    of, scan = config.values, config.scan
    if scan is not None and scan != STAR:
        scan = os.path.relpath(scan, os.path.realpath(out))
    simulate = {
        "out": ".",
        **of("N", "n_train", "doses", "seed"),
        "n_test": config.heldout_positions,
        "object_kind": config.object,
    }
    simulate |= of("object_size", "phase", "illumination", "flaw")
    simulate["microscope"] = None if config.voltage is None else of("voltage", "semi_angle", "defocus", "step")
    simulate |= {"scan": scan, **of("orientation", "probe_modes", "positions", "normalise")}
    files = {layout.SIMULATE: simulate}
    if scan is not None:
        told = of("resolution", "material", "damage")
        files[layout.RESOLVE] = {"out": ".", **of("doses", "seed"), "scan": scan, **told}
    for arm in config.arms:
        train = {"out": "..", "arm": arm.name, "dose": arm.dose, "loss": arm.loss}
        train |= of("nepochs", "gridsize", "architecture") | {"learning_rates": config.learning_rates(arm.loss)}
        files[layout.arm_parameters(arm)] = train | of("methods", "seed", "probe", "target")
    files[layout.STUDY] = {"out": ".", **of("doses", "losses", "nepochs"), "measured": scan is not None}
    return files


def check_scan(config: StudyConfig) -> None:
    """Refuse a scan that is not there, one with too few patterns for the groups, and a resolution in nanometres of a
    scan whose pixel has no known size."""
    scan = config.scan
    if scan not in (None, STAR):
        if not Path(str(scan)).is_file():
            raise ConfigError(f"SCAN={scan!r}: there is no such file; expected a scan's file or {STAR!r}")
        _check_size(config)
    if config.resolution is None or period(config.resolution)[1] == "px":
        return
    from ptycho.scans import formats

    told = scan not in (None, STAR) and formats.read(str(scan)).pixel is not None
    why = f"{scan} does not tell the size of an object pixel; expected a period in object pixels, like 4.5"
    require(told, "RESOLUTION", config.resolution, why)


def _check_size(config: StudyConfig) -> None:
    """Refuse groups of more patterns than are held out. A file that cannot be read is named where it is examined."""
    from ptycho.scans import formats

    with suppress(DataError):
        patterns = formats.read(str(config.scan)).patterns
        M = 0 if patterns is None else len(patterns)
        held_out = M - math.ceil((1 - HELD_OUT) * (M - 1))
        group = config.gridsize**2
        why = f"of the {M} patterns of {config.scan} {held_out} are held out, and a group takes {group}"
        fits = not M or held_out >= group or not set(config.methods) & set(GROUPED)
        require(fits, "GRIDSIZE", config.gridsize, f"{why}; GRIDSIZE=1 or a larger scan is accepted")


def at_measured_doses(config: StudyConfig, folder: Path, asked: bool) -> StudyConfig:
    """The study at doses that its scan has: up to a percent above what was measured, a dose is ``'full'``.

    A higher one raises ConfigError if it was `asked` for; if it is a default, it is left out. `folder` is the study's,
    where an earlier run may have left what is known of the scan. Where its counts are not known, nothing changes.
    """
    scan_files = _scan_files(config.scan)
    if scan_files is None or set(config.doses) == {"full"}:
        return config
    from ptycho.scans import exposure, star
    from ptycho.scans.dose import SAME_DOSE

    known: dict[str, Any] = {"dose": star.PHOTONS, "unit": exposure.OF_PHOTONS.unit}
    if config.scan != STAR:
        known = sources.known_of(scan_files, folder)
    if (measured := known["dose"]) is None:
        return config
    doses = []
    for dose in config.doses:
        above = dose != "full" and float(dose) > measured
        if above and float(dose) > SAME_DOSE * measured:
            accepted = f"at most the {measured:.4g} {known['unit']} that {config.scan} measured, or 'full'"
            require(not asked, "DOSES", dose, accepted)
        else:
            doses.append("full" if above else dose)
    return replace(config, doses=tuple(dict.fromkeys(doses)))


def _scan_files(scan: str | None) -> list[Path] | None:
    """The files that a measured scan is read from: none of one that is fetched. None for a simulated one."""
    if scan is None or scan == STAR:
        return None if scan is None else []
    from ptycho.scans import formats

    return formats.files_of(scan)


def write_plan(out: str | os.PathLike[str], config: StudyConfig) -> list[Path]:
    """Write the parameter files of a study into its folder `out`; return those whose content changed.

    A file that holds what it should keeps its time, so that make redoes only what a change of parameters touches.
    Raises ConfigError when the scan is not there, when it cannot tell the nanometres that are asked for, or when `out`
    cannot be written.
    """
    out = Path(out)
    check_scan(config)
    changed, files = [], parameters(config, out)
    try:
        for name, values in files.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            if write_yaml(out / name, values):
                changed.append(out / name)
        stages = layout.study_stages({**files[layout.STUDY], **config.values("methods")})
        changed += sources.write(out, (stage.notebook for stage in stages), _scan_files(config.scan))
        mark_unfinished(out, after_success=False)
        if changed:
            mark_unfinished(out, after_success=True)
    except OSError as error:
        raise ConfigError(f"OUT={str(out)!r} cannot be written ({error.strerror}); expected a folder") from error
    return changed


def planned(out: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what the study in `out` is: its doses, losses, nepochs, methods, and whether its scan is measured.

    Raises ConfigError when there is no study, ValueError when its files are not those of one.
    """
    path = Path(out) / layout.STUDY
    values = read_yaml(path, {"doses", "losses", "nepochs"})
    if values is None:
        raise ConfigError(f"OUT={str(out)!r}: there is no study in it ({path.name}: No such file or directory)")
    first = next(iter(arms(values["doses"], values["losses"])), None)
    arm = read_yaml(Path(out) / layout.arm_parameters(first), {"methods"}) if first else None
    return {"measured": False, "methods": [], **values, **({"methods": arm["methods"]} if arm else {})}


def title(out: Path, planned: Mapping[str, Any]) -> str:
    """What the study or sweep in `out`, of which `planned` is known, is called: with its doses and their unit."""
    swept = "seeds" in planned
    unit = exposure_of(json_if_any(out / (layout.ARMS if swept else layout.METRICS)).get("arms", ())).unit
    doses = planned["doses"]
    words = ", ".join(doses) if len(doses) <= 4 else f"{len(doses)} doses from {doses[0]} to {doses[-1]}"
    return f"{'Dose-response' if swept else 'Dose study'}: {words} {unit}"


def write_yaml(path: Path, values: Mapping[str, Any]) -> bool:
    """Write a parameter file, if that says something new; return whether it was written. Raises OSError."""
    import yaml  # here, so that `import ptycho.study.plan` stays within the standard library

    return write_if_changed(path, yaml.safe_dump(values, sort_keys=False))


def read_yaml(path: Path, keys: Set[str]) -> dict[str, Any] | None:
    """The values in a parameter file, None where it cannot be read. Raises ValueError unless it has `keys`."""
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError:
        return None
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(values, dict) or not keys <= values.keys():
        raise ValueError(f"{path}: expected {', '.join(sorted(keys))}, found {values!r}")
    return values
