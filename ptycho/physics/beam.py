"""What goes through the sample: photons of an energy, or electrons that a voltage accelerated. Plain numbers, SI."""

from math import sqrt

PLANCK, LIGHT, ELECTRON_MASS = 6.62607015e-34, 299792458.0, 9.1093837139e-31
"""J s and m/s, exact since the SI of 2019; kg (CODATA 2022)."""
PLANCK_LIGHT = PLANCK * LIGHT
"""h c in joule metres."""
ELECTRONVOLT = 1.602176634e-19
"""Joules, exact since the SI of 2019."""


def photon_wavelength(energy: float) -> float:
    """h c / E, in metres, of a photon of `energy` joules."""
    return PLANCK_LIGHT / energy


def electron_wavelength(voltage: float) -> float:
    """h / sqrt(2 m e V (1 + e V / (2 m c^2))), in metres, of electrons that `voltage` volts accelerated.

    The momentum is relativistic (Kirkland, Advanced Computing in Electron Microscopy, 2nd ed., 2010, chapter 2).
    """
    kinetic = voltage * ELECTRONVOLT
    return PLANCK / sqrt(2 * ELECTRON_MASS * kinetic * (1 + kinetic / (2 * ELECTRON_MASS * LIGHT**2)))


def relativistic_mass(voltage: float) -> float:
    """gamma = 1 + e V / (m c^2), over the mass at rest, of electrons that `voltage` volts accelerated."""
    return 1 + voltage * ELECTRONVOLT / (ELECTRON_MASS * LIGHT**2)


REACH = 2.0
"""How far the detector of a simulated electron microscope reaches, over the semi-angle of the cone that it records."""


def simulated_pixel(voltage: float, semi_angle: float) -> float:
    """lambda / (2 REACH alpha), metres: the object pixel of such a detector, for volts and radians."""
    return electron_wavelength(voltage) / (2 * REACH * semi_angle)


def probe_width(voltage: float, semi_angle: float, defocus: float) -> float:
    """Diameter of a probe: 2 alpha defocus as rays go, and at least that of the Airy disk, 1.22 lambda / alpha.

    Metres, for volts, radians and metres.
    """
    return max(2 * semi_angle * abs(defocus), 1.22 * electron_wavelength(voltage) / semi_angle)
