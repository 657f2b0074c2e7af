"""gemmlowp's fixed-point functions on int64 arrays, bit for bit (gemmlowp/fixedpoint/fixedpoint.h).

Qm.n names a format of m integer and n fraction bits. TFLite's reference SOFTMAX uses them, and TensorFlow Lite Micro's
LOGISTIC.
"""

from __future__ import annotations

import numpy as np

ONE = (1 << 31) - 1  # 1.0 in Q0.31, saturated
# exp(-2^k) in Q0.31 for k = -2 ... 4
_EXP_OF_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)


def high_mul(a: np.ndarray, b: np.ndarray | int) -> np.ndarray:
    """(2ab) >> 32, rounded as SaturatingRoundingDoublingHighMul does."""
    product = a * b
    nudged = product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    return np.sign(nudged) * (np.abs(nudged) >> 31)  # division that truncates towards 0


def rounding_shift(x: np.ndarray, bits: int) -> np.ndarray:
    """x / 2^bits, rounded to the nearest, halves away from 0."""
    mask = (1 << bits) - 1
    return (x >> bits) + ((x & mask) > (mask >> 1) + (x < 0))


def exp_of_negative(x: np.ndarray, integer_bits: int) -> np.ndarray:
    """exp(x) for x <= 0: Q(integer_bits) -> Q0.31; integer_bits is 4 or 5."""
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    rest = (x & (quarter - 1)) - quarter  # in [-1/4, 0)
    result = _exp_near_zero(rest << integer_bits)
    remainder = rest - x
    for k, power in enumerate(_EXP_OF_POWERS[: integer_bits + 2], start=-2):
        result = np.where(remainder & (1 << (fraction_bits + k)), high_mul(result, power), result)
    return np.where(x == 0, ONE, result)


def one_over_one_plus(x: np.ndarray) -> np.ndarray:
    """1 / (1 + x) for x in [0, 1]: Q0.31 -> Q0.31"""
    return np.minimum(_half_reciprocal(x) << 1, ONE)


def _exp_near_zero(x: np.ndarray) -> np.ndarray:
    """exp(x) in [-1/4, 0) by a Taylor series around -1/8: Q0.31 -> Q0.31"""
    exp_of_eighth, third = 1895147668, 715827883
    y = x + (1 << 28)
    y2 = high_mul(y, y)
    y3, y4 = high_mul(y2, y), high_mul(y2, y2)
    series = rounding_shift(high_mul(rounding_shift(y4, 2) + y3, third) + y2, 1)
    return exp_of_eighth + high_mul(y + series, exp_of_eighth)


def _half_reciprocal(x: np.ndarray) -> np.ndarray:
    """2 / (1 + x) by three Newton steps: Q0.31 -> Q2.29"""
    half_denominator = (x + ONE + 1) // 2
    y = 1515870810 + high_mul(half_denominator, -1010580540)  # 48/17 - 32/17 d
    for _ in range(3):
        error = (1 << 29) - high_mul(half_denominator, y)
        y = y + (high_mul(y, error) << 2)
    return y
