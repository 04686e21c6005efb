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

from ptycho.networks.layers import ConfiguredLayer

FILTERS = (64, 128, 256)
AMPLITUDE_CEILING = 2.0
"""The amplitude is this times a sigmoid: half way up is empty space, 1."""


def _pair(filters: int, name: str) -> list[keras.layers.Layer]:
    convolve = {"filters": filters, "kernel_size": 3, "padding": "same", "activation": "relu"}
    return [keras.layers.Conv2D(**convolve, name=f"{name}_{i}") for i in range(2)]


@keras.saving.register_keras_serializable(package="ptycho")
class EncoderDecoder(ConfiguredLayer):
    """Amplitudes (B, N, N, C), positions and probe (both unused here) -> the object (B, 1, m, m) complex64.

    Parameters
    ----------
    m : int
        Side of the canvas.
    filters_scale : float
        Multiplies the filters (64, 128, 256).
    """

    def __init__(self, m: int, filters_scale: float = 1.0, **kwargs: Any):
        super().__init__({"m": m, "filters_scale": filters_scale}, **kwargs)
        self.m = m
        filters = [max(1, round(f * filters_scale)) for f in FILTERS]
        self.encoder = [_pair(f, f"encoder{i}") for i, f in enumerate(filters)]
        self.decoders = {
            part: {
                "up": [_pair(f, f"{part}{i}") for i, f in enumerate(reversed(filters))],
                "fine": keras.layers.Conv2D(1, 3, padding="same", name=f"{part}_fine"),
                "border": keras.layers.Conv2D(1, 3, padding="same", name=f"{part}_border"),
            }
            for part in ("amplitude", "phase")
        }

    def build(self, diffraction_shape: Any, *_: Any) -> None:
        N, channels = diffraction_shape[1], diffraction_shape[-1]
        for stage in self.encoder:
            channels = self._build_pair(stage, N, channels)
            N //= 2
        for decoder in self.decoders.values():
            size, deep = N, channels
            for stage in decoder["up"][:2]:
                deep = self._build_pair(stage, size, deep)
                size *= 2
            decoder["border"].build((None, size, size, deep))
            deep = self._build_pair(decoder["up"][2], size, deep)
            decoder["fine"].build((None, size, size, deep))
        self.built = True

    @staticmethod
    def _build_pair(stage: list[keras.layers.Layer], size: int, channels: int) -> int:
        for convolution in stage:
            convolution.build((None, size, size, channels))
            channels = convolution.filters
        return channels

    def call(self, diffraction: tf.Tensor, coords_relative: tf.Tensor, P: tf.Tensor) -> tf.Tensor:
        # brought to unit root-mean-square per group: a network should not depend on the probe's normalisation
        energy = tf.reduce_mean(tf.square(diffraction), axis=(1, 2, 3), keepdims=True)
        x = diffraction * tf.math.rsqrt(energy + 1e-12)
        for stage in self.encoder:
            for convolution in stage:
                x = convolution(x)
            x = tf.nn.max_pool2d(x, 2, 2, "VALID")
        amplitude = AMPLITUDE_CEILING * tf.sigmoid(self._decode("amplitude", x))
        phase = math.pi * tf.tanh(self._decode("phase", x))
        O = tf.complex(amplitude * tf.cos(phase), amplitude * tf.sin(phase))
        return O[:, tf.newaxis]

    def _decode(self, part: str, x: tf.Tensor) -> tf.Tensor:
        """(B, m, m): N/2 central pixels at full resolution inside a border at N/4 pixels a side."""
        decoder = self.decoders[part]
        for stage in decoder["up"][:2]:
            for convolution in stage:
                x = convolution(x)
            x = _upsample(x)
        border = decoder["border"](x)
        for convolution in decoder["up"][2]:
            x = convolution(x)
        fine = decoder["fine"](x)[..., 0]
        half = fine.shape[-1]
        around = tf.image.resize(border, (self.m, self.m), method="bilinear")[..., 0]
        if half >= self.m:
            start = (half - self.m) // 2
            return fine[:, start : start + self.m, start : start + self.m]
        before = (self.m - half) // 2
        paddings = [[0, 0], [before, self.m - half - before], [before, self.m - half - before]]
        inside = tf.pad(tf.ones_like(fine), paddings)
        return around * (1 - inside) + tf.pad(fine, paddings)

    def compute_output_spec(self, diffraction: Any, coords_relative: Any, P: Any) -> keras.KerasTensor:
        return keras.KerasTensor((None, 1, self.m, self.m), dtype="complex64")


def _upsample(x: tf.Tensor) -> tf.Tensor:
    return tf.repeat(tf.repeat(x, 2, axis=1), 2, axis=2)
