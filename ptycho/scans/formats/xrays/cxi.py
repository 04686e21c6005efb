"""CXI 1.6 (Maia, Nature Methods 9 (2012) 854; the CXI file format, cxidb.org), as ptychodus and cdtools read and write.

    entry_1/data_1/data, or instrument_1/detector_1/data    (M, H, W) intensity, zero frequency at the centre; or a
                                                            raster (A, B, H, W), whose translation may be (A, B, 3)
    entry_1/sample_1/geometry_1/translation, or data_1/     (M, 2 or more) metres, columns x, y
    entry_1/instrument_1/source_1/energy, or wavelength     joules, metres
    entry_1/instrument_1/detector_1/distance, x_pixel_size, y_pixel_size   metres
    entry_1/instrument_1/detector_1/data_dark               (H, W) or (K, H, W), what it reads without light
    entry_1/instrument_1/detector_1/mask                    bits: 0 is valid, and so is 0x1000 alone (has signal)
    entry_1/image_1/data, or source_1/illumination          probe, image_2/data the object, as ptychodus writes them
    entry_1/ptychodus/object_*                              its pixel and centre in metres, likewise

The format's translation is that of the sample in a frame whose x and y point against the columns and rows of a detector
(x to the left seen along the beam, y up): both signs cancel, and x, y are the probe's place on the object as it stands.
ptychodus takes them so, and cdtools, which negates the translation and then projects it on a negative detector basis.
The object's centre is ptychodus's: centre pixel (W-1)/2 of the object under index (N-1)/2 of the patch.
"""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptycho.errors import DataError
from ptycho.physics.beam import PLANCK_LIGHT
from ptycho.scans.archive import written
from ptycho.scans.formats.containers import h5
from ptycho.scans.formats.scan import Scan

NAME, SUFFIXES = "cxi", (".cxi",)
HOLDS = frozenset({"patterns", "positions", "probe", "object", "mask"})
ENTRY = "entry_1"
SOURCE, DETECTOR, EXTRA = (f"{ENTRY}/{g}" for g in ("instrument_1/source_1", "instrument_1/detector_1", "ptychodus"))
DATA = f"{ENTRY}/data_1/data"
TRANSLATION = f"{ENTRY}/sample_1/geometry_1/translation"
HAS_SIGNAL = 0x1000
ARRAYS = (DATA, TRANSLATION, f"{SOURCE}/energy", f"{DETECTOR}/distance", f"{DETECTOR}/x_pixel_size")
"""What a file of this kind holds: see proposal.nearest."""


def recognises(path: Path, hdf5: set[str], arrays: set[str]) -> bool:
    """Whether it is CXI, by the names at the root of an HDF5 file."""
    return ENTRY in hdf5


def read(path: Path) -> Scan:
    """Read the file, its patterns when they are indexed. Raises DataError for a wrong type or shape."""
    with h5.opened(path) as file:
        place = _first(file, TRANSLATION, f"{ENTRY}/data_1/translation", f"{DETECTOR}/translation")
        translation = h5.array(file, place)
        if translation is not None and (translation.ndim not in (2, 3) or translation.shape[-1] < 2):
            raise DataError(f"{place} has shape {translation.shape}; expected (M, 2) or (M, 3)")
        x, y = (None, None) if translation is None else translation.reshape(-1, translation.shape[-1]).T[:2]
        wavelength, energy = h5.scalar(file, f"{SOURCE}/wavelength"), h5.scalar(file, f"{SOURCE}/energy")
        bits, dark = h5.array(file, f"{DETECTOR}/mask", "iub"), h5.array(file, f"{DETECTOR}/data_dark")
        return Scan(
            patterns=h5.stack(file, _first(file, DATA, f"{DETECTOR}/data")),
            dark=(dark.mean(0) if dark.ndim == 3 else dark) if dark is not None and dark.any() else None,
            x=x,
            y=y,
            indices=h5.array(file, f"{EXTRA}/probe_position_indexes", "iu"),
            probe=h5.modes(h5.array(file, _first(file, f"{ENTRY}/image_1/data", f"{SOURCE}/illumination"), "fc")),
            object=h5.layer(h5.array(file, f"{ENTRY}/image_2/data", "fc")),
            object_center=h5.center(*(h5.scalar(file, f"{EXTRA}/object_center_{axis}_m") for axis in "yx")),
            mask=(bits == 0) | (bits == HAS_SIGNAL) if bits is not None else None,
            energy=energy or (PLANCK_LIGHT / wavelength if wavelength else None),
            distance=h5.scalar(file, f"{DETECTOR}/distance") or None,
            detector_pixel=_square(file, f"{DETECTOR}/x_pixel_size", f"{DETECTOR}/y_pixel_size"),
            pixel_size=_square(file, f"{EXTRA}/object_pixel_width_m", f"{EXTRA}/object_pixel_height_m"),
        )


def write(path: Path, scan: Scan) -> None:
    """Write the scan, with what ptychodus adds to the format so that it opens there as patterns and as product.

    Raises DataError for positions in pixels of unknown size, and for an object whose place is not known.
    """
    scan = scan.in_metres() if scan.x is not None else scan
    if scan.object is not None and scan.object_center is None:
        raise DataError("where the object lies is not known; expected an object with its positions")
    y, x = scan.object_center or (None, None)
    pixels = [f"{EXTRA}/{part}_pixel_{side}_m" for part in ("object", "probe") for side in ("width", "height")]
    values: dict[str, Any] = {
        "cxi_version": 160,
        f"{SOURCE}/energy": scan.energy,
        f"{DETECTOR}/distance": scan.distance,
        f"{DETECTOR}/x_pixel_size": scan.detector_pixel,
        f"{DETECTOR}/y_pixel_size": scan.detector_pixel,
        # what electrons' pixel follows from, CXI has no place for
        **dict.fromkeys(pixels, scan.pixel_size if scan.energy else scan.pixel),
        f"{EXTRA}/object_center_y_m": y,
        f"{EXTRA}/object_center_x_m": x,
        f"{EXTRA}/probe_position_indexes": scan.indices,
        f"{DETECTOR}/mask": None if scan.mask is None else (~scan.mask).astype(np.uint32),
        f"{ENTRY}/image_2/data": None if scan.object is None else scan.object[np.newaxis],
    }
    links = {}
    if scan.x is not None and scan.y is not None:
        values[TRANSLATION] = np.stack([scan.x, scan.y, np.zeros_like(scan.x)], axis=1)
        links[f"{ENTRY}/data_1/translation"] = TRANSLATION
    if scan.probe is not None:
        values[f"{ENTRY}/image_1/data"] = scan.probe.reshape(1, -1, *scan.probe.shape[-2:])
        links[f"{SOURCE}/illumination"] = f"{ENTRY}/image_1/data"
    with written(path) as partial, h5py.File(partial, "w") as file:
        for group in (SOURCE, DETECTOR, f"{ENTRY}/data_1", EXTRA):
            file.create_group(group)
        if scan.patterns is not None:
            h5.put_patterns(file[DETECTOR], "data", scan)
            links[DATA] = f"{DETECTOR}/data"
        for key, value in values.items():
            if value is not None:
                file[key] = value
        for key, target in links.items():
            file[key] = h5py.SoftLink(f"/{target}")


def _first(file: h5py.File, *keys: str) -> str:
    """The first of the keys that the file has; the last of all where it has none."""
    return next((key for key in keys if key in file), keys[-1])


def _square(file: h5py.File, *keys: str) -> float | None:
    sides = [v for key in keys if (v := h5.scalar(file, key))]
    return h5.side(sides, f"{' and '.join(keys)} are {sides}; expected square pixels")
