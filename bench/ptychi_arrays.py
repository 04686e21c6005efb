"""pty-chi's arrays in memory (ptychi.api.task.PtychographyTask, version 2.2), which has no file format of its own.

diffraction_data (M, N, N) intensity, zero frequency at the centre (pty-chi shifts it: `fft_shift`); object_data
(slices, H, W); probe_data (coherent, incoherent, N, N); probe_position_{y,x}_px (M,), y along rows and x along columns
as here; valid_pixel_mask (N, N), True where valid.

By default the origin of the positions is put at round(H/2) - 1/2 of the object, and a position is that of the patch's
middle, (N-1)/2: position 0 puts index N//2 of the patch on object pixel round(H/2).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.errors import DataError
from ptycho.scans.formats.scan import Scan, layer, modes


def from_arrays(
    diffraction_data: NDArray[Any],
    probe_position_y_px: NDArray[np.floating],
    probe_position_x_px: NDArray[np.floating],
    probe_data: NDArray[np.complexfloating] | None = None,
    object_data: NDArray[np.complexfloating] | None = None,
    valid_pixel_mask: NDArray[np.bool_] | None = None,
    pixel_size: float | None = None,
) -> Scan:
    """The scan of pty-chi's arrays, `pixel_size` in metres. Raises DataError for arrays of another rank."""
    here = Path("the arrays")
    found = layer(here, object_data)
    if diffraction_data.ndim != 3:
        raise DataError(f"diffraction_data has shape {diffraction_data.shape}; expected (M, N, N)")
    return Scan(
        patterns=diffraction_data,
        x=np.asarray(probe_position_x_px, np.float64),
        y=np.asarray(probe_position_y_px, np.float64),
        metres=False,
        probe=modes(here, probe_data),
        object=found,
        object_center=_center(found.shape) if found is not None else None,
        mask=valid_pixel_mask,
        pixel_size=pixel_size,
    )


def to_arrays(scan: Scan) -> dict[str, NDArray[Any]]:
    """What PtychographyTask takes, y first, by its own names; without what the scan does not hold.

    Without an object, whose frame they would be in, positions have their bounding box around zero.
    Raises DataError for a scan without patterns or positions.
    """
    if scan.patterns is None or scan.x is None or scan.y is None:
        raise DataError("patterns or positions are missing; expected both")
    scan = scan.in_pixels()
    assert scan.x is not None and scan.y is not None
    if scan.object is not None and scan.object_center is not None:
        dy, dx = (a - b for a, b in zip(scan.object_center, _center(scan.object.shape), strict=True))
    else:
        dy, dx = ((v.max() + v.min()) / 2 for v in (scan.y, scan.x))
    arrays: dict[str, NDArray[Any] | None] = {
        "diffraction_data": scan.intensity(),
        "probe_position_y_px": scan.y - dy,
        "probe_position_x_px": scan.x - dx,
        "probe_data": scan.probe.reshape(1, -1, *scan.probe.shape[-2:]) if scan.probe is not None else None,
        "object_data": scan.object[np.newaxis] if scan.object is not None else None,
        "valid_pixel_mask": scan.mask,
    }
    return {name: array for name, array in arrays.items() if array is not None}


def _center(shape: tuple[int, ...]) -> tuple[float, float]:
    """pty-chi's position, (y, x), that lies on object pixel (H/2, W/2)."""
    return float(shape[0] / 2 - np.rint(shape[0] / 2)), float(shape[1] / 2 - np.rint(shape[1] / 2))
