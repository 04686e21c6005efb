"""A reconstructed object as a file: NPZ, or a product of ptychodus."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ptycho.errors import ConfigError, DataError
from ptycho.files import replacing
from ptycho.scans.archive import naming
from ptycho.scans.formats.scan import Scan
from ptycho.scans.formats.xrays import ptychodus_product
from ptycho.scans.rawdata import RawData
from ptycho.scans.reconstruction import Reconstruction

PRODUCT = (".h5", ".hdf5")
Writer = Callable[[Path, Reconstruction, RawData, NDArray[np.float32] | None], None]


def writer(path: Path) -> Writer | None:
    """What writes a reconstruction to a path, by its suffix; None for a picture, which figures draw.

    Raises DataError for another suffix, and ConfigError where no file can be written there: a fit takes minutes, and
    its object would be lost.
    """
    suffix = path.suffix.lower()
    writers: dict[str, Writer | None] = {".png": None, ".npz": _write_arrays}
    writers |= dict.fromkeys(PRODUCT, _write_product)
    if suffix not in writers:
        raise DataError(f"{path}: {suffix or 'no suffix'} names no format; expected one of {', '.join(writers)}")
    if os.path.isdir(path):
        raise ConfigError(f"{path}: this is a folder; expected the name of a file")
    folder = path.parent
    if not os.path.isdir(folder):
        raise ConfigError(f"{path}: there is no folder {folder}; expected a folder that exists")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{path}: the folder {folder} cannot be written to; expected one that can")
    return writers[suffix]


def check(paths: Iterable[Path], data: RawData) -> None:
    """Raise DataError where the object of a scan cannot be written to one of the paths: a product is in metres."""
    product = next((path for path in paths if path.suffix.lower() in PRODUCT), None)
    if product is not None and data.pixel_size is None:
        told = f"{product}: a product of ptychodus is in metres, and the scan does not tell the size of an object pixel"
        raise DataError(f"{told}; expected OUT.npz or OUT.png, or a scan with energy, distance and detector pixel")


def _write_arrays(path: Path, found: Reconstruction, data: RawData, sigma: NDArray[np.float32] | None) -> None:
    """object (H, W) complex64, coverage, origin_yx, probe, xcoords, ycoords; pixel_size and sigma where known."""
    arrays = {name: getattr(found, name) for name in ("object", "coverage", "origin_yx")}
    arrays |= {"probe": data.probeGuess, "xcoords": data.xcoords, "ycoords": data.ycoords}
    arrays |= {name: value for name, value in (("pixel_size", data.pixel_size), ("sigma", sigma)) if value is not None}
    with replacing(path) as partial, open(partial, "wb") as file:
        np.savez_compressed(file, **arrays)


def _write_product(path: Path, found: Reconstruction, data: RawData, sigma: NDArray[np.float32] | None) -> None:
    with naming(path):
        ptychodus_product.write(path, as_scan(found, data))


def as_scan(found: Reconstruction, data: RawData) -> Scan:
    """A reconstruction as a scan without patterns: with the probe and the positions of its scan."""
    (H, W), (top, left) = found.object.shape, found.origin_yx
    return Scan(
        x=data.xcoords,
        y=data.ycoords,
        metres=False,
        probe=data.probeGuess,
        object=found.object,
        object_center=(float(top + H / 2), float(left + W / 2)),
        pixel_size=data.pixel_size,
        nphotons=data.nphotons,
    )
