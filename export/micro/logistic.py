"""The 256 values of an int8 LOGISTIC, computed as TensorFlow Lite Micro does, bit for bit.

Its kernel works in fixed point: the input in Q4.27, exp and 1/(1+x) in Q0.31 by gemmlowp's polynomials and Newton
steps (kernels/internal/reference/integer_ops/logistic.h). All arrays are int64. LiteRT computes in float32: of 200
tables one has a value that is a step apart, and from a scale of 2 on more.
"""

from __future__ import annotations

import math

import numpy as np

from export.micro.fixed_point import ONE, exp_of_negative, high_mul, one_over_one_plus, rounding_shift


def logistic_table(scale: float, zero_point: int) -> np.ndarray:
    """int8 (256,): the output for each input -128 ... 127 of a tensor with this scale and zero point.

    The output has scale 1/256 and zero point -128, as TensorFlow Lite demands.
    """
    fraction, shift = math.frexp(float(np.float32(scale)) * (1 << 27))
    multiplier = math.floor(fraction * (1 << 31) + 0.5)
    radius = min(math.floor(15 * (1 << 27) / 2.0**shift), 1 << 40)  # beyond it the result is 0 or 1
    centred = np.arange(-128, 128, dtype=np.int64) - zero_point  # (256,)
    inside = np.clip(centred, -radius, radius)
    in_q4 = rounding_shift(high_mul(inside << max(shift, 0), multiplier), max(-shift, 0))
    out_q23 = rounding_shift(_logistic(in_q4), 23)
    out = np.clip(out_q23 - 128, -128, 127)
    out[centred >= radius] = 127
    out[centred <= -radius] = -128
    return out.astype(np.int8)


def _logistic(x: np.ndarray) -> np.ndarray:
    """Q4.27 -> Q0.31"""
    positive = one_over_one_plus(exp_of_negative(-np.abs(x), 4))
    return np.where(x > 0, positive, np.where(x < 0, ONE - positive, 1 << 30))
