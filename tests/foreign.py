"""Files of each foreign format, written by a few lines of h5py or NumPy from its published layout alone.

One scan: an object, a probe, integer positions. The patterns follow from the rule by which each program cuts the patch
from the object, so that a reader with a wrong sign, axis or centre does not explain them.
"""

import h5py
import numpy as np

M, N, H, W = 12, 64, 130, 161
PIXEL = 2e-8
DETECTOR, DISTANCE = 75e-6, 2.0
EV = 1.602176634e-19
ENERGY = 6.62607015e-34 * 299792458.0 * DISTANCE / (N * DETECTOR * PIXEL)  # joules, from the pixel wanted

_rng = np.random.default_rng(7)
OBJECT = (_rng.uniform(0.5, 1, (H, W)) * np.exp(1j * _rng.uniform(0, 1, (H, W)))).astype(np.complex64)
_r = np.hypot(*(np.mgrid[:N, :N] - N // 2) - np.array([0, 3])[:, None, None])
PROBE = (30 * (_r < 11) * np.exp(0.02j * _r**2)).astype(np.complex64)
TOP, LEFT = _rng.integers(0, H - N, M), _rng.integers(0, W - N, M)  # the first pixel of each patch
BAD = np.zeros((N, N), bool)
BAD[5, 40] = BAD[:, 60] = True


def _pattern(top, left):
    wave = np.fft.fftshift(np.fft.fft2(PROBE * OBJECT[top : top + N, left : left + N])) / N
    return _rng.poisson(np.abs(wave) ** 2)


COUNTS = np.stack([_pattern(t, l) for t, l in zip(TOP, LEFT, strict=True)]).astype(np.uint16)
# ptychodus: the middle of the patch, (N-1)/2, is at (x - centre)/pixel + (W-1)/2
CENTER_Y, CENTER_X = 3e-6, -4e-6
X_M = (LEFT + (N - 1) / 2 - (W - 1) / 2) * PIXEL + CENTER_X
Y_M = (TOP + (N - 1) / 2 - (H - 1) / 2) * PIXEL + CENTER_Y
NUMBERS = np.arange(M) * 3 + 5


def cxi(path):
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 160
        file["entry_1/instrument_1/detector_1/data"] = COUNTS
        file["entry_1/data_1/data"] = h5py.SoftLink("/entry_1/instrument_1/detector_1/data")
        file["entry_1/sample_1/geometry_1/translation"] = np.stack([X_M, Y_M, 0 * X_M], 1)
        file["entry_1/instrument_1/source_1/energy"] = ENERGY
        detector = file["entry_1/instrument_1/detector_1"]
        detector["distance"], detector["x_pixel_size"], detector["y_pixel_size"] = DISTANCE, DETECTOR, DETECTOR
        bits = np.where(BAD, 1, 0).astype(np.uint32)
        bits[20, 20] = 0x1000  # a pixel that has signal, which is no fault
        detector["mask"] = bits
        file["entry_1/image_1/data"] = PROBE[None, None]
        file["entry_1/image_2/data"] = OBJECT[None]
        file["entry_1/ptychodus/object_center_x_m"] = CENTER_X
        file["entry_1/ptychodus/object_center_y_m"] = CENTER_Y
    return path


def product_h5(path, header=True):
    with h5py.File(path, "w") as file:
        if header:
            file.attrs["name"] = "a product"
            file.attrs["photon_energy_eV"] = ENERGY / EV
            file.attrs["detector_object_distance_m"] = DISTANCE
        file["probe_position_indexes"] = NUMBERS
        file["probe_position_x_m"], file["probe_position_y_m"] = X_M, Y_M
        file["probe"], file["object"] = PROBE[None, None], OBJECT[None]
        for name in ("probe", "object"):
            file[name].attrs["pixel_width_m"] = file[name].attrs["pixel_height_m"] = PIXEL
        file["object"].attrs["center_x_m"], file["object"].attrs["center_y_m"] = CENTER_X, CENTER_Y
        file["object_layer_spacing_m"] = np.zeros(0)
    return path


def product_npz(path):
    np.savez(
        path,
        name="a product",
        photon_energy_eV=ENERGY / EV,
        detector_object_distance_m=DISTANCE,
        probe_position_indexes=NUMBERS,
        probe_position_x_m=X_M,
        probe_position_y_m=Y_M,
        probe=PROBE[None, None],
        object=OBJECT[None],
        object_center_x_m=CENTER_X,
        object_center_y_m=CENTER_Y,
        **{f"{name}_pixel_{side}_m": PIXEL for name in ("probe", "object") for side in ("width", "height")},
    )
    return path


def ptychodus_h5(path):
    product_h5(path.with_name("product.h5"))
    with h5py.File(path, "w") as file:
        file["patterns"], file["indexes"], file["bad_pixels"] = COUNTS[::-1], NUMBERS[::-1], BAD
        file["patterns"].attrs["detector_pixel_width_m"] = DETECTOR
        file["patterns"].attrs["detector_pixel_height_m"] = DETECTOR
    return path


def ptychodus_npz(path):
    product_npz(path.with_name("product.npz"))
    np.savez_compressed(path, patterns=COUNTS[::-1], indexes=NUMBERS[::-1], bad_pixels=BAD)
    return path


def ptychovit(path):
    product_h5(path.with_name(path.name.replace("_dp", "_para")), header=False)
    with h5py.File(path, "w") as file:
        file["dp"] = COUNTS.astype(np.float32)
    return path


def ptyd(path):
    with h5py.File(path, "w") as file:
        for k, part in enumerate((slice(0, 5), slice(5, M))):
            chunk = file.create_group(f"chunks/{k}")
            chunk["data"], chunk["indices"] = COUNTS[part].astype(np.int32), np.arange(M)[part]
            chunk["positions"] = np.stack([Y_M, X_M], 1)[part]
            chunk["weights"] = np.zeros(0)
        meta = file.create_group("meta")
        meta["energy"], meta["distance"], meta["psize"] = ENERGY / EV / 1e3, DISTANCE, [DETECTOR, DETECTOR]
        meta["center"], meta["shape"], meta["weight2d"] = [N / 2, N / 2], [N, N], (~BAD).astype(float)
    return path


def contract(path):
    np.savez(
        path,
        counts=COUNTS,
        xcoords=LEFT + N // 2,
        ycoords=TOP + N // 2,
        probeGuess=PROBE,
        objectGuess=OBJECT,
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
