"""The network that begins where the fit ends: it removes the noise from the object of the whole scan.

The inputs are the fit O, the smoothed fit T, and the noise sigma of each pixel. T is O smoothed by total variation. A
small CNN at full resolution adds what T lacks, in units of the noise. Each ring of spatial frequency q then takes its
own mixture, whose factors a, b and c are learned. F is the Fourier transform::

    D = T + sigma CNN(O, T, sigma)
    F{object} = a(q) F{O} + b(q) F{T} + c(q) F{D}

The mixture is meant to keep the resolution. In each ring, the mixture of least error also correlates best with the
truth, at least as well as O, T or D. The learned one comes close. Before training the last layer of the CNN is zero,
and the result is nine tenths of T and one of O.

:mod:`ptycho.reconstruct.whole.denoising` trains it on one scan, without a truth.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from ptycho.config import DENOISER
from ptycho.physics import optics
from ptycho.reconstruct.networks.layers import ConfiguredLayer, apply_chain, build_chain

FILTERS = 16
DILATIONS = (1, 2, 4, 2, 1)
"""Pixels between those that a convolution sees, from layer to layer: together they see 21 x 21 pixels."""
KNOTS = 32
"""Spatial frequencies, from zero to the corner of Fourier space, between which the mixture is linear."""
START = (0.1, 0.1, 0.8)
"""The mixture of O, T and D at first."""
QUICKER = 10.0
"""How much faster the mixture learns than the CNN: in units of one, it has farther to go."""
INPUTS = {"fit": "complex64", "smoothed": "complex64", "sigma": "float32"}


class Trained(NamedTuple):
    """What a scan is like, to tell whether a denoiser that was trained on one suits another.

    nphotons: per pattern. overlap: patterns that see a pixel of the object, where the scan is dense. deviance: of what
    the denoiser makes of a scan that it was not trained on, ``dose.deviance``.
    """

    nphotons: float
    overlap: float
    deviance: float


class Denoiser(ConfiguredLayer):
    """O and T (B, H, W) complex64, sigma (B, H, W) float32 -> the object (B, H, W) complex64.

    It remembers what it was trained on. loss: of its fits. modes, N: of the probe (modes, N, N) behind them.
    """

    def __init__(self, loss: str, modes: int, N: int, **kwargs: Any):
        super().__init__({"loss": loss, "modes": modes, "N": N}, **kwargs)
        settings = {"filters": FILTERS, "kernel_size": 3, "padding": "same", "activation": "leaky_relu"}
        self.convolutions = [
            *(keras.layers.Conv2D(**settings, dilation_rate=d, name=f"conv{k}") for k, d in enumerate(DILATIONS)),
            keras.layers.Conv2D(2, 3, padding="same", kernel_initializer="zeros", name="last"),
        ]
        self.mixture = self.add_weight((len(START), KNOTS), initializer="zeros", name="mixture")
        remembered: dict[str, Any] = {"initializer": "zeros", "trainable": False}
        self.pair = self.add_weight((modes, N, N, 2), name="probe", **remembered)
        self.facts = self.add_weight((len(Trained._fields),), name="trained_on", **remembered)

    def build(self, *_: Any) -> None:
        build_chain(self.convolutions, (None, None, None, 5))
        self.built = True

    def call(self, O: tf.Tensor, T: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
        # the patterns do not know the phase of the whole object; the network need not, either
        mean = tf.reduce_mean(T, axis=(1, 2), keepdims=True)
        turn = mean / optics.scale(tf.abs(mean), tf.ones_like(mean))
        O, T = O / turn - 1, T / turn - 1
        seen = [*(part(field) for field in (O, T) for part in (tf.math.real, tf.math.imag)), sigma]
        found = apply_chain(self.convolutions, tf.stack(seen, axis=-1)) * sigma[..., tf.newaxis]
        D = T + tf.complex(found[..., 0], found[..., 1])
        gains = self._gains(tf.shape(O)[1], tf.shape(O)[2])
        mixed = tf.add_n([optics.scale(gain, tf.signal.fft2d(X)) for gain, X in zip(gains, (O, T, D), strict=True)])
        return (1 + tf.signal.ifft2d(mixed)) * turn

    def _gains(self, H: tf.Tensor, W: tf.Tensor) -> list[tf.Tensor]:
        """What of O, T and D goes into each frequency, (H, W) float32 each."""
        q = [tf.cast((tf.range(n) + n // 2) % n - n // 2, tf.float32) / tf.cast(n, tf.float32) for n in (H, W)]
        ring = tf.sqrt(2 * (q[0][:, tf.newaxis] ** 2 + q[1] ** 2)) * (KNOTS - 1)  # 0 to KNOTS - 1
        below = tf.minimum(tf.cast(ring, tf.int32), KNOTS - 2)
        beyond = ring - tf.cast(below, tf.float32)
        knots = tf.constant(START)[:, tf.newaxis] + QUICKER * tf.convert_to_tensor(self.mixture)
        return [(1 - beyond) * tf.gather(row, below) + beyond * tf.gather(row, below + 1) for row in tf.unstack(knots)]

    def compute_output_spec(self, O: Any, *_: Any) -> keras.KerasTensor:
        return keras.KerasTensor(O.shape, dtype="complex64")


def build(loss: str, probe: np.ndarray) -> keras.Model:
    """An untrained denoiser as a Keras model, for objects of any size; it remembers the loss and the probe.

    probe: (N, N), or (L, N, N) for L incoherent modes, complex64.
    """
    P = probe.reshape(-1, *probe.shape[-2:])
    inputs = [keras.Input((None, None), dtype=kind, name=name) for name, kind in INPUTS.items()]
    layer = Denoiser(loss, len(P), P.shape[-1], name=DENOISER)
    denoiser = keras.Model(inputs, layer(*inputs), name=DENOISER)
    layer.pair.assign(np.stack([P.real, P.imag], axis=-1))
    return denoiser


def probe_of(denoiser: keras.Model) -> np.ndarray:
    """The probe that it remembers: (N, N), or (L, N, N) complex64."""
    pair = denoiser.get_layer(DENOISER).pair.numpy()
    P = (pair[..., 0] + 1j * pair[..., 1]).astype(np.complex64)
    return P[0] if len(P) == 1 else P


def loss_of(denoiser: keras.Model) -> str:
    """The loss of the fits that it was trained on."""
    return str(denoiser.get_layer(DENOISER).loss)


def trained_on(denoiser: keras.Model) -> Trained:
    """What its scan was like."""
    return Trained(*map(float, denoiser.get_layer(DENOISER).facts.numpy()))


def remember(denoiser: keras.Model, trained: Trained) -> None:
    """Let it remember what its scan was like."""
    denoiser.get_layer(DENOISER).facts.assign(np.array(trained, np.float32))
