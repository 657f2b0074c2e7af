"""The 256 values of an int8 LOGISTIC, computed as TensorFlow Lite's reference kernel does, bit for bit.

That kernel works in fixed point: the input in Q4.27, exp and 1/(1+x) in Q0.31 by gemmlowp's polynomials and Newton
steps (kernels/internal/reference/integer_ops/logistic.h; gemmlowp/fixedpoint/fixedpoint.h). All arrays are int64.
"""

from __future__ import annotations

import math

import numpy as np

_ONE = (1 << 31) - 1  # 1.0 in Q0.31, saturated
# exp(-2^k) in Q0.31 for k = -2 ... 3
_EXP_OF_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401)


def logistic_table(scale: float, zero_point: int) -> np.ndarray:
    """int8 (256,): the output for each input -128 ... 127 of a tensor with this scale and zero point.

    The output has scale 1/256 and zero point -128, as TensorFlow Lite demands.
    """
    fraction, shift = math.frexp(float(np.float32(scale)) * (1 << 27))
    multiplier = math.floor(fraction * (1 << 31) + 0.5)
    radius = min(math.floor(15 * (1 << 27) / 2.0**shift), 1 << 40)  # beyond it the result is 0 or 1
    centred = np.arange(-128, 128, dtype=np.int64) - zero_point  # (256,)
    inside = np.clip(centred, -radius, radius)
    in_q4 = _rounding_shift(_high_mul(inside << max(shift, 0), multiplier), max(-shift, 0))
    out_q23 = _rounding_shift(_logistic(in_q4), 23)
    out = np.clip(out_q23 - 128, -128, 127)
    out[centred <= -radius] = -128
    out[centred >= radius] = 127
    return out.astype(np.int8)


def _logistic(x: np.ndarray) -> np.ndarray:
    """Q4.27 -> Q0.31"""
    positive = _one_over_one_plus(_exp_of_negative(-np.abs(x)))
    return np.where(x > 0, positive, np.where(x < 0, _ONE - positive, 1 << 30))


def _exp_of_negative(x: np.ndarray) -> np.ndarray:
    """exp(x) for x <= 0: Q4.27 -> Q0.31"""
    quarter = 1 << 25
    rest = (x & (quarter - 1)) - quarter  # in [-1/4, 0)
    result = _exp_near_zero(rest << 4)
    remainder = rest - x
    for k, power in enumerate(_EXP_OF_POWERS):
        result = np.where(remainder & (1 << (25 + k)), _high_mul(result, power), result)
    return np.where(x == 0, _ONE, result)


def _exp_near_zero(x: np.ndarray) -> np.ndarray:
    """exp(x) in [-1/4, 0) by a Taylor series around -1/8: Q0.31 -> Q0.31"""
    exp_of_eighth, third = 1895147668, 715827883
    y = x + (1 << 28)
    y2 = _high_mul(y, y)
    y3, y4 = _high_mul(y2, y), _high_mul(y2, y2)
    series = _rounding_shift(_high_mul(_rounding_shift(y4, 2) + y3, third) + y2, 1)
    return exp_of_eighth + _high_mul(y + series, exp_of_eighth)


def _one_over_one_plus(x: np.ndarray) -> np.ndarray:
    """1 / (1 + x) for x in [0, 1] by three Newton steps: Q0.31 -> Q0.31"""
    half_denominator = (x + _ONE + 1) // 2
    y = 1515870810 + _high_mul(half_denominator, -1010580540)  # 48/17 - 32/17 d, Q2.29
    for _ in range(3):
        error = (1 << 29) - _high_mul(half_denominator, y)  # Q2.29
        y = y + (_high_mul(y, error) << 2)
    return np.minimum(y << 1, _ONE)


def _high_mul(a: np.ndarray, b: np.ndarray | int) -> np.ndarray:
    """(2ab) >> 32, rounded as gemmlowp's SaturatingRoundingDoublingHighMul does."""
    product = a * b
    nudged = product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    return np.sign(nudged) * (np.abs(nudged) >> 31)  # division that truncates towards 0


def _rounding_shift(x: np.ndarray, bits: int) -> np.ndarray:
    """x / 2^bits, rounded to the nearest, halves away from 0."""
    mask = (1 << bits) - 1
    return (x >> bits) + ((x & mask) > (mask >> 1) + (x < 0))
