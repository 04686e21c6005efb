"""Scan: what a file of any format tells of a scan, in this package's conventions but in the file's own units."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.errors import DataError
from ptycho.physics import beam, probes, samples
from ptycho.scans import exposure
from ptycho.scans.formats.stack import Derived, Frames, Stack, roots
from ptycho.scans.rawdata import RawData

MICROSCOPE = ("voltage", "semi_angle", "defocus", "step", "detector_angle", "detector_frequency")
"""The fields of a Scan that only an electron microscope has, and the step of a raster."""
FLAG = 2**31 - 1
"""No detector counts as far: a larger value is what some write in a pixel that is not to be believed."""
BATCH, BATCH_PIXELS = 64, 2**22  # patterns read at a time, at most, and their pixels


@dataclass(frozen=True, eq=False)
class Scan:
    """What a file holds; None for what it does not hold.

    Positions become float64 and frame numbers int64. Other arrays keep the file's types, so that nothing is rounded.

    patterns        (M, H, W), perhaps unread (Stack, Frames, Derived), zero frequency at H//2, W//2: intensity, or with
                    `amplitude` its square root
    x, y            (M,) where patch index N//2 lies: metres, or with `metres` False object pixels. x grows with the
                    column of an object array, y with its row
    metres          the unit of x, y, object_center
    x_start, y_start  nominal positions, in the same unit
    raster          (A, B) of the patterns, slow axis first, where the file tells it
    indices, scan_index  (M,) int, the frame number by which a file pairs patterns and positions; the scan it is of
    probe, object   (N, N) or (L, N, N) complex; (H, W) complex
    object_center   the position (y, x) that lies on object pixel (H/2, W/2); None if the file does not tell
    dark            (H, W) what the detector reads without light, still in the patterns; ``values`` takes it off
    gain            detector units for one photon or electron; ``values`` divides by it, and rounds
    mask            (H, W) bool, True where valid. Equal masks (M, H, W) of all frames become one
    energy          of the photons, joules; None for electrons. distance, detector_pixel: metres
    pixel_size      object pixel, metres, where the file states it
    nphotons, intensity_scale, background  as in RawData
    voltage         of electrons, volts, through which they were accelerated
    semi_angle, defocus, step  radians, of the cone of electrons that meets the sample; metres; of a raster (dy, dx)
    detector_angle, detector_frequency  a detector pixel: radians, or 1/metre of spatial frequency
    notes           what was in the file and is left aside, one line each
    """

    patterns: Stack | Frames | Derived | NDArray[Any] | None = None
    amplitude: bool = False
    dark: NDArray[Any] | None = None
    gain: float | None = None
    x: NDArray[np.float64] | None = None
    y: NDArray[np.float64] | None = None
    metres: bool = True
    x_start: NDArray[np.float64] | None = None
    y_start: NDArray[np.float64] | None = None
    raster: tuple[int, int] | None = None
    indices: NDArray[np.int64] | None = None
    scan_index: NDArray[np.int64] | None = None
    probe: NDArray[np.complexfloating] | None = None
    object: NDArray[np.complexfloating] | None = None
    object_center: tuple[float, float] | None = None
    mask: NDArray[np.bool_] | None = None
    energy: float | None = None
    distance: float | None = None
    detector_pixel: float | None = None
    pixel_size: float | None = None
    nphotons: float | None = None
    intensity_scale: float | None = None
    background: float | None = None
    voltage: float | None = None
    semi_angle: float | None = None
    defocus: float | None = None
    step: tuple[float, float] | None = None
    detector_angle: float | None = None
    detector_frequency: float | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("x", "y", "x_start", "y_start", "indices"):
            if (values := getattr(self, name)) is not None:
                dtype = np.int64 if name == "indices" else np.float64
                object.__setattr__(self, name, values.astype(dtype, copy=False))
        if self.mask is not None and self.mask.ndim == 3 and len(self.mask) and (self.mask == self.mask[0]).all():
            object.__setattr__(self, "mask", self.mask[0])

    @property
    def wavelength(self) -> float | None:
        """Metres, of the photons or of the electrons; None where neither energy nor voltage is known."""
        if self.energy:
            return beam.photon_wavelength(self.energy)
        return beam.electron_wavelength(self.voltage) if self.voltage else None

    @property
    def pixel(self) -> float | None:
        """Side of an object pixel, metres: as stated, or 1 / (N * frequency per detector pixel), where that frequency
        may follow from wavelength and angle, or from wavelength, distance and detector pixel."""
        if self.pixel_size is not None or self.patterns is None:
            return self.pixel_size
        angle, frequency = self.detector_angle, self.detector_frequency
        if not angle and self.distance and self.detector_pixel:
            angle = self.detector_pixel / self.distance
        if not frequency and angle and self.wavelength:
            frequency = angle / self.wavelength
        return 1 / (self.patterns.shape[-1] * frequency) if frequency else None

    @property
    def batch(self) -> int:
        """Patterns to read at a time."""
        pixels = 0 if self.patterns is None else int(np.prod(self.patterns.shape[1:]))
        return min(BATCH, max(1, BATCH_PIXELS // max(1, pixels)))

    @property
    def lacking(self) -> list[str]:
        """What is not there of that which an object pixel follows from; empty where the pixel is known."""
        if self.pixel is not None:
            return []
        wanted = ["energy", "distance", "detector_pixel"]
        if self.particle == exposure.ELECTRONS:
            wanted = ["detector_angle"] if self.voltage else ["voltage", "detector_angle"]
        return [name for name in wanted if not getattr(self, name)] or ["patterns"]

    @property
    def particle(self) -> str:
        """What is counted: 'electrons' where the file has any of MICROSCOPE and no energy of photons; or 'photons'."""
        told = any(getattr(self, name) is not None for name in MICROSCOPE)
        return exposure.ELECTRONS if told and (self.voltage or not self.energy) else exposure.PHOTONS

    def first_probe(self, mean: NDArray[np.floating]) -> tuple[NDArray[np.complexfloating], str]:
        """Of a scan without one, the probe (N, N) that a fit begins with for a mean pattern (N, N), and its name: that
        of a microscope of known semi-angle and defocus, else an estimate."""
        wavelength, pixel, angle = self.wavelength, self.pixel, self.semi_angle
        if wavelength and pixel and angle and self.defocus is not None and 2 * pixel * angle < wavelength:
            probe = probes.electron(len(mean), pixel, wavelength, angle, self.defocus)
            light = np.sqrt(mean.sum() / np.square(np.abs(probe), dtype=np.float64).sum())
            return probe * np.float32(light), "probe of semi-angle and defocus"
        return probes.estimate(mean), "estimated probe"

    def in_metres(self) -> Scan:
        """The scan with its positions in metres. DataError if they are in pixels of unknown size."""
        return self if self.metres else self._mapped(self._known_pixel(), metres=True, pixel_size=self.pixel)

    def in_pixels(self) -> Scan:
        """The scan with its positions in pixels: of its object where that is known, else from where they were."""
        scan = self
        if self.metres and self.x is not None:
            scan = self._mapped(1 / self._known_pixel(), metres=False, pixel_size=self.pixel)
        if scan.object is None or scan.object_center is None:
            return scan
        (H, W), (y, x) = scan.object.shape, scan.object_center
        return scan if (y, x) == (H / 2, W / 2) else scan._mapped(1, H / 2 - y, W / 2 - x)

    def _known_pixel(self) -> float:
        if self.pixel is None:
            electrons = self.particle == exposure.ELECTRONS
            wanted = "voltage and detector angle" if electrons else "energy, distance and detector pixel"
            raise DataError(
                f"the object pixel is unknown ({', '.join(self.lacking)} missing), so metres cannot become "
                f"pixels, nor pixels metres; expected pixel_size, or {wanted}"
            )
        return self.pixel

    def _mapped(self, factor: float, dy: float = 0.0, dx: float = 0.0, **changes: Any) -> Scan:
        """The scan with positions and object centre times `factor`, then moved by (dy, dx), and with `changes`."""
        shift = {"x": dx, "y": dy, "x_start": dx, "y_start": dy}
        changes |= {n: v * factor + d for n, d in shift.items() if (v := getattr(self, n)) is not None}
        if self.object_center is not None:
            changes["object_center"] = (self.object_center[0] * factor + dy, self.object_center[1] * factor + dx)
        return replace(self, **changes)

    def values(self, frames: slice | NDArray[Any] = slice(None)) -> NDArray[Any]:
        """The patterns selected, as the file has them but for a dark frame, which is taken off, and a gain.

        Whole numbers stay whole where the dark frame's are. Divided by a gain, intensities are rounded to counts.
        Raises DataError for a scan without patterns.
        """
        if self.patterns is None:
            raise DataError("the diffraction patterns are missing; expected a scan with patterns")
        values = np.asarray(self.patterns[frames])
        if self.dark is not None:
            whole = values.dtype.kind in "iu" and bool((self.dark == np.rint(self.dark)).all())
            dtype = np.int64 if whole else np.float64
            values = values.astype(dtype) - self.dark.astype(dtype)
        return values if self.gain is None else np.rint(values / self.gain)

    def intensity(self, frames: slice | NDArray[Any] = slice(None)) -> NDArray[Any]:
        """The patterns selected as intensity: counts where the file has them, exactly.

        An amplitude of known intensity_scale gives rounded counts, int64; one of unknown scale its square, float64.
        Raises DataError for a scan without patterns.
        """
        values = self.values(frames)
        if not self.amplitude:
            return values
        squared = np.square(values.astype(np.float64) * (self.intensity_scale or 1.0))
        return squared if self.intensity_scale is None else np.rint(squared).astype(np.int64)

    def rawdata(self) -> RawData:
        """The scan by the NPZ contract: amplitude, positions in object pixels, a probe (``first_probe``).

        An object whose place is unknown is left out; without one, metres become pixels from the corner of the scan.
        What is no count is zero where masked. Raises DataError for what RawData does not take, and for what is missing.
        """
        if self.patterns is None or self.x is None or self.y is None:
            lacking = "the diffraction patterns are" if self.patterns is None else "the positions are"
            raise DataError(f"{lacking} missing; expected patterns and positions")
        shape = self.patterns.shape
        if len(shape) != 3 or shape[1] != shape[2]:
            raise DataError(f"the patterns have shape {shape}; expected (M, N, N), square ones")
        amplitude, scale = (
            (self._believed(), self.intensity_scale) if self.amplitude else roots(self._believed, shape, self.batch)
        )
        scan = self.in_pixels()
        guess = scan.object if scan.object_center is not None else None
        x, y = scan.x, scan.y
        assert x is not None and y is not None
        if self.metres and guess is None and len(x):
            x, y = samples.to_frame(x, y, shape[-1])
        if (probe := self.probe) is None:
            # one after another: the squares of all would take many times the memory of the patterns
            mean = sum((np.square(one, dtype=np.float64) for one in amplitude), np.zeros(shape[1:])) / max(1, shape[0])
            probe, _ = self.first_probe(mean if self.mask is None else np.where(self.mask, mean, 0))
        framed = guess is not None or not self.metres
        same = ("scan_index", "nphotons", "background", "mask", "energy", "voltage")
        return RawData(
            diff3d=amplitude,
            xcoords=x,
            ycoords=y,
            probeGuess=probe.astype(np.complex64),
            objectGuess=None if guess is None else guess.astype(np.complex64),
            xcoords_start=scan.x_start if framed else None,
            ycoords_start=scan.y_start if framed else None,
            intensity_scale=scale,
            pixel_size=self.pixel,
            step=None if self.step is None else np.array(self.step),
            **{name: getattr(self, name) for name in same},
        )

    def _believed(self, frames: slice = slice(None)) -> NDArray[Any]:
        """The patterns selected, zero where the mask leaves out what is no count: -1, NaN, FLAG, a fraction."""
        values = self.values(frames)
        if self.mask is not None and self.mask.shape == values.shape[1:]:
            count = (values >= 0) & (values < FLAG) & (self.amplitude | (values == np.rint(values)))
            values = np.where(self.mask | count, values, 0)
        return values
