"""One scan in, one object out. It runs no study and trains nothing. It can use a network that is already trained."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from ptycho import seeds
from ptycho.config import DENOISER
from ptycho.errors import ConfigError, DataError
from ptycho.reconstruct import direct
from ptycho.reconstruct.arm import apply, seen_by
from ptycho.reconstruct.networks import denoiser, model
from ptycho.reconstruct.reference import fit_all, guard, load, under
from ptycho.reconstruct.whole import denoising, splits
from ptycho.scans.dose import both_deviances, in_unit
from ptycho.scans.rawdata import RawData
from ptycho.scans.reconstruction import Reconstruction

UNLIKE = {"nphotons": 3.0, "overlap": 2.0, "deviance": 1.5}
"""How many times more or fewer photons a pattern and patterns a pixel, or which times the deviance, earn a warning."""
UNLIKE_PROBE = 0.7
"""Likeness of the file's own probe to the model's: below, it earns a warning."""


@dataclass(frozen=True, eq=False)
class Once:
    """The object of one scan.

    found         the object, where it lies
    data          the scan as it was fitted, with the probe that was used or found
    sigma         (H, W) float32, standard deviation of each pixel from counting photons; None if not asked for
    seconds       of reading, fitting and judging
    deviance      of the counts that were seen, and of those on the detector pixels that were not, None if all were
    told          what is wrong with the scan, or unlike what the model was trained on, a line each
    """

    found: Reconstruction
    data: RawData
    sigma: NDArray[np.float32] | None
    seconds: dict[str, float]
    deviance: tuple[float, float | None]
    told: tuple[str, ...]

    def __str__(self) -> str:
        seen, unseen = self.deviance
        lines = [f"warning: {line}" for line in self.told]
        lines += [f"object of {' x '.join(map(str, self.found.object.shape))} pixels from {len(self.data)} patterns"]
        beside = "" if unseen is None else f", on detector pixels that were not seen {unseen:.3g}"
        lines += [f"deviance {seen:.3g}{beside}"]
        return "\n".join([*lines, ", ".join(f"{name} {s:.1f} s" for name, s in self.seconds.items())])


def reconstruct(
    scan: str,
    network: keras.Model | None = None,
    *,
    uncertainty: bool = False,
    seed: int = 1,
    report: Callable[[str], None] = lambda words: None,
    accept: Callable[[RawData], None] = lambda data: None,
) -> Once:
    """Reconstruct the scan in a file, or the measured star.

    Without a network, object and probe are fitted. A network keeps the probe that it was trained with: the scan is of
    the same set-up. ``report`` is told each step as it begins. ``accept`` is given the scan before it is fitted, and
    raises what is wrong with it for the caller. ``uncertainty`` takes four further fits. Some of the
    detector's pixels are held out: by ``reference.guard``, of a network of groups those that it was trained without.
    Raises DataError for a scan of no use or one that the network cannot take, ConfigError for an ``uncertainty`` that
    the network does not tell, TrainingError if a fit diverged, ValueError for a network that is none of this package.
    """
    if uncertainty and network is not None and network.name != DENOISER:
        known = f"a fit and a {DENOISER} tell one"
        raise ConfigError(f"--uncertainty: the network is of groups, which tell no standard deviation; {known}")
    clock = {"reading": -time.perf_counter()}
    report(f"reading {scan}")
    data, faults, estimated = load(scan, Path())
    accept(data)
    told = [f"{fault}" for fault in faults]
    if network is not None:
        data, more = _lit_as(data, network, estimated)
        told += more
    data = replace(data, guard=_unseen(network, data, seed))
    clock["reading"] += time.perf_counter()
    clock["fitting"] = -time.perf_counter()
    own = seeds.derive(seed, "reference")
    if network is None:
        report(f"fitting object and probe to {len(data)} patterns of {data.N} x {data.N} pixels")
        curvatures = direct.CURVATURES[0] if estimated else ()
        fit = fit_all(data, data.probeGuess.size // data.N**2, curvatures, own)
        found, data = fit.reconstruction, replace(data, probeGuess=fit.probe)
    else:
        report(f"reconstructing {len(data)} patterns of {data.N} x {data.N} pixels with the network")
        found = apply(network, data, own)
    sigma = _uncertainty(network, data, found, own, report) if uncertainty else None
    clock["fitting"] += time.perf_counter()
    clock["judging"] = -time.perf_counter()
    explained = both_deviances(data, found.object, found.origin_yx)
    if network is not None and network.name == DENOISER:
        told += _unlike(denoiser.trained_on(network), denoising.describe(found, data, explained[0]))
    clock["judging"] += time.perf_counter()
    return Once(found, data, sigma, clock, explained, tuple(told))


def _lit_as(data: RawData, network: keras.Model, estimated: bool) -> tuple[RawData, list[str]]:
    """The scan in the units of the network's probe, and a warning if the file's own is unlike it."""
    N = model.size_of(network)
    if data.N != N:
        raise DataError(f"the patterns are {data.N} x {data.N} pixels; the network was trained on {N} x {N}")
    P = denoiser.probe_of(network) if network.name == DENOISER else model.probe_of(network, N)
    like = 1.0 if estimated else _likeness(data.probeGuess, P)
    warning = f"the probe of the file is unlike the network's: likeness {like:.2f}, at least {UNLIKE_PROBE} is usual"
    lit = under(P, data, data.counts())
    # a network knows amplitudes in the unit of its own probe, which need not be that of `normalise`
    lit = in_unit(lit, float(np.sqrt(np.sum(np.abs(P) ** 2) / np.sum(np.abs(lit.probeGuess) ** 2))))
    return lit, [warning] if like < UNLIKE_PROBE else []


def _unseen(network: keras.Model | None, data: RawData, seed: int) -> NDArray[np.bool_] | None:
    """(N, N): the valid pixels that are held out; None where a network of groups sees all of them."""
    if network is None or network.name == DENOISER:
        return guard(data, seed)
    unseen = ~seen_by(network) & (True if data.mask is None else data.mask)
    return unseen if unseen.any() else None


def _likeness(one: NDArray[np.complex64], other: NDArray[np.complex64]) -> float:
    """The overlap of two probes' mean light on the sample: 1 for the same, 0 for none in common."""
    light = [np.sqrt(np.sum(np.abs(P.reshape(-1, *P.shape[-2:])) ** 2, axis=0)) for P in (one, other)]
    return float(np.sum(light[0] * light[1]) / np.sqrt(np.sum(light[0] ** 2) * np.sum(light[1] ** 2)))


def _unlike(trained: denoiser.Trained, here: denoiser.Trained) -> list[str]:
    """A warning for each way in which a scan is unlike that of the network."""
    words = {"nphotons": "photons per pattern", "overlap": "patterns on a pixel of the object", "deviance": "deviance"}
    warnings = []
    for name, most in UNLIKE.items():
        before, now = getattr(trained, name), getattr(here, name)
        if before > 0 and (now > most * before or (name != "deviance" and now < before / most)):
            warnings.append(f"{now:.3g} {words[name]}; the network was trained on a scan with {before:.3g}")
    return warnings


def _uncertainty(
    network: keras.Model | None, data: RawData, found: Reconstruction, seed: int, report: Callable[[str], None]
) -> NDArray[np.float32]:
    """The standard deviation of each pixel of what was found, (H, W); nothing is known of pixels without light: NaN."""
    report(f"fitting {splits.SPLITS} shares of the photons, for the uncertainty")
    fits = splits.make_splits(data, "nll" if network is None else denoiser.loss_of(network), seed).fits
    objects = [fit.found.object if network is None else denoising.denoise(network, fit).object for fit in fits]
    first = fits[0].found
    sigma = splits.scatter(objects, first.lit)
    # a fit of the probe, too, is on all of its pixels; these fits are on those that hold its light
    placed = np.full(found.object.shape, np.nan, np.float32)
    y, x = np.rint(first.origin_yx - found.origin_yx).astype(int)
    h, w = sigma.shape
    placed[y : y + h, x : x + w] = sigma
    return placed
