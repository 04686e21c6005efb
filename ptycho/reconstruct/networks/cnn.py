"""The reference architecture: the network of PtychoPINN (Hoidn, Mishra & Mehta, Sci. Rep. 13 (2023) 22789).

Layers, filters and reassembly are those of ptycho/model.py and ptycho/tf_helper.py of github.com/hoidn/PtychoPINN at
712c23f. An encoder sees the amplitudes of a group. One decoder draws the amplitude of each pattern's patch, another its
phase. A patch has its own frame of N x N pixels: the central N/2 x N/2 are drawn, and around them are zeros. The
patches are laid on the group's canvas at their offsets, summed and divided by the number that overlap::

    O = sum_c T_c^H patch_c / (sum_c T_c^H 1 + 0.001)

Outside all patches O is zero, there as here. Where the probe is larger than N/2, the last four channels of each decoder
draw the border of the frame. The network is trained on the loss itself, not on its logarithm, in batches of 16 and by
Adam at a constant rate.

These points differ from PtychoPINN:

- The encoder sees amplitudes in the unit of the probe. There the unit is the mean of the scan.
- The trainable scale multiplies the object. There it multiplies the predicted amplitudes, which comes to the same.
- The untrained amplitude is about 1, empty space. There it depends on how the probe is normalised.
- The number that overlap counts the border, if it is drawn. There a pixel of borders alone is divided by 0.001.
- The canvas is cut to what the probe reaches, and the probe to the pixels that hold its light.
- N is any multiple of 8. There it is 64, 128 or 256.
- An epoch shows every pattern once, but has at least 60 batches. There it shows every group once.
- PtychoPINN also halves the rate where the loss of held-out groups stays level, and stops where that of training does.
"""

import math
from typing import Any

import keras
import tensorflow as tf

from ptycho.physics import optics
from ptycho.reconstruct.networks import layers

WIDEST, NARROWEST = 256, 64  # filters of the encoder's last stage, and of a decoder's last
OUTER = 4  # channels that only the border is drawn from
FEWEST = 2 * OUTER  # filters of a stage
MOST_STAGES = 5
AMPLITUDE_CEILING = 2.0  # the amplitude starts as this times a sigmoid: half way up is empty space, 1
UNCOVERED = 1e-3  # added to the number of patches on a pixel
LIMITS = {"amplitude": tf.sigmoid, "phase": lambda x: math.pi * tf.tanh(x)}


def stages(N: int) -> int:
    """Poolings by two of N pixels: down to 8 pixels as in PtychoPINN, 5 at most, fewer if N is not halved so often."""
    return min(MOST_STAGES, (N // 8).bit_length() - 1, (N & -N).bit_length() - 1)


def _convolutions(filters: list[int], name: str, resize: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Two convolutions and ``resize`` for each number of filters.

    The list is flat: Keras 3.12, the last for Python 3.10, does not save nested ones.
    """
    settings = {"kernel_size": 3, "padding": "same", "activation": "relu"}
    chain = []
    for i, f in enumerate(filters):
        chain += [*(keras.layers.Conv2D(f, **settings, name=f"{name}{i}_{j}") for j in range(2)), resize]
    return chain


class Decoder(layers.ConfiguredLayer):
    """Features (B, h, h, F) -> what is drawn of the frames: (B, N/2, N/2, C), with a border (B, N, N, C), float32.

    draws: amplitude or phase. channels: C. filters: of the stages, each of which doubles the resolution. border:
    filters of the border, or None where none is drawn.
    """

    def __init__(self, draws: str, channels: int, filters: list[int], border: int | None, **kwargs: Any):
        settings = {"draws": draws, "channels": channels, "filters": filters, "border": border}
        super().__init__(settings, **kwargs)
        self.convolutions = _convolutions(filters, "up", keras.layers.UpSampling2D())
        self.fine = keras.layers.Conv2D(channels, 3, padding="same", name="fine")
        around = keras.layers.Conv2D(channels, 3, padding="same", activation="swish", name="border")
        self.around = [*_convolutions([border], "border", keras.layers.UpSampling2D()), around] if border else []

    def build(self, shape: Any) -> None:
        *space, features = layers.build_chain(self.convolutions, shape)
        self.fine.build((*space, features - OUTER))
        layers.build_chain(self.around, (*space, OUTER))
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        x = layers.apply_chain(self.convolutions, x)
        centre = LIMITS[self.draws](self.fine(x[..., :-OUTER]))
        if not self.around:
            return centre
        h = centre.shape[1]
        frame = [[0, 0], [h // 2, h // 2], [h // 2, h // 2], [0, 0]]
        outside = tf.pad(tf.zeros((1, h, h, 1)), frame, constant_values=1)
        return tf.pad(centre, frame) + outside * layers.apply_chain(self.around, x[..., -OUTER:])


class EncoderDecoder(layers.ConfiguredLayer):
    """Amplitudes (B, N, N, C), positions (B, 1, 2, C), probe (L, n, n), mask (unused) -> object (B, 1, m, m) complex64.

    m: side of the canvas. N: side of a pattern, one of PATTERN_SIZES. channels: C. border: whether the border of a
    frame is drawn. filters_scale: multiplies the filters; 1 is PtychoPINN's n_filters_scale of 2.
    """

    xla = False  # convolutions as wide as these are faster in the processor's own library
    plainly_trained = True

    def __init__(self, m: int, N: int, channels: int, border: bool, filters_scale: float = 1.0, **kwargs: Any):
        settings = {"m": m, "N": N, "channels": channels, "border": border, "filters_scale": filters_scale}
        super().__init__(settings, **kwargs)
        last = stages(N) - 1
        down = [self._filters(WIDEST / 2 ** (last - i)) for i in range(last + 1)]
        up = [self._filters(NARROWEST * 2 ** (last - 1 - i)) for i in range(last)]
        self.encoder = _convolutions(down, "encoder", keras.layers.MaxPooling2D())
        self.amplitude, self.phase = (
            Decoder(name, channels, up, down[0] if border else None, name=name) for name in LIMITS
        )
        self.log_scale = self.add_weight(shape=(), initializer="zeros", name="log_scale")

    def _filters(self, published: float) -> int:
        return max(FEWEST, round(published * self.filters_scale))

    def build(self, diffraction_shape: Any, *_: Any) -> None:
        features = layers.build_chain(self.encoder, diffraction_shape)
        for decoder in (self.amplitude, self.phase):
            decoder.build(features)
        self.built = True

    def call(self, diffraction: tf.Tensor, coords_relative: tf.Tensor, P: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
        patches = self.patches(diffraction, P)
        side = patches.shape[-1]
        T = optics.Translation(layers.offsets_from_relative(coords_relative), n=side, m=self.m)
        number = optics.coverage(T, tf.ones((1, side, side), tf.complex64))
        return optics.scale(1 / (number + UNCOVERED), T.adjoint(patches))[:, tf.newaxis]

    def patches(self, diffraction: tf.Tensor, P: tf.Tensor) -> tf.Tensor:
        """Each pattern's patch as far as it is drawn: (B, C, N/2, N/2), with a border (B, C, N, N), complex64."""
        scale = tf.exp(self.log_scale)
        # the pattern of empty space has a root-mean-square of a half, as PtychoPINN's patterns have
        light = tf.stop_gradient(tf.reduce_sum(optics.squared_modulus(P)))
        x = layers.apply_chain(self.encoder, diffraction * (self.N / 2 * tf.math.rsqrt(light) / scale))
        amplitude, phase = (tf.transpose(decoder(x), (0, 3, 1, 2)) for decoder in (self.amplitude, self.phase))
        amplitude *= AMPLITUDE_CEILING * scale
        return tf.complex(amplitude * tf.cos(phase), amplitude * tf.sin(phase))

    def compute_output_spec(self, *_: Any) -> keras.KerasTensor:
        return keras.KerasTensor((None, 1, self.m, self.m), dtype="complex64")
