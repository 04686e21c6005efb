"""The networks as Keras models: ``autoencoder`` (amplitudes to amplitudes) and ``diffraction_to_obj`` (the object)."""

import warnings
from dataclasses import fields
from functools import cache
from typing import Any

import ptycho.reconstruct  # noqa: F401, loads TensorFlow without its lines, so it comes before keras

# isort: split
import keras
import numpy as np

from ptycho import params
from ptycho.config import LEARNING_RATES, ModelConfig, TrainingConfig
from ptycho.physics import probes
from ptycho.physics.losses import DiffractionLoss
from ptycho.reconstruct.networks.layers import plainly_trained
from ptycho.reconstruct.networks.model import build


def create_model_with_gridsize(gridsize: int, N: int) -> tuple[keras.Model, keras.Model]:
    """(autoencoder, diffraction_to_obj) for ``gridsize`` and ``N``, everything else as in :class:`ModelConfig`."""
    return build(ModelConfig(N=N, gridsize=gridsize))


def create_compiled_model(gridsize: int | None = None, N: int | None = None) -> tuple[keras.Model, keras.Model]:
    """(autoencoder, diffraction_to_obj), the first compiled with the loss and learning rate of ``ptycho.params.cfg``.

    What is not given is read from ``cfg``, as ``update_legacy_dict`` wrote it, and from the defaults where ``cfg`` is
    silent; it may also hold a ``probe`` and a ``mask``. The intensity scale of the loss is that of an object of modulus
    one.
    """
    cfg = params.cfg | {name: value for name, value in (("gridsize", gridsize), ("N", N)) if value is not None}

    def known(config: type) -> dict[str, Any]:
        return {field.name: cfg[field.name] for field in fields(config) if field.name in cfg}

    config = ModelConfig(**known(ModelConfig))
    loss = cfg.get("loss", TrainingConfig.loss)
    rate = LEARNING_RATES[config.architecture].get(
        loss, TrainingConfig.learning_rate
    )  # an unknown one is refused below
    training = TrainingConfig(model=config, **{"learning_rate": rate, **known(TrainingConfig)})
    probe, mask = cfg.get("probe", probes.disk(config.N)), cfg.get("mask")
    models = build(config, probe, mask)
    scale = float(np.sqrt(training.nphotons / np.sum(np.abs(probe) ** 2)))
    believed = None if mask is None else mask[..., np.newaxis]
    objective = DiffractionLoss(training.loss, scale, believed, logarithm=not plainly_trained(models[0]))
    optimizer = keras.optimizers.Adam(training.learning_rate)
    models[0].compile(optimizer=optimizer, loss=[None, None, objective], jit_compile=True)
    return models


_default_models = cache(create_compiled_model)


def __getattr__(name: str) -> keras.Model:
    if name not in ("autoencoder", "diffraction_to_obj"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    instead = "is built once, from the configuration of its first use; call create_compiled_model() instead"
    warnings.warn(f"ptycho.model.{name} {instead}", DeprecationWarning, stacklevel=2)
    return next(model for model in _default_models() if model.name == name)
