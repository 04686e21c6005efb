"""The kinds of study, the parameters that each alone has, and what is refused of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field
from typing import TYPE_CHECKING, Any

from ptycho.config import DENOISER, require
from ptycho.physics import beam

if TYPE_CHECKING:
    from ptycho.study.config import StudyConfig

MEASURED = ("ORIENTATION", "PROBE_MODES", "POSITIONS", "NORMALISE", "RESOLUTION", "MATERIAL", "DAMAGE")
PHOTONS = ("OBJECT", "OBJECT_SIZE", "PHASE", "ILLUMINATION", "FLAW")
GROUPS = ("GRIDSIZE", "PROBE", "TARGET")
ELECTRONS = ("VOLTAGE", "SEMI_ANGLE", "DEFOCUS", "STEP")
SIMULATED = ("N_TRAIN", "N_TEST")
"""The parameters of a measured scan, of one simulated with photons, of networks that see groups of patterns, of a scan
simulated with electrons, and of every simulated scan. N is one of the last, too; a measured scan decides it itself."""
RANGES = {
    "VOLTAGE": (5.0, 3000.0, "kilovolts"),
    "SEMI_ANGLE": (1.0, 200.0, "milliradians"),
    "DEFOCUS": (-1e4, 1e4, "nanometres"),
    "STEP": (0.01, 1e4, "angstrom"),
}
"""Least and largest values, and what is accepted: in another unit, a value lies beyond."""
FRAME, OVERLAP = 0.7, 0.5
"""Of the frame, what a probe may fill, and of the probe's diameter, what neighbouring positions share at least."""


def refuse(config: StudyConfig, parameters: Mapping[str, Field[Any]]) -> None:
    """Refuse a parameter of another kind of study, and a value out of range. Raises ConfigError."""
    measured, voltage = config.scan is not None, config.voltage
    for name, why in foreign(measured, voltage is not None, config.architecture).items():
        value, default = getattr(config, parameters[name].name), None if name == "N" else parameters[name].default
        require(value == default, name, value, why)
    focused = "ILLUMINATION=zone_plate, whose defocus is known wrongly"
    require(config.flaw != "defocus" or config.illumination == "zone_plate", "FLAW", config.flaw, focused)
    for name, (low, high, what) in RANGES.items():
        value = getattr(config, name.lower())
        require(value is None or low <= value <= high, name, value, f"{what}, {low:g} to {high:g}")
    require(config.damage is None or config.damage > 0, "DAMAGE", config.damage, "a dose > 0")
    if voltage is not None and config.N is not None:
        _refuse_probe(config.N, config.defocus, config.step, voltage * 1e3, config.semi_angle * 1e-3)


def foreign(measured: bool, electrons: bool, architecture: str) -> dict[str, str]:
    """The parameters of other kinds of study, each with why: the scan is ``measured`` or else simulated, with
    ``electrons`` or with photons."""
    if measured:
        others: tuple[str, ...] = ("N", *PHOTONS, *ELECTRONS, *SIMULATED)
        why = "it is of a simulated scan, and SCAN names a measured one"
    elif electrons:
        others, why = PHOTONS, "it is of a simulated scan of photons, and VOLTAGE asks for electrons"
    else:
        others, why = ELECTRONS, "it is of a simulated scan of electrons, which VOLTAGE asks for"
    reasons = dict.fromkeys(others, why)
    if not measured:
        reasons |= dict.fromkeys(MEASURED, "it is of a measured scan, which SCAN names")
    if architecture == DENOISER:
        reasons |= dict.fromkeys(GROUPS, f"it is of networks that see groups, and {DENOISER} sees the whole scan")
    return reasons


def _refuse_probe(N: int, defocus: float, step: float, volts: float, radians: float) -> None:
    """Refuse a probe that its frame of N pixels does not hold, and steps that leave too little overlap."""
    width = beam.probe_width(volts, radians, defocus * 1e-9)
    most = FRAME * N * beam.simulated_pixel(volts, radians)
    told = f"a probe {width * 1e10:.3g} angstrom wide"
    require(width <= most, "DEFOCUS", defocus, f"{told}; at this voltage, semi-angle and N, {most * 1e10:.3g} at most")
    most = (1 - OVERLAP) * width * 1e10
    require(step <= most, "STEP", step, f"{told} takes {most:.3g} angstrom at most, to overlap by half")
