"""Floating-point operations of a traced function: its matrix products, convolutions and Fourier transforms.

What is elementwise is left out: it takes time, but a matrix product's peak says nothing about it.
"""

from __future__ import annotations

from math import log2, prod

import tensorflow as tf

PLANES, ROWS = ("FFT2D", "IFFT2D"), ("FFT", "IFFT")


def count(graph: tf.Graph) -> float:
    """FLOP of one call. Shapes must be known: trace the function with its batch size."""
    return float(sum(_flops(op) for op in graph.get_operations()))


def transforms(graph: tf.Graph) -> float:
    """Two-dimensional Fourier transforms of one call, each image of a batch counted; w rows are half of one."""
    operations = [(op.type, op.inputs[0].shape) for op in graph.get_operations() if op.type in (*PLANES, *ROWS)]
    return sum(prod(shape[:-2]) if kind in PLANES else prod(shape[:-1]) / (2 * shape[-1]) for kind, shape in operations)


def transform(h: int, w: int) -> float:
    """5 n log2 n for n = h w points: a complex FFT by the usual reckoning (Frigo & Johnson, Proc. IEEE 93 (2005))."""
    return 5 * h * w * log2(h * w)


def _flops(op: tf.Operation) -> float:
    shapes = [tuple(tensor.shape) for tensor in op.inputs]
    if op.type in ("MatMul", "BatchMatMulV2"):
        inner = shapes[0][-2 if op.get_attr("adj_x" if op.type == "BatchMatMulV2" else "transpose_a") else -1]
        return 2 * prod(op.outputs[0].shape) * inner
    if op.type == "Conv2D":
        return 2 * prod(op.outputs[0].shape) * prod(shapes[1][:3])
    if op.type == "Conv2DBackpropInput":  # (size of the input, kernel, gradient of the output)
        return 2 * prod(shapes[2]) * prod(shapes[1][:3])
    if op.type == "Conv2DBackpropFilter":  # (input, size of the kernel, gradient of the output)
        return 2 * prod(shapes[2]) * prod(op.outputs[0].shape[:3])
    if op.type in PLANES:
        *batch, h, w = shapes[0]
        return prod(batch) * transform(h, w)
    if op.type in ROWS:
        *batch, w = shapes[0]
        return prod(batch) * transform(1, w)
    return 0.0
