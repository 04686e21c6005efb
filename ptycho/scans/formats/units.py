"""Units as files write them, and their size in SI."""

from ptycho.errors import DataError
from ptycho.physics.beam import ELECTRONVOLT

UNITS: dict[str, dict[str, float]] = {
    "length": {"m": 1.0, "mm": 1e-3, "um": 1e-6, "nm": 1e-9, "A": 1e-10, "pm": 1e-12},
    "frequency": {"1/m": 1.0, "1/um": 1e6, "1/nm": 1e9, "1/A": 1e10},
    "angle": {"rad": 1.0, "mrad": 1e-3, "urad": 1e-6, "deg": 0.017453292519943295},
    "energy": {"J": 1.0, "eV": ELECTRONVOLT, "keV": 1e3 * ELECTRONVOLT},
    "voltage": {"V": 1.0, "kV": 1e3},
    "number": {"": 1.0},
}
"""The kinds of quantity, and of each the units that are accepted, in metres, 1/m, radians, joules, volts."""
ALIASES = {
    "angstrom": "A",
    "angstroms": "A",
    "ang": "A",
    "metre": "m",
    "meter": "m",
    "metres": "m",
    "meters": "m",
    "millimetre": "mm",
    "millimeter": "mm",
    "micron": "um",
    "microns": "um",
    "micrometer": "um",
    "micrometre": "um",
    "nanometer": "nm",
    "nanometre": "nm",
    "degrees": "deg",
    "degree": "deg",
}


def plain(unit: str) -> str:
    """The unit under the name that UNITS has for it, where it is one: "[m_r_a_d]" is mrad, "Å^-1" is 1/A."""
    # EMD writes [n_m]; the micro sign and the Greek letter, the letter and the sign of the angstrom look alike
    signs = (("\u00b5", "u"), ("\u03bc", "u"), ("\u00c5", "A"), ("\u212b", "A"))
    for old, new in (("[", ""), ("]", ""), ("_", ""), (" ", ""), *signs):
        unit = unit.replace(old, new)
    for power in ("^-1", "^{-1}", "**-1", "⁻¹"):
        if unit.endswith(power):
            return f"1/{plain(unit.removesuffix(power))}"
    if unit.startswith("1/"):
        return f"1/{ALIASES.get(unit[2:].lower(), unit[2:])}"
    return ALIASES.get(unit.lower(), unit)


def scale(unit: str, kind: str, what: str) -> float:
    """SI units in one `unit` of a `kind` of UNITS. DataError, naming `what` has it, for another unit."""
    found = UNITS[kind].get(plain(unit))
    if found is None:
        raise DataError(f"{what} has the unit {unit!r}; expected a unit of {kind}: {', '.join(UNITS[kind])}")
    return found


def kind_of(unit: str) -> str | None:
    """The kind of quantity that a unit measures; None for an unknown unit."""
    return next((kind for kind, known in UNITS.items() if plain(unit) in known), None)
