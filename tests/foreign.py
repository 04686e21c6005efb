"""Files of each foreign format, written by a few lines of h5py or NumPy from its published layout alone.

A scan has an object, a probe, and integer positions. The patterns follow from the rule by which each program cuts the
patch from the object, so that a reader with a wrong sign, axis or centre does not explain them. SCAN is small, and its
positions are random. `raster` makes one that a study verifies.
"""

from dataclasses import dataclass

import h5py
import numpy as np
from scipy import ndimage

PIXEL = 2e-8
DETECTOR, DISTANCE = 75e-6, 2.0
EV = 1.602176634e-19
N = 64
ENERGY = 6.62607015e-34 * 299792458.0 * DISTANCE / (N * DETECTOR * PIXEL)  # joules, from the pixel wanted
CENTER_Y, CENTER_X = 3e-6, -4e-6
BAD = np.zeros((N, N), bool)
BAD[5, 40] = BAD[:, 60] = True


@dataclass(frozen=True, eq=False)
class Scan:
    """What is written: complex64 object (H, W) and probe (N, N), the first pixel (M,) of each patch, the raster (A, B)
    of the patterns and its steps (dy, dx) in metres for electrons; counts (M, N, N) uint16 follow."""

    object: np.ndarray
    probe: np.ndarray
    top: np.ndarray
    left: np.ndarray
    raster: tuple[int, int]
    step: tuple[float, float]
    rng: np.random.Generator

    def __post_init__(self):
        n = len(self.probe)
        patches = [self.object[t : t + n, l : l + n] for t, l in zip(self.top, self.left, strict=True)]
        waves = [np.fft.fftshift(np.fft.fft2(self.probe * patch)) / n for patch in patches]
        counts = np.stack([self.rng.poisson(np.abs(wave) ** 2) for wave in waves]).astype(np.uint16)
        object.__setattr__(self, "counts", counts)

    def in_raster(self, values):
        """(M, ...) as (A, B, ...)."""
        return values.reshape(*self.raster, *values.shape[1:])

    # ptychodus: the middle of the patch, (N-1)/2, is at (x - centre)/pixel + (W-1)/2
    @property
    def x_m(self):
        return (self.left + (N - 1) / 2 - (self.object.shape[1] - 1) / 2) * PIXEL + CENTER_X

    @property
    def y_m(self):
        return (self.top + (N - 1) / 2 - (self.object.shape[0] - 1) / 2) * PIXEL + CENTER_Y

    @property
    def numbers(self):
        return np.arange(len(self.top)) * 3 + 5


def _radius(n, shift=0):
    return np.hypot(*(np.mgrid[:n, :n] - n // 2) - np.array([0, shift])[:, None, None])


def _random():
    rng = np.random.default_rng(7)
    H, W, M = 130, 161, 12
    obj = (rng.uniform(0.5, 1, (H, W)) * np.exp(1j * rng.uniform(0, 1, (H, W)))).astype(np.complex64)
    r = _radius(N, 3)
    probe = (30 * (r < 11) * np.exp(0.02j * r**2)).astype(np.complex64)
    top, left = rng.integers(0, H - N, M), rng.integers(0, W - N, M)
    return Scan(obj, probe, top, left, (3, 4), (0.5e-9, 0.4e-9), rng)


def raster(electron_pixel, n=N, photons=2e5):
    """A raster of 9 x 7 with steps of 6 and 5 object pixels, over an object that a study can find. `electron_pixel`,
    metres, is that of an electron microscope; n pixels across a pattern."""
    rng = np.random.default_rng(3)
    (A, B), (dy, dx), margin = (9, 7), (6, 5), 8
    H, W = n + (A - 1) * dy + 2 * margin, n + (B - 1) * dx + 2 * margin
    absorbed, phase = (ndimage.gaussian_filter(rng.standard_normal((2, H, W)), (0, 1.5, 1.5)) * 5).clip(-2, 2)
    obj = ((0.8 + 0.1 * absorbed) * np.exp(0.5j * phase)).astype(np.complex64)
    r = _radius(n)
    probe = (r < 14) * np.exp(0.01j * r**2)
    probe = (probe * np.sqrt(photons / np.sum(np.abs(probe) ** 2))).astype(np.complex64)
    top, left = (margin + np.indices((A, B)) * np.array([dy, dx])[:, None, None]).reshape(2, -1)
    return Scan(obj, probe, top, left, (A, B), (dy * electron_pixel, dx * electron_pixel), rng)


SCAN = _random()
OBJECT, PROBE, COUNTS, TOP, LEFT = SCAN.object, SCAN.probe, SCAN.counts, SCAN.top, SCAN.left
(H, W), M = OBJECT.shape, len(COUNTS)
X_M, Y_M, NUMBERS = SCAN.x_m, SCAN.y_m, SCAN.numbers


def cxi(path, scan=SCAN):
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 160
        file["entry_1/instrument_1/detector_1/data"] = scan.counts
        file["entry_1/data_1/data"] = h5py.SoftLink("/entry_1/instrument_1/detector_1/data")
        file["entry_1/sample_1/geometry_1/translation"] = np.stack([scan.x_m, scan.y_m, 0 * scan.x_m], 1)
        file["entry_1/instrument_1/source_1/energy"] = ENERGY
        detector = file["entry_1/instrument_1/detector_1"]
        detector["distance"], detector["x_pixel_size"], detector["y_pixel_size"] = DISTANCE, DETECTOR, DETECTOR
        bits = np.where(BAD, 1, 0).astype(np.uint32)
        bits[20, 20] = 0x1000  # a pixel that has signal, which is no fault
        detector["mask"] = bits
        file["entry_1/image_1/data"] = scan.probe[None, None]
        file["entry_1/image_2/data"] = scan.object[None]
        file["entry_1/ptychodus/object_center_x_m"] = CENTER_X
        file["entry_1/ptychodus/object_center_y_m"] = CENTER_Y
    return path


def product_h5(path, scan=SCAN, header=True):
    with h5py.File(path, "w") as file:
        if header:
            file.attrs["name"] = "a product"
            file.attrs["photon_energy_eV"] = ENERGY / EV
            file.attrs["detector_object_distance_m"] = DISTANCE
        file["probe_position_indexes"] = scan.numbers
        file["probe_position_x_m"], file["probe_position_y_m"] = scan.x_m, scan.y_m
        file["probe"], file["object"] = scan.probe[None, None], scan.object[None]
        for name in ("probe", "object"):
            file[name].attrs["pixel_width_m"] = file[name].attrs["pixel_height_m"] = PIXEL
        file["object"].attrs["center_x_m"], file["object"].attrs["center_y_m"] = CENTER_X, CENTER_Y
        file["object_layer_spacing_m"] = np.zeros(0)
    return path


def product_npz(path, scan=SCAN):
    np.savez(
        path,
        name="a product",
        photon_energy_eV=ENERGY / EV,
        detector_object_distance_m=DISTANCE,
        probe_position_indexes=scan.numbers,
        probe_position_x_m=scan.x_m,
        probe_position_y_m=scan.y_m,
        probe=scan.probe[None, None],
        object=scan.object[None],
        object_center_x_m=CENTER_X,
        object_center_y_m=CENTER_Y,
        **{f"{name}_pixel_{side}_m": PIXEL for name in ("probe", "object") for side in ("width", "height")},
    )
    return path


def ptychodus_h5(path, scan=SCAN):
    product_h5(path.with_name("product.h5"), scan)
    with h5py.File(path, "w") as file:
        file["patterns"], file["indexes"], file["bad_pixels"] = scan.counts[::-1], scan.numbers[::-1], BAD
        file["patterns"].attrs["detector_pixel_width_m"] = DETECTOR
        file["patterns"].attrs["detector_pixel_height_m"] = DETECTOR
    return path


def ptychodus_npz(path, scan=SCAN):
    product_npz(path.with_name("product.npz"), scan)
    np.savez_compressed(path, patterns=scan.counts[::-1], indexes=scan.numbers[::-1], bad_pixels=BAD)
    return path


def ptychovit(path, scan=SCAN):
    product_h5(path.with_name(path.name.replace("_dp", "_para")), scan, header=False)
    with h5py.File(path, "w") as file:
        file["dp"] = scan.counts.astype(np.float32)
    return path


def ptyd(path, scan=SCAN):
    with h5py.File(path, "w") as file:
        for k, part in enumerate((slice(0, 5), slice(5, None))):
            chunk = file.create_group(f"chunks/{k}")
            chunk["data"], chunk["indices"] = scan.counts[part].astype(np.int32), np.arange(len(scan.counts))[part]
            chunk["positions"] = np.stack([scan.y_m, scan.x_m], 1)[part]
            chunk["weights"] = np.zeros(0)
        meta = file.create_group("meta")
        meta["energy"], meta["distance"], meta["psize"] = ENERGY / EV / 1e3, DISTANCE, [DETECTOR, DETECTOR]
        meta["center"], meta["shape"], meta["weight2d"] = [N / 2, N / 2], [N, N], (~BAD).astype(float)
    return path


def contract(path, scan=SCAN):
    np.savez(
        path,
        counts=scan.counts,
        xcoords=scan.left + N // 2,
        ycoords=scan.top + N // 2,
        probeGuess=scan.probe,
        objectGuess=scan.object,
        mask=~BAD,
        pixel_size=PIXEL,
    )
    return path


FILES = {
    "cxi": (cxi, "scan.cxi"),
    "ptychodus-diffraction": (ptychodus_h5, "diffraction.h5"),
    "ptychodus-diffraction, NPZ": (ptychodus_npz, "diffraction.npz"),
    "ptychovit": (ptychovit, "scan_dp.hdf5"),
    "ptyd": (ptyd, "scan.ptyd"),
    "npz": (contract, "scan.npz"),
}
