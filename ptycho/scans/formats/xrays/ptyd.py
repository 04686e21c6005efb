"""ptypy's .ptyd (ptypy.core.data, ptypy.io.h5rw): prepared patterns with their positions; no probe, no object.

    chunks/K/data (m, N, N) intensity, zero frequency at meta/center; positions (m, 2) metres, (y, x); indices (m,);
    weights, as data or empty
    meta/energy keV, meta/distance and meta/psize (detector pixel, one number or two) metres, meta/weight2d (N, N)

Chunks follow each other by number. Positions are where the probe is on the object, y along rows and x along columns, as
here. A pixel is valid where its weight is above zero; weights that differ from frame to frame become one mask of what
is valid in all. h5rw writes the type of each item as an attribute, without which ptypy does not read it.
"""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ptycho.errors import DataError
from ptycho.physics.beam import ELECTRONVOLT
from ptycho.scans.archive import written
from ptycho.scans.formats.containers import h5
from ptycho.scans.formats.scan import Scan

NAME, SUFFIXES = "ptyd", (".ptyd",)
HOLDS = frozenset({"patterns", "positions", "mask"})
ARRAYS = ("chunks/0/data", "chunks/0/positions", "meta/energy", "meta/distance", "meta/psize")


def recognises(path: Path, hdf5: set[str], arrays: set[str]) -> bool:
    """Whether it is a .ptyd file, by the names at the root of an HDF5 file."""
    return {"chunks", "meta"} <= hdf5


def read(path: Path) -> Scan:
    """Read the file, its patterns when they are indexed. Raises DataError for a wrong type or shape."""
    with h5.opened(path) as file:
        numbers = sorted(int(k) for k in file["chunks"] if k.isdigit() and file["chunks"].get(k) is not None)
        chunks = [f"chunks/{k}" for k in numbers]
        patterns = h5.stack(file, *(f"{c}/data" for c in chunks))
        found = [p for c in chunks if (p := _positions(file, f"{c}/positions")) is not None]
        y, x = np.concatenate(found).T if found else (None, None)
        numbered = [i.reshape(-1) for c in chunks if (i := h5.array(file, f"{c}/indices", "iuf")) is not None]
        center, psize = h5.array(file, "meta/center"), h5.array(file, "meta/psize")
        notes: tuple[str, ...] = ()
        if patterns is not None and center is not None and np.ptp([*center.reshape(-1), patterns.frame[0] // 2]) >= 1:
            notes = (f"meta/center is {center.reshape(-1)}; patterns are taken to be centred on N//2",)
        pixel = h5.side([] if psize is None else psize, f"meta/psize is {psize}; expected square pixels")
        energy = _known(file, "meta/energy")
        return Scan(
            patterns=patterns,
            x=x,
            y=y,
            indices=np.concatenate(numbered) if numbered else None,
            mask=_mask(file, chunks, patterns.frame if patterns is not None else None),
            energy=energy * 1e3 * ELECTRONVOLT if energy else None,
            distance=_known(file, "meta/distance") or None,
            detector_pixel=pixel or None,
            notes=notes,
        )


def write(path: Path, scan: Scan) -> None:
    """Write the scan in one chunk. Raises DataError without patterns or positions, or without an energy, a distance and
    a detector pixel, from which alone ptypy knows the object pixel."""
    if scan.patterns is None or scan.x is None or scan.y is None:
        raise DataError("patterns or positions are missing; expected both")
    if lacking := [n for n in ("energy", "distance", "detector_pixel") if not getattr(scan, n)]:
        raise DataError(f"{', '.join(lacking)} missing; expected what ptyd derives the object pixel from")
    scan = scan.in_metres()
    assert scan.patterns is not None and scan.x is not None and scan.y is not None and scan.energy
    M, H, W = scan.patterns.shape
    items = {
        "chunks/0/positions": np.stack([scan.y, scan.x], axis=1),
        "chunks/0/indices": scan.indices if scan.indices is not None else np.arange(M),
        "chunks/0/weights": np.zeros(0),
        "meta/version": "0.1",
        "meta/label": path.stem,
        "meta/num_frames": M,
        "meta/shape": np.array([H, W]),
        "meta/center": np.array([H // 2, W // 2], float),
        "meta/weight2d": np.ones((H, W)) if scan.mask is None else scan.mask.astype(float),
        "meta/energy": scan.energy / (1e3 * ELECTRONVOLT),
        "meta/distance": scan.distance,
        "meta/psize": np.full(2, scan.detector_pixel),
    }
    with written(path) as partial, h5py.File(partial, "w") as file:
        file.attrs["h5rw_version"] = "0.1"
        for name in ("chunks", "chunks/0", "meta", "info"):
            file.create_group(name).attrs["type"] = "dict"
        h5.put_patterns(file["chunks/0"], "data", scan).attrs["type"] = "array"
        for key, value in items.items():
            kind = {np.ndarray: "array", str: "string"}.get(type(value), "scalar")
            file.create_dataset(key, data=value).attrs["type"] = kind


def _known(file: h5py.File, key: str) -> float | None:
    return None if key in file and file[key].attrs.get("type") == "None" else h5.scalar(file, key)


def _positions(file: h5py.File, key: str) -> NDArray[Any] | None:
    found = h5.array(file, key)
    if found is None or not found.size:
        return None
    if found.ndim != 2 or found.shape[1] != 2:
        raise DataError(f"{key} has shape {found.shape}; expected (m, 2)")
    return found


def _mask(file: h5py.File, chunks: list[str], frame: tuple[int, int] | None) -> NDArray[np.bool_] | None:
    """What is valid in every frame, None if that is all."""
    weights = [h5.array(file, key, "fiub") for key in (*(f"{c}/weights" for c in chunks), "meta/weight2d")]
    fitting = [w for w in weights if w is not None and w.shape[-2:] == frame]
    valid = np.all([(w > 0).reshape(-1, *w.shape[-2:]).all(0) for w in fitting], axis=0)
    return None if valid.all() else valid
