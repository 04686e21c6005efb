"""The networks as Keras models: ``autoencoder`` (amplitudes to amplitudes) and ``diffraction_to_obj`` (the object)."""

from __future__ import annotations

import warnings
import zipfile
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ptycho import params, probes
from ptycho.config import LEARNING_RATES, ModelConfig, TrainingConfig
from ptycho.files import replacing
from ptycho.networks import layers
from ptycho.networks.cnn import EncoderDecoder
from ptycho.networks.unrolled import Unrolled
from ptycho.objective import DiffractionLoss

_UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RuntimeError,
    AssertionError,
    zipfile.BadZipFile,
)
"""What Keras raises for a file that is damaged, of another kind, or asks for code to be run."""


def build(
    config: ModelConfig, probe: np.ndarray | None = None, mask: np.ndarray | None = None
) -> tuple[keras.Model, keras.Model]:
    """The network of ``config`` for one probe and one detector.

    Parameters
    ----------
    config : ModelConfig
    probe : (N, N) or (L, N, N) complex64, optional
        The probe, or its L incoherent modes; the default disk when None.
    mask : (N, N) bool, optional
        True where the detector is to be believed: what the amplitudes hold elsewhere changes nothing, neither the
        object nor the loss. All pixels when None.

    Returns
    -------
    autoencoder : keras.Model
        Amplitudes (B, N, N, C) float32, positions (B, 1, 2, C) float32 -> object (B, N, N, 1) complex64, predicted
        amplitude (B, N, N, C) float32, predicted intensity (B, N, N, C) float32.
    diffraction_to_obj : keras.Model
        The same inputs -> the object alone. Both share every weight.
    """
    N, C = config.N, config.channels
    probe = probes.disk(N) if probe is None else probe
    if probe.shape[-2:] != (N, N):
        raise ValueError(f"probe has shape {probe.shape}; N={N} asks for ({N}, {N}) or (modes, {N}, {N})")
    if mask is not None and mask.shape != (N, N):
        raise ValueError(f"mask has shape {mask.shape}; N={N} asks for ({N}, {N})")
    P = probes.cropped_modes(probe)
    n = P.shape[-1]
    m = layers.canvas_size(n, config.max_offset)

    amplitude = keras.Input((N, N, C), dtype="float32", name="diffraction")
    positions = keras.Input((1, 2, C), dtype="float32", name="coords_relative")
    probe_layer = layers.Probe(modes=len(P), n=n, trainable_probe=config.probe_trainable, name="probe")
    modes = probe_layer(positions)
    if config.architecture == "unrolled":
        network = Unrolled(m, config.blocks, config.steps, config.filters, name="reconstruction")
    else:
        network = EncoderDecoder(m, config.filters_scale, name="reconstruction")
    if mask is None:
        estimates = network(amplitude, positions, modes)
    else:
        mask_layer = layers.Mask(N, name="mask")
        believed, valid = mask_layer(amplitude)
        mask_layer.assign(mask)
        estimates = network(believed, positions, modes, valid)
    O = layers.Last(name="last")(estimates)
    intensity = layers.Diffraction(N, name="intensity")(O, positions, modes)
    obj = layers.Frame(N, name="object")(O)
    predicted = layers.Amplitude(name="amplitude")(intensity)
    probe_layer.assign(P)
    autoencoder = keras.Model([amplitude, positions], [obj, predicted, intensity], name="autoencoder")
    return autoencoder, _object_model(autoencoder)


def probe_of(autoencoder: keras.Model, N: int) -> np.ndarray:
    """The probe as the network has it, trained where it was trainable: (N, N), or (L, N, N) complex64 for L modes."""
    pair = autoencoder.get_layer("probe").pair.numpy()
    P = (pair[..., 0] + 1j * pair[..., 1]).astype(np.complex64)
    before = N // 2 - P.shape[-1] // 2
    after = N - P.shape[-1] - before
    P = np.pad(P, [(0, 0), (before, after), (before, after)])
    return P[0] if len(P) == 1 else P


def create_model_with_gridsize(gridsize: int, N: int) -> tuple[keras.Model, keras.Model]:
    """(autoencoder, diffraction_to_obj) for ``gridsize`` and ``N``, everything else as in :class:`ModelConfig`."""
    return build(ModelConfig(N=N, gridsize=gridsize))


def create_compiled_model(gridsize: int | None = None, N: int | None = None) -> tuple[keras.Model, keras.Model]:
    """(autoencoder, diffraction_to_obj), the first compiled with the loss and learning rate of ``ptycho.params.cfg``.

    What is not given is read from ``cfg``, as ``update_legacy_dict`` wrote it, and from the defaults where ``cfg`` is
    silent; it may also hold a ``probe`` and a ``mask``. The intensity scale of the loss is that of an object of modulus
    one.
    """
    chosen = {"gridsize": gridsize, "N": N}
    cfg = params.cfg | {name: value for name, value in chosen.items() if value is not None}
    config = ModelConfig(**_known(ModelConfig, cfg))
    known = _known(TrainingConfig, cfg)
    rate = LEARNING_RATES[config.architecture][known.get("loss", TrainingConfig.loss)]
    training = TrainingConfig(model=config, **{"learning_rate": rate, **known})
    probe = cfg.get("probe", probes.disk(config.N))
    mask = cfg.get("mask")
    models = build(config, probe, mask)
    scale = float(np.sqrt(training.nphotons / np.sum(np.abs(probe) ** 2)))
    models[0].compile(
        optimizer=keras.optimizers.Adam(training.learning_rate),
        loss=[None, None, DiffractionLoss(training.loss, scale, None if mask is None else mask[..., np.newaxis])],
        jit_compile=True,
    )
    return models


def _known(config: type, cfg: dict[str, Any]) -> dict[str, Any]:
    return {field.name: cfg[field.name] for field in fields(config) if field.name in cfg}


def save(autoencoder: keras.Model, path: str | Path) -> None:
    """Write the autoencoder, probe included, to one ``.keras`` file, whole or not at all.

    Raises
    ------
    ValueError
        ``path`` cannot be written; a file that was there is left as it was.
    """
    try:
        with replacing(path) as partial:
            autoencoder.save(partial)
    except OSError as error:
        raise ValueError(f"{path}: cannot be written ({error.strerror or error}); expected a writable path") from error


def load(path: str | Path) -> tuple[keras.Model, keras.Model]:
    """(autoencoder, diffraction_to_obj) of a ``.keras`` file; nothing in the file is run as code.

    Raises
    ------
    ValueError
        The file is missing or damaged, or holds no model of this package.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path}: there is no such file; expected a .keras file of this package")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: damaged, truncated or no .keras file; expected one of this package")
    try:
        autoencoder = keras.saving.load_model(path, compile=False, safe_mode=True)
        return autoencoder, _object_model(autoencoder)
    except _UNREADABLE as error:
        reason = str(error).strip('"').partition(". ")[0]
        raise ValueError(f"{path}: damaged, or no model of this package ({reason}); expected a whole one") from error


def _object_model(autoencoder: keras.Model) -> keras.Model:
    return keras.Model(autoencoder.inputs, autoencoder.get_layer("object").output, name="diffraction_to_obj")


@cache
def _default_models() -> tuple[keras.Model, keras.Model]:
    return create_compiled_model()


def __getattr__(name: str) -> keras.Model:
    if name in ("autoencoder", "diffraction_to_obj"):
        warnings.warn(
            f"ptycho.model.{name} is built once, from the configuration of its first use; "
            "call create_compiled_model() instead",
            DeprecationWarning,
            stacklevel=2,
        )
        return _default_models()[("autoencoder", "diffraction_to_obj").index(name)]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
