"""A reconstructed object in the frame of its scan, and the files that hold the reconstructions of an arm."""

import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ptycho import files
from ptycho.config import PARTS
from ptycho.errors import DataError

FIELDS = {"object": np.complex64, "coverage": np.float32, "origin_yx": np.float64}
LIT, FAINTEST = 0.1, 1e-6
SPLITS = {"train": "training scan", "heldout": "held-out scan"}
"""What the splits of a study are called in words."""


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """An estimated object with the frame it lives in.

    object: complex64 (H, W). coverage: float32 (H, W), the sum of the probe intensity that fell on each pixel.
    origin_yx: float64 (2,), object-frame (y, x) position of pixel [0, 0].
    """

    object: np.ndarray
    coverage: np.ndarray
    origin_yx: np.ndarray

    def __post_init__(self) -> None:
        if np.ndim(self.object) != 2 or np.shape(self.object) != np.shape(self.coverage):
            found = f"object {np.shape(self.object)} and coverage {np.shape(self.coverage)}"
            raise ValueError(f"a reconstruction needs object and coverage of one shape (H, W); found {found}")
        if np.shape(self.origin_yx) != (2,) or not np.all(np.isfinite(self.origin_yx)):
            raise ValueError(f"origin_yx must be two finite numbers (y, x); found {self.origin_yx!r}")

    @property
    def lit(self) -> np.ndarray:
        """(H, W) bool: the pixels that got at least LIT of the typical light."""
        return self.coverage > LIT * np.median(self.coverage[self.coverage > 0])

    def brightness(self, truth: np.ndarray) -> float:
        """How many times the modulus of the scan's object, (h, w), this one has, by the light that both let through.

        Raises DataError for an object that lets none through.
        """
        places = np.indices(self.object.shape).reshape(2, -1).T + np.rint(self.origin_yx).astype(int)
        shared = ((places >= 0) & (places < truth.shape)).all(axis=1)
        light, (y, x) = self.coverage.ravel()[shared], places[shared].T
        one, other = (float(np.sum(light * np.abs(O) ** 2)) for O in (self.object.ravel()[shared], truth[y, x]))
        if not other > 0:
            raise DataError("objectGuess: it is empty where the light fell; expected the object of this scan, or none")
        return float(np.sqrt(one / other))


def reached(coverage: np.ndarray) -> np.ndarray:
    """(H, W) bool: the pixels of a ``coverage`` that light fell on. Elsewhere an object is 1, empty space."""
    return coverage > FAINTEST * coverage.max()


def save_reconstructions(path: str | os.PathLike[str], parts: Mapping[str, Reconstruction]) -> None:
    """Write ``<part>_object``, ``<part>_coverage`` and ``<part>_origin_yx`` of each part, whole or not at all."""
    arrays: dict[str, Any] = {
        f"{part}_{field}": np.asarray(getattr(found, field), dtype)
        for part, found in parts.items()
        for field, dtype in FIELDS.items()
    }
    with files.replacing(path) as partial, open(partial, "wb") as file:
        np.savez_compressed(file, **arrays)


def load_reconstructions(path: str | os.PathLike[str]) -> dict[str, Reconstruction]:
    """What :func:`save_reconstructions` wrote. Raises DataError for a file that cannot be read, or lacks a part."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            names = {name.removesuffix("_object") for name in arrays}
            parts = [p for p in PARTS if p in names or (p in SPLITS and names & SPLITS.keys())]
            if not parts:
                raise KeyError(f"none of {', '.join(PARTS)} is in it")
            return {part: Reconstruction(*(arrays[f"{part}_{field}"] for field in FIELDS)) for part in parts}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path}: not the reconstructions of an arm ({error})") from error
