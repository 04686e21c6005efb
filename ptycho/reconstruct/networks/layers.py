"""What every architecture shares: the probe, the measurement and the frames, as serialisable Keras layers."""

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ptycho.physics import optics


def canvas_size(n: int, max_offset: float) -> int:
    """Side of the canvas that n-pixel patches up to ``max_offset`` pixels from its centre need; a multiple of 4."""
    return 4 * int(np.ceil((n + 2 * max_offset + 2) / 4))


def offsets_from_relative(coords_relative: tf.Tensor) -> tf.Tensor:
    """(B, C, 2) offsets (y, x) from ``coords_relative`` (B, 1, 2, C), which holds (x, y) with relative sign -1."""
    return -tf.reverse(tf.transpose(coords_relative[:, 0], (0, 2, 1)), axis=[-1])


def mask_of(model: keras.Model) -> np.ndarray | None:
    """The mask (N, N) bool that the model was built with; None if it believes the whole detector."""
    layer = next((layer for layer in model.layers if isinstance(layer, Mask)), None)
    return None if layer is None else layer.valid.numpy() > 0


def uses_xla(model: keras.Model) -> bool:
    """Whether the network of this model is the faster for being compiled by XLA."""
    return model.get_layer("reconstruction").xla


def plainly_trained(model: keras.Model) -> bool:
    """Whether this network is trained on the loss at a constant rate; else on its logarithm, at one that changes."""
    return model.get_layer("reconstruction").plainly_trained


def build_chain(layers: Iterable[keras.layers.Layer], shape: Any) -> Any:
    """Build layers that follow one another from the shape of what enters the first; the shape of what comes out."""
    for layer in layers:
        layer.build(shape)
        shape = layer.compute_output_shape(shape)
    return shape


def apply_chain(layers: Iterable[keras.layers.Layer], x: tf.Tensor) -> tf.Tensor:
    for layer in layers:
        x = layer(x)
    return x


def framed(image: tf.Tensor, side: int, fill: float = 0) -> tf.Tensor:
    """An image (B, m, m) in a frame (B, side, side), index m//2 on side//2: cut, or padded with ``fill``."""
    m = image.shape[-1]
    before = side // 2 - m // 2
    if before < 0:
        return image[:, -before : side - before, -before : side - before]
    return tf.pad(image, [[0, 0]] + [[before, side - m - before]] * 2, constant_values=fill)


class ConfiguredLayer(keras.layers.Layer):
    """A float32 layer whose constructor arguments are its configuration and, by the same names, its attributes.

    A saved model finds its subclasses by their names, wherever they are defined.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        keras.saving.register_keras_serializable(package="ptycho")(cls)

    def __init__(self, settings: dict[str, Any] | None = None, **kwargs: Any):
        super().__init__(dtype="float32", **kwargs)
        self._settings = settings or {}
        for name, value in self._settings.items():
            setattr(self, name, value)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["dtype"]
        return {**config, **self._settings}


@keras.saving.register_keras_serializable(package="ptycho")
class Convolution(keras.layers.Conv2D):
    """A 3 x 3 ``Conv2D`` with zeros around it, whose gradient in the kernel is a product of matrices.

    XLA on a processor computes that gradient in plain loops, ten times slower on canvases of 50 x 50.
    """

    def __init__(self, filters: int, **kwargs: Any):
        super().__init__(filters, **{**kwargs, "kernel_size": 3, "padding": "same"})

    def convolution_op(self, inputs: tf.Tensor, kernel: Any) -> tf.Tensor:
        return _convolve(inputs, tf.convert_to_tensor(kernel))


@tf.custom_gradient
def _convolve(x: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, ...]]]:
    """(B, H, W, C) and (3, 3, C, F) -> (B, H, W, F), float32."""
    H, W, C = x.shape[1:]
    F = kernel.shape[-1]

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
        of_x = tf.nn.conv2d_transpose(upstream, kernel, tf.shape(x), 1)
        around = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
        pixels = tf.reshape(upstream, (-1, F))
        of_kernel = [
            tf.matmul(tf.reshape(around[:, i : i + H, j : j + W], (-1, C)), pixels, transpose_a=True)
            for i in range(3)
            for j in range(3)
        ]
        return of_x, tf.reshape(tf.stack(of_kernel), (3, 3, C, F))

    return tf.nn.conv2d(x, kernel, 1, "SAME"), gradient


class Probe(ConfiguredLayer):
    """The probe's L incoherent modes on their n x n support: (anything) -> (L, n, n) complex64."""

    def __init__(self, modes: int, n: int, trainable_probe: bool = False, **kwargs: Any):
        super().__init__({"modes": modes, "n": n, "trainable_probe": trainable_probe}, **kwargs)
        self.pair = self.add_weight((modes, n, n, 2), initializer="zeros", trainable=trainable_probe, name="pair")

    def assign(self, P: np.ndarray) -> None:
        """Take the probe (L, n, n) complex."""
        self.pair.assign(np.stack([P.real, P.imag], axis=-1).astype(np.float32))

    def call(self, _: tf.Tensor) -> tf.Tensor:
        pair = tf.convert_to_tensor(self.pair)
        return tf.complex(pair[..., 0], pair[..., 1])


class Mask(ConfiguredLayer):
    """Amplitudes (B, N, N, C) -> the same, zero where not to be believed; and (N, N) float32, one elsewhere."""

    def __init__(self, N: int, **kwargs: Any):
        super().__init__({"N": N}, **kwargs)
        self.valid = self.add_weight((N, N), initializer="ones", trainable=False, name="valid")

    def assign(self, mask: np.ndarray) -> None:
        """Take the mask (N, N) bool, True where the detector is to be believed."""
        self.valid.assign(mask.astype(np.float32))

    def call(self, diffraction: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        valid = tf.convert_to_tensor(self.valid)
        return tf.where(valid[..., tf.newaxis] > 0, diffraction, 0.0), valid


class Diffraction(ConfiguredLayer):
    """Objects (B, m, m), positions (B, 1, 2, C), probe (L, n, n) -> intensity (B, N, N, C) float32, centred order."""

    def __init__(self, N: int, **kwargs: Any):
        super().__init__({"N": N}, **kwargs)

    def call(self, O: tf.Tensor, coords_relative: tf.Tensor, P: tf.Tensor) -> tf.Tensor:
        T = optics.Translation(offsets_from_relative(coords_relative), n=P.shape[-1], m=O.shape[-1])
        intensity = optics.to_centre(optics.diffract(T.forward(O), P, self.N))
        return tf.transpose(intensity, (0, 2, 3, 1))

    def compute_output_spec(self, O: Any, coords_relative: Any, P: Any) -> keras.KerasTensor:
        return keras.KerasTensor((None, self.N, self.N, coords_relative.shape[-1]), dtype="float32")


class Amplitude(ConfiguredLayer):
    """Intensity -> amplitude."""

    def call(self, intensity: tf.Tensor) -> tf.Tensor:
        return optics.amplitude(intensity)


class Frame(ConfiguredLayer):
    """The object (B, m, m) in the frame of a pattern (B, N, N, 1), index m//2 on N//2: cut, or padded with ones."""

    def __init__(self, N: int, **kwargs: Any):
        super().__init__({"N": N}, **kwargs)

    def call(self, O: tf.Tensor) -> tf.Tensor:
        return framed(O, self.N, fill=1)[..., tf.newaxis]


class Last(ConfiguredLayer):
    """Estimates (B, K, m, m) -> the last one (B, m, m)."""

    def call(self, estimates: tf.Tensor) -> tf.Tensor:
        return estimates[:, -1]
