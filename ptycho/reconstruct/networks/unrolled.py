"""The unrolled network: blocks of gradient descent on the diffraction data, each followed by a small residual CNN.

One step on the group's object is that of the data term, divided by the probe's coverage, with a learned step and
momentum (the update of rPIE, Maiden et al., Optica 4 (2017) 736, Eq. 15, for all patterns of a group at once)::

    v <- beta v + sum_c T_c^H dL/dO_c / ((1 - a) coverage + a max coverage)
    O <- O - alpha v

Each step also learns how much of the data term is Poisson's, and the background that bounds what a single photon says.
Amplitudes lead the first steps from a flat start best. But amplitudes of few photons are biased: a network of nothing
else resolves less at low dose, whatever its loss.

The CNN of a block sees the object, its last gradient and the coverage at a quarter of the resolution, 4 x 4 pixels
as channels. Its last layer starts at zero, so an untrained network is plain physics.
"""

import math
from typing import Any

import keras
import tensorflow as tf

from ptycho.physics import optics
from ptycho.reconstruct.networks import layers

COVERAGE_FLOOR = 0.1  # rPIE's a: where the probe hardly reaches, steps fade out instead of amplifying noise
FIRST_FLOOR = 1e-3
"""Background of an untrained network, in units of the mean intensity of a pixel behind an object of one."""
COARSE = 4
"""Pixels along a side that become the channels of one: measured to lose nothing against 2, at 0.7 of the time."""


class Unrolled(layers.ConfiguredLayer):
    """Amplitudes (B, N, N, C), positions (B, 1, 2, C), probe (L, n, n) -> each block's object (B, blocks, m, m).

    A fourth input, (N, N) float32, is one where the amplitudes are to be believed and zero where they are not.

    m: side of the canvas, a multiple of COARSE. blocks, steps: blocks, and gradient steps in each. filters: of the
    residual CNN.
    """

    xla = True
    plainly_trained = False

    def __init__(self, m: int, blocks: int, steps: int, filters: int, **kwargs: Any):
        super().__init__({"m": m, "blocks": blocks, "steps": steps, "filters": filters}, **kwargs)
        starts = {"alpha": 1.0, "beta": 0.5, "poisson": 0.0, "log_floor": math.log(FIRST_FLOOR)}
        self.alpha, self.beta, self.poisson, self.log_floor = (
            self.add_weight(shape=(blocks, steps), initializer=keras.initializers.Constant(start), name=name)
            for name, start in starts.items()
        )
        relu, zeros = {"activation": "relu"}, {"kernel_initializer": "zeros"}
        # one flat list: Keras 3.12, the last for Python 3.10, does not save the weights of layers in nested lists
        self.convolutions = [
            layers.Convolution(size, **settings, name=f"block{k}_{name}")
            for k in range(blocks)
            for name, size, settings in (("in", filters, relu), ("mid", filters, relu), ("out", 2 * COARSE**2, zeros))
        ]

    def build(self, *_: Any) -> None:
        for k in range(self.blocks):
            layers.build_chain(self._regulariser(k), (None, self.m // COARSE, self.m // COARSE, 5 * COARSE**2))
        self.built = True

    def call(
        self, diffraction: tf.Tensor, coords_relative: tf.Tensor, P: tf.Tensor, valid: tf.Tensor | None = None
    ) -> tf.Tensor:
        valid = None if valid is None else optics.to_corner(valid)
        A = optics.to_corner(tf.transpose(diffraction, (0, 3, 1, 2)))
        T = optics.Translation(layers.offsets_from_relative(coords_relative), n=P.shape[-1], m=self.m)
        coverage = optics.coverage(T, P)
        peak = tf.reduce_max(coverage, axis=(1, 2), keepdims=True)
        weight = 1.0 / ((1 - COVERAGE_FLOOR) * coverage + COVERAGE_FLOOR * peak)
        floor = tf.exp(self.log_floor) * tf.reduce_sum(optics.squared_modulus(P)) / A.shape[-1] ** 2
        O = tf.ones_like(weight, dtype=tf.complex64)
        v = tf.zeros_like(O)
        estimates = []
        for k in range(self.blocks):
            for s in range(self.steps):
                gradient, _ = optics.data_gradient(T.forward(O), P, A, self.poisson[k, s], floor[k, s], valid)
                G = optics.scale(weight, T.adjoint(gradient))
                v = optics.scale(self.beta[k, s], v) + G
                O = O - optics.scale(self.alpha[k, s], v)
            O = O + self._residual(k, O, G, coverage / peak)
            estimates.append(O)
        return tf.stack(estimates, axis=1)

    def _regulariser(self, k: int) -> list[layers.Convolution]:
        return self.convolutions[3 * k : 3 * k + 3]

    def _residual(self, k: int, O: tf.Tensor, G: tf.Tensor, coverage: tf.Tensor) -> tf.Tensor:
        seen = [tf.math.real(O) - 1, tf.math.imag(O), tf.math.real(G), tf.math.imag(G), coverage]
        coarse = tf.nn.space_to_depth(tf.stack(seen, axis=-1), COARSE)
        pair = tf.nn.depth_to_space(layers.apply_chain(self._regulariser(k), coarse), COARSE)
        return tf.complex(pair[..., 0], pair[..., 1])

    def compute_output_spec(self, *_: Any) -> keras.KerasTensor:
        return keras.KerasTensor((None, self.blocks, self.m, self.m), dtype="complex64")
