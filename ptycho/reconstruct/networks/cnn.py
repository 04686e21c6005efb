"""The reference architecture: the encoder-decoder of PtychoPINN (Hoidn, Mishra & Mehta, Sci. Rep. 13 (2023) 22789).

Three convolve-and-pool stages see the amplitudes of a group; one decoder makes the object's amplitude, one its phase.
Each decoder draws the central half of the canvas, where the probe is, at full resolution, and the border around it at a
quarter of it. It knows the positions only through the loss.
"""

import math
from typing import Any

import keras
import tensorflow as tf

from ptycho.reconstruct.networks.layers import ConfiguredLayer, apply_chain, build_chain, framed

FILTERS = (64, 128, 256)
AMPLITUDE_CEILING = 2.0  # the amplitude is this times a sigmoid: half way up is empty space, 1


def _stages(filters: list[int], name: str, resize: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Two convolutions and ``resize`` for each number of filters.

    The list is flat: Keras 3.12, the last for Python 3.10, does not save nested ones.
    """
    settings = {"kernel_size": 3, "padding": "same", "activation": "relu"}
    chain = []
    for i, f in enumerate(filters):
        chain += [*(keras.layers.Conv2D(f, **settings, name=f"{name}{i}_{j}") for j in range(2)), resize]
    return chain


class Decoder(ConfiguredLayer):
    """Features (B, N/8, N/8, F) -> one real image (B, m, m): N/2 central pixels in a border drawn at N/2 and stretched.

    m: side of the canvas. filters: of the three stages; the first two double the resolution.
    """

    def __init__(self, m: int, filters: list[int], **kwargs: Any):
        super().__init__({"m": m, "filters": filters}, **kwargs)
        self.convolutions = _stages(filters, "up", keras.layers.UpSampling2D())[:-1]
        self.fine = keras.layers.Conv2D(1, 3, padding="same", name="fine")
        self.border = keras.layers.Conv2D(1, 3, padding="same", name="border")

    def build(self, shape: Any) -> None:
        shape = build_chain(self.convolutions[:-2], shape)
        self.border.build(shape)
        build_chain([*self.convolutions[-2:], self.fine], shape)
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        x = apply_chain(self.convolutions[:-2], x)
        border = self.border(x)
        fine = apply_chain([*self.convolutions[-2:], self.fine], x)[..., 0]
        if fine.shape[-1] >= self.m:
            return framed(fine, self.m)
        around = tf.image.resize(border, (self.m, self.m), method="bilinear")[..., 0]
        return around * (1 - framed(tf.ones_like(fine), self.m)) + framed(fine, self.m)


class EncoderDecoder(ConfiguredLayer):
    """Amplitudes (B, N, N, C), and positions, probe and mask (all unused) -> the object (B, 1, m, m) complex64.

    m: side of the canvas. filters_scale: multiplies FILTERS.
    """

    xla = False  # convolutions as wide as these are faster in the processor's own library

    def __init__(self, m: int, filters_scale: float = 1.0, **kwargs: Any):
        super().__init__({"m": m, "filters_scale": filters_scale}, **kwargs)
        filters = [max(1, round(f * filters_scale)) for f in FILTERS]
        self.encoder = _stages(filters, "encoder", keras.layers.MaxPooling2D())
        self.amplitude, self.phase = (Decoder(m, filters[::-1], name=name) for name in ("amplitude", "phase"))

    def build(self, diffraction_shape: Any, *_: Any) -> None:
        features = build_chain(self.encoder, diffraction_shape)
        for decoder in (self.amplitude, self.phase):
            decoder.build(features)
        self.built = True

    def call(self, diffraction: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
        # brought to unit root-mean-square per group: a network should not depend on the probe's normalisation
        energy = tf.reduce_mean(tf.square(diffraction), axis=(1, 2, 3), keepdims=True)
        x = apply_chain(self.encoder, diffraction * tf.math.rsqrt(energy + 1e-12))
        amplitude = AMPLITUDE_CEILING * tf.sigmoid(self.amplitude(x))
        phase = math.pi * tf.tanh(self.phase(x))
        return tf.complex(amplitude * tf.cos(phase), amplitude * tf.sin(phase))[:, tf.newaxis]

    def compute_output_spec(self, *_: Any) -> keras.KerasTensor:
        return keras.KerasTensor((None, 1, self.m, self.m), dtype="complex64")
