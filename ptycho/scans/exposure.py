"""What a dose per pattern is to the sample, in what is counted there: photons per um^2, gray, or electrons per A^2.

The words for the particle and for its doses are here alone. Light to import: `make` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ptycho.errors import DataError

if TYPE_CHECKING:
    from ptycho.scans.formats.scan import Scan
    from ptycho.scans.rawdata import RawData

PHOTONS, ELECTRONS = "photons", "electrons"
SQUARE_MICRON, SQUARE_ANGSTROM = 1e-12, 1e-20
"""Square metres."""
REACH = 100.0, 800e3
"""Electronvolts: the energies that the tables of absorption span."""


@dataclass(frozen=True)
class Exposure:
    """What particles per pattern are to the sample.

    particle  PHOTONS or ELECTRONS
    area      of the sample for each pattern, square metres: of an electron microscope's raster the product of its
              steps, of other scans the lit area over the number of patterns. None where a pixel's size is unknown
    gray      that one photon per square metre leaves in the sample; None where the material is unknown

    A dose has two units. DOSES and axes are in ``unit``: photons per pattern, or electrons per A^2. The sample feels
    ``sample_unit``: gray, photons per um^2, or again electrons per A^2.
    """

    particle: str = PHOTONS
    area: float | None = None
    gray: float | None = None

    @property
    def per(self) -> str:
        """'per pattern', or 'per A^2': what DOSES count particles on."""
        return "per A^2" if self._per_angstrom else "per pattern"

    @property
    def unit(self) -> str:
        """The unit of DOSES: 'photons per pattern'."""
        return f"{self.particle} {self.per}"

    @property
    def short(self) -> str:
        """The same in short, for the titles of panels: 'photons' are per pattern."""
        return "e-/A^2" if self._per_angstrom else self.particle

    @property
    def sample_unit(self) -> str | None:
        """The unit of what the sample feels; None where that is unknown."""
        if self.area is None or self._per_angstrom:
            return self.unit if self.area else None
        return f"{self.particle} per um^2" if self.gray is None else "Gy"

    @property
    def _per_angstrom(self) -> bool:
        return self.particle == ELECTRONS and self.area is not None

    def dose(self, nphotons: float) -> float:
        """`nphotons` particles per pattern in ``unit``."""
        return nphotons * SQUARE_ANGSTROM / self.area if self._per_angstrom and self.area else nphotons

    def nphotons(self, dose: float) -> float:
        """Particles per pattern of a `dose` in ``unit``."""
        return dose / self.dose(1.0)

    def on_sample(self, nphotons: float) -> float | None:
        """`nphotons` particles per pattern in ``sample_unit``; None where that is unknown."""
        if self.area is None or self._per_angstrom:
            return self.dose(nphotons) if self.area else None
        return nphotons / self.area * (SQUARE_MICRON if self.gray is None else self.gray)

    def words(self, nphotons: float) -> str:
        """'1e+04 photons per pattern'."""
        return f"{self.dose(nphotons):.3g} {self.unit}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, of which ``Exposure(**values)`` makes it again."""
        return asdict(self)


OF_PHOTONS = Exposure()
"""That of a scan of photons, of which no more is known."""


def of(data: RawData, material: str | None = None) -> Exposure:
    """The exposure of a scan. Raises DataError as :func:`of_known` does."""
    from ptycho.physics.photons import illuminated_area

    lit = illuminated_area(data.xcoords, data.ycoords, data.probeGuess) / len(data)
    return of_known(data, data.pixel_size, lit, material)


def of_known(
    scan: RawData | Scan, pixel: float | None = None, lit: float = 0.0, material: str | None = None
) -> Exposure:
    """The exposure of a scan with object pixels of `pixel` metres, of which `lit` are lit for each pattern.

    Without a pixel, what photons are to the sample is unknown, and so is what electrons are, unless on a raster. With a
    `material`, a formula like 'H50C30N9O10S1', photons are told in gray. Raises DataError for a formula that is none,
    and for a scan of unknown energy or pixel size.
    """
    area = None if pixel is None else lit * pixel**2
    if scan.particle == ELECTRONS and scan.step is not None:
        area = float(scan.step[0] * scan.step[1])
    if material is None:
        return Exposure(scan.particle, area)
    if area is None or scan.energy is None:
        lacking = "the size of an object pixel" if area is None else "the energy of the photons"
        raise DataError(f"MATERIAL={material}: {lacking} is unknown; gray follow from energy and pixel size")
    return Exposure(scan.particle, area, gray_per_fluence(material, scan.energy))


def gray_per_fluence(material: str, energy: float) -> float:
    """E mu / rho, gray for one photon of `energy` joules per square metre of a thin sample: its surface dose.

    D = fluence * E mu / rho (Howells et al., J. Electron Spectrosc. Relat. Phenom. 170 (2009) 4): neither thickness nor
    density is in it. mu / rho is that of the photoelectric effect alone, from the tables of Elam et al. (Radiat. Phys.
    Chem. 63 (2002) 121): what is scattered leaves a thin sample with nearly all its energy, and light elements hardly
    fluoresce. For water it is within 1 % of the mass energy-absorption coefficient from 1 to 15 keV.
    Raises DataError for a formula that is none and for energies beyond REACH.
    """
    import xraydb  # here, for it takes a second

    from ptycho.physics.beam import ELECTRONVOLT

    electronvolts = energy / ELECTRONVOLT
    if not REACH[0] <= electronvolts <= REACH[1]:
        accepted = f"{REACH[0]:g} to {REACH[1]:g} eV"
        raise DataError(f"MATERIAL={material}: the photons have {electronvolts:.4g} eV; expected {accepted}")
    try:
        masses = {name: n * xraydb.atomic_mass(name) for name, n in xraydb.chemparse(material).items()}
    except (ValueError, KeyError):
        masses = {}
    if not masses:
        raise DataError(f"MATERIAL={material!r} is no formula; expected one like H50C30N9O10S1")
    squares = sum(mass * xraydb.mu_elam(name, electronvolts, kind="photo") for name, mass in masses.items())  # cm^2
    return float(energy * 0.1 * squares / sum(masses.values()))


def of_raster(step: float) -> Exposure:
    """The exposure of electrons on a square raster of `step` angstrom."""
    return Exposure(ELECTRONS, step**2 * SQUARE_ANGSTROM)


def read(values: Mapping[str, Any] | None) -> Exposure:
    """The exposure that ``as_dict`` gave; OF_PHOTONS where there is none."""
    return Exposure(**values) if values else OF_PHOTONS
