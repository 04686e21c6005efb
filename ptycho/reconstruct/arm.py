"""The network of an arm, whatever its architecture. It learns from the training scan and reconstructs every scan."""

from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
from numpy.typing import NDArray

from ptycho import params, seeds
from ptycho.config import DENOISER, update_legacy_dict
from ptycho.errors import DataError
from ptycho.reconstruct import groups, stitching, training
from ptycho.reconstruct.callbacks import Report, interruptible
from ptycho.reconstruct.networks import denoiser, model
from ptycho.reconstruct.networks.layers import canvas_size, mask_of
from ptycho.reconstruct.whole import denoising, splits
from ptycho.scans.dose import deviance
from ptycho.scans.rawdata import RawData
from ptycho.scans.reconstruction import Reconstruction


class Network(Protocol):
    """What an arm does with its network. Printed, it says what it is made of."""

    autoencoder: keras.Model

    def train(self, folder: Path, report: Report) -> list[dict[str, float]]:
        """Train, leaving ``history.csv`` in the folder; {epoch, loss, seconds} of each epoch.

        A second call begins anew, unless the folder holds the backup of this training: then it goes on from there.
        """

    def reconstruct(self) -> dict[str, Reconstruction]:
        """The object of each scan."""

    def uncertainty(self) -> NDArray[np.float32] | None:
        """Once trained: what counting photons leaves open of the training scan's object, (H, W); None if not known."""

    @property
    def patterns(self) -> int:
        """Patterns that an epoch shows."""

    @property
    def trained_probe(self) -> NDArray[np.complex64] | None:
        """The probe as the network has it, where it was trainable: (N, N), or (L, N, N)."""


def of_arm(architecture: str, scans: Mapping[str, RawData], loss: str, seed: int, **settings: Any) -> Network:
    """The untrained network of one of ARCHITECTURES, for an arm's scans: ``train``, which it learns from, and others.

    seed      of the study; what is random derives its own from it
    settings  nepochs, learning_rate; of a network of groups also gridsize, probe_trainable and target

    Raises ConfigError for a value that is not accepted, ValueError for a scan whose photons per pattern are not known.
    """
    if architecture == DENOISER:
        return OfWholeScan(scans, loss, seed, settings["nepochs"], settings["learning_rate"])
    return OfGroups(architecture, scans, loss, seed, **settings)


def apply(network: keras.Model, data: RawData, seed: int) -> Reconstruction:
    """What a trained network of any of ARCHITECTURES makes of a scan with its probe.

    Raises DataError for a scan whose groups its canvas does not hold, or that leaves out detector pixels which the
    network was trained to see; and as ``denoising.reconstruct``.
    """
    if network.name == DENOISER:
        return denoising.reconstruct(network, data, seed)
    if data.mask is not None and (hidden := int(np.sum(seen_by(network) & ~data.mask))):
        left_out = f"mask: the scan leaves out {hidden} detector pixels that the network was trained to see"
        raise DataError(f"{left_out}; train one on a scan with this mask, or take the fit, --method direct")
    side = isqrt(network.inputs[0].shape[-1])
    grouped = groups.make_groups(data, side, seed=seed)
    needed = canvas_size(network.get_layer("probe").n, grouped.max_offset)
    if (m := network.get_layer("reconstruction").m) < needed:
        raise DataError(f"groups of {side * side} patterns take {needed} pixels; the network has {m}: a wider raster")
    return stitching.reconstruct(model.objects_of(network), {"": grouped})[""]


def seen_by(network: keras.Model) -> NDArray[np.bool_]:
    """(N, N): the detector pixels that a trained network of groups looks at."""
    mask, N = mask_of(network), model.size_of(network)
    return np.ones((N, N), bool) if mask is None else mask


class OfGroups:
    """A network that sees groups of neighbouring patterns, whose objects are stitched."""

    def __init__(
        self,
        architecture: str,
        scans: Mapping[str, RawData],
        loss: str,
        seed: int,
        *,
        gridsize: int,
        **settings: Any,
    ):
        self.grouped = {s: groups.make_groups(scans[s], gridsize, seed=seeds.derive(seed, "groups", s)) for s in scans}
        own = seeds.derive(seed, "training")
        self.config = training.configure(self.grouped, architecture, loss, seed=own, **settings)
        update_legacy_dict(params.cfg, self.config)  # the factories of ptycho.model then make this arm's network, too
        keras.utils.set_random_seed(seeds.derive(seed, "initialisation"))
        scan = scans["train"]
        self.autoencoder, self.diffraction_to_obj = model.build(self.config.model, scan.probeGuess, scan.fitted)
        self.untrained = self.autoencoder.get_weights()

    def __str__(self) -> str:
        config, scan = self.config.model, self.grouped["train"]
        taught = f"{self.config.nphotons:.4g} {scan.data.particle} per pattern, judged by the {self.config.target} ones"
        return (
            f"{config.architecture}, gridsize {config.gridsize}, loss {self.config.loss}\n{taught}\n"
            f"patterns {scan.data.diff3d.shape}, groups {scan.indices.shape}\n"
            f"{self.autoencoder.count_params()} weights; "
            f"patterns lie up to {config.max_offset:.1f} pixels from a centre"
        )

    def train(self, folder: Path, report: Report) -> list[dict[str, float]]:
        self.autoencoder.set_weights(self.untrained)
        return training.fit(self.autoencoder, self.grouped["train"], self.config, folder, report)

    def reconstruct(self) -> dict[str, Reconstruction]:
        return stitching.reconstruct(self.diffraction_to_obj, self.grouped)

    def uncertainty(self) -> None:
        return None

    @property
    def patterns(self) -> int:
        return training.patterns_per_epoch(self.grouped["train"], self.config.batch_size)

    @property
    def trained_probe(self) -> NDArray[np.complex64] | None:
        config = self.config.model
        return model.probe_of(self.autoencoder, config.N) if config.probe_trainable else None


class OfWholeScan:
    """The network that sees the object of the whole scan."""

    trained_probe = None

    def __init__(self, scans: Mapping[str, RawData], loss: str, seed: int, nepochs: int, learning_rate: float):
        self.scans, self.loss, self.seed = scans, loss, seed
        self.nepochs, self.learning_rate = nepochs, learning_rate
        self.fits = list[splits.Fitted]()
        keras.utils.set_random_seed(seeds.derive(seed, "initialisation"))
        self.autoencoder = denoiser.build(loss, scans["train"].probeGuess)
        self.untrained = self.autoencoder.get_weights()

    def __str__(self) -> str:
        M, N = self.scans["train"].diff3d.shape[:2]
        share = f"fits of {M} patterns of {N} x {N} pixels to {splits.SHARE:.0%} of their photons"
        return f"{DENOISER}, loss {self.loss}\n{splits.SPLITS} {share}\n{self.autoencoder.count_params()} weights"

    def train(self, folder: Path, report: Report) -> list[dict[str, float]]:
        def told(words: str) -> None:
            report({"stage": words, "epoch": 0, "nepochs": self.nepochs})

        self.autoencoder.set_weights(self.untrained)
        with interruptible(lambda: ". Run it again: it begins anew."):
            made = splits.make_splits(self.scans["train"], self.loss, seeds.derive(self.seed, "splits"), told)
            self.fits = made.fits
            return denoising.train(
                self.autoencoder,
                made,
                nepochs=self.nepochs,
                learning_rate=self.learning_rate,
                seed=seeds.derive(self.seed, "training"),
                folder=folder,
                report=report,
            )

    def reconstruct(self) -> dict[str, Reconstruction]:
        own = seeds.derive(self.seed, "direct")
        found = {s: denoising.reconstruct(self.autoencoder, scan, own) for s, scan in self.scans.items()}
        image, scan = found["heldout"], self.scans["heldout"]
        explained = deviance(scan, image.object, image.origin_yx)
        denoiser.remember(self.autoencoder, denoising.describe(image, scan, explained))
        return found

    def uncertainty(self) -> NDArray[np.float32]:
        objects = [denoising.denoise(self.autoencoder, fit).object for fit in self.fits]
        return splits.scatter(objects, self.fits[0].found.lit)

    @property
    def patterns(self) -> int:
        return denoising.patterns_per_epoch(len(self.scans["train"]))
