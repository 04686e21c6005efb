"""Wavelengths against tables and against momentum, and what a simulated microscope's detector and probe span."""

import pytest

from ptycho.physics import beam


@pytest.mark.parametrize(
    ("kilovolts", "picometres"), [(30, 6.979), (80, 4.176), (100, 3.701), (200, 2.508), (300, 1.969)]
)
def test_the_wavelength_of_electrons_is_that_of_the_tables(kilovolts, picometres):
    """Williams and Carter, Transmission Electron Microscopy, table 1.2; Kirkland, appendix."""
    assert beam.electron_wavelength(kilovolts * 1e3) == pytest.approx(picometres * 1e-12, abs=5e-16)


@pytest.mark.parametrize("volts", [30e3, 300e3])
def test_wavelength_and_mass_are_of_one_electron(volts):
    """h / (gamma m v), with the speed that gamma = 1 / sqrt(1 - v^2 / c^2) asks for."""
    gamma = beam.relativistic_mass(volts)
    speed = beam.LIGHT * (1 - gamma**-2) ** 0.5
    momentum = gamma * beam.ELECTRON_MASS * speed
    assert beam.electron_wavelength(volts) == pytest.approx(beam.PLANCK / momentum, rel=1e-9)


def test_a_photon_of_one_angstrom_has_12_398_electronvolts():
    assert beam.photon_wavelength(12398.42 * beam.ELECTRONVOLT) == pytest.approx(1e-10, rel=1e-6)


def test_the_detector_of_a_simulated_microscope_reaches_to_two_semi_angles():
    pixel = beam.simulated_pixel(80e3, 25e-3)
    assert beam.electron_wavelength(80e3) / (2 * pixel) == pytest.approx(50e-3)
    assert beam.probe_width(80e3, 25e-3, 20e-9) == pytest.approx(1e-9)
    assert beam.probe_width(80e3, 25e-3, 0) == pytest.approx(1.22 * 4.1757e-12 / 25e-3, rel=1e-4)
