"""The reference architecture: the encoder-decoder of PtychoPINN (Hoidn, Mishra & Mehta, Sci. Rep. 13 (2023) 22789).

Three convolve-and-pool stages see the amplitudes of a group; one decoder makes the object's amplitude, one its phase.
Each decoder draws the central half of the canvas, where the probe is, at full resolution, and the border around it at a
quarter of it. It knows the positions only through the loss.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from ptycho.reconstruct.networks.layers import ConfiguredLayer

FILTERS = (64, 128, 256)

AMPLITUDE_CEILING = 2.0
"""The amplitude is this times a sigmoid: half way up is empty space, 1."""


# Lists of layers are flat, two convolutions a stage: Keras 3.12, the last for Python 3.10, does not save nested ones.


def _stages(filters: list[int], name: str) -> list[keras.layers.Layer]:
    """Two convolutions for each number of filters."""
    convolve = {"kernel_size": 3, "padding": "same", "activation": "relu"}
    return [keras.layers.Conv2D(f, **convolve, name=f"{name}{i}_{j}") for i, f in enumerate(filters) for j in range(2)]


def _stage(convolutions: list[keras.layers.Layer], i: int) -> list[keras.layers.Layer]:
    return convolutions[2 * i : 2 * i + 2]


def _build(stage: list[keras.layers.Layer], size: int, channels: int) -> int:
    """Build a stage; the channels that come out of it."""
    for convolution in stage:
        convolution.build((None, size, size, channels))
        channels = convolution.filters
    return channels


def _apply(stage: list[keras.layers.Layer], x: tf.Tensor) -> tf.Tensor:
    for convolution in stage:
        x = convolution(x)
    return x


@keras.saving.register_keras_serializable(package="ptycho")
class Decoder(ConfiguredLayer):
    """Features (B, N/8, N/8, F) -> one real image (B, m, m): N/2 central pixels in a border drawn at N/2 and stretched.

    m: side of the canvas. filters: of the three stages; the first two double the resolution.
    """

    def __init__(self, m: int, filters: list[int], **kwargs: Any):
        super().__init__({"m": m, "filters": filters}, **kwargs)
        self.convolutions = _stages(filters, "up")
        self.fine = keras.layers.Conv2D(1, 3, padding="same", name="fine")
        self.border = keras.layers.Conv2D(1, 3, padding="same", name="border")

    def build(self, shape: Any) -> None:
        size, channels = shape[1], shape[-1]
        for i in range(2):
            channels = _build(_stage(self.convolutions, i), size, channels)
            size *= 2
        self.border.build((None, size, size, channels))
        channels = _build(_stage(self.convolutions, 2), size, channels)
        self.fine.build((None, size, size, channels))
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        for i in range(2):
            x = _apply(_stage(self.convolutions, i), x)
            x = tf.repeat(tf.repeat(x, 2, axis=1), 2, axis=2)
        border = self.border(x)
        fine = self.fine(_apply(_stage(self.convolutions, 2), x))[..., 0]
        half = fine.shape[-1]
        if half >= self.m:
            start = (half - self.m) // 2
            return fine[:, start : start + self.m, start : start + self.m]
        around = tf.image.resize(border, (self.m, self.m), method="bilinear")[..., 0]
        before = (self.m - half) // 2
        paddings = [[0, 0]] + [[before, self.m - half - before]] * 2
        inside = tf.pad(tf.ones_like(fine), paddings)
        return around * (1 - inside) + tf.pad(fine, paddings)


@keras.saving.register_keras_serializable(package="ptycho")
class EncoderDecoder(ConfiguredLayer):
    """Amplitudes (B, N, N, C), and positions, probe and mask (all unused) -> the object (B, 1, m, m) complex64.

    m: side of the canvas. filters_scale: multiplies FILTERS.
    """

    xla = False  # convolutions as wide as these are faster in the processor's own library

    def __init__(self, m: int, filters_scale: float = 1.0, **kwargs: Any):
        super().__init__({"m": m, "filters_scale": filters_scale}, **kwargs)
        filters = [max(1, round(f * filters_scale)) for f in FILTERS]
        self.encoder = _stages(filters, "encoder")
        self.amplitude, self.phase = (Decoder(m, filters[::-1], name=name) for name in ("amplitude", "phase"))

    def build(self, diffraction_shape: Any, *_: Any) -> None:
        N, channels = diffraction_shape[1], diffraction_shape[-1]
        for i in range(len(FILTERS)):
            channels = _build(_stage(self.encoder, i), N, channels)
            N //= 2
        for decoder in (self.amplitude, self.phase):
            decoder.build((None, N, N, channels))
        self.built = True

    def call(self, diffraction: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
        # brought to unit root-mean-square per group: a network should not depend on the probe's normalisation
        energy = tf.reduce_mean(tf.square(diffraction), axis=(1, 2, 3), keepdims=True)
        x = diffraction * tf.math.rsqrt(energy + 1e-12)
        for i in range(len(FILTERS)):
            x = tf.nn.max_pool2d(_apply(_stage(self.encoder, i), x), 2, 2, "VALID")
        amplitude = AMPLITUDE_CEILING * tf.sigmoid(self.amplitude(x))
        phase = math.pi * tf.tanh(self.phase(x))
        O = tf.complex(amplitude * tf.cos(phase), amplitude * tf.sin(phase))
        return O[:, tf.newaxis]

    def compute_output_spec(self, *_: Any) -> keras.KerasTensor:
        return keras.KerasTensor((None, 1, self.m, self.m), dtype="complex64")
