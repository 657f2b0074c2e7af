"""The integers that TFLite's reference kernels compute with: multipliers, activation ranges, tables of unary functions.

Each function names the one of TensorFlow Lite that it follows, bit for bit.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from export.micro.fixed_point import ONE, exp_of_negative, high_mul, rounding_shift

LOWEST, HIGHEST = -128, 127


def quantize_multiplier(factor: float) -> tuple[int, int]:
    """QuantizeMultiplier: factor = multiplier / 2^31 / 2^shift, the shift to the right (negative: to the left)."""
    if factor == 0.0:
        return 0, 0
    fraction, exponent = math.frexp(factor)
    multiplier = math.floor(fraction * (1 << 31) + 0.5)
    if multiplier == 1 << 31:
        multiplier, exponent = multiplier // 2, exponent + 1
    if exponent < -31:
        return 0, 0
    return multiplier, -exponent


def rescale(x: np.ndarray, multiplier: int, shift: int) -> np.ndarray:
    """MultiplyByQuantizedMultiplier on int64 arrays that hold int32 values, rounding twice."""
    return rounding_shift(high_mul(x << max(-shift, 0), multiplier), max(shift, 0))


def activation_range(activation: str, scale: float, zero_point: int) -> tuple[int, int]:
    """CalculateActivationRangeQuantized: the least and the greatest output of a fused activation."""
    limits = {"NONE": (None, None), "RELU": (0.0, None), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}[activation]
    low, high = (None if limit is None else zero_point + int(_round(_divide(limit, scale))) for limit in limits)
    return max(LOWEST, low if low is not None else LOWEST), min(HIGHEST, high if high is not None else HIGHEST)


def table_of(name: str, source: tuple[float, int], target: tuple[float, int], alpha: float = 0.0) -> np.ndarray:
    """int8 (256,): a unary operator's output for each input -128 ... 127; source, target: scale and zero point."""
    (in_scale, in_zero), (_, out_zero) = source, target
    centred = np.arange(-128, 128, dtype=np.int64) - in_zero  # (256,)
    if name in ("LOGISTIC", "TANH"):
        return _float_table(name, centred, in_scale)
    if name == "HARD_SWISH":
        return _hard_swish(centred, in_scale, target)
    if name == "LEAKY_RELU":  # QuantizeLeakyRelu
        same = rescale(centred, *quantize_multiplier(_divide(in_scale, target[0])))
        factor = np.float64(np.float32(in_scale) * np.float32(alpha) / np.float32(target[0]))
        small = rescale(centred, *quantize_multiplier(float(factor)))
        return _clip(np.where(centred >= 0, same, small) + out_zero)
    if name == "QUANTIZE":
        return _clip(rescale(centred, *quantize_multiplier(_ratio(in_scale, target[0]))) + out_zero)
    moved = rescale(centred, *quantize_multiplier(_divide(in_scale, target[0]))) + out_zero
    return np.clip(moved, *activation_range(name, *target)).astype(np.int8)


def product_factor(a: float, b: float, target: float) -> float:
    """What MUL rescales its products by, from three scales; MulPrepare of LiteRT, which computes it in float32."""
    return _divide(float(np.float32(a) * np.float32(b)), target)


UNARY = ("LOGISTIC", "TANH", "HARD_SWISH", "LEAKY_RELU", "RELU", "RELU6", "RELU_N1_TO_1", "QUANTIZE")


def softmax_exponentials(scale: float, beta: float) -> np.ndarray:
    """int32 (256,): exp(beta * scale * -d) in Q0.31 for each distance d from the greatest input; 0: left out.

    PreprocessSoftmaxScaling and the first loop of reference_ops::Softmax.
    """
    factor = min(float(np.float32(beta)) * float(np.float32(scale)) * (1 << 26), (1 << 31) - 1.0)
    multiplier, shift = quantize_multiplier(factor)
    left = -shift
    radius = math.floor(31 * (1 << 26) / 2.0**left)
    distance = -np.arange(256, dtype=np.int64)
    exponent = high_mul(np.maximum(distance, -radius) << max(left, 0), multiplier)
    result = exp_of_negative(exponent, 5)
    return np.where(distance >= -radius, result, 0).astype(np.int32)


def _float_table(name: str, centred: np.ndarray, scale: float) -> np.ndarray:
    """PopulateLookupTable of LiteRT, in float32. TensorFlow Lite Micro has fixed point here: see export.micro.logistic.

    The output of LOGISTIC has scale 1/256 and zero point -128, that of TANH 1/128 and 0.
    """
    x = np.float32(scale) * centred.astype(np.float32)
    if name == "TANH":
        return _clip(_round(np.tanh(x.astype(np.float64)).astype(np.float32) * np.float32(128)))
    exp = np.exp(np.minimum(-x, 88.0).astype(np.float64)).astype(np.float32)  # of 88 and more the rest is 0
    return _clip(_round(np.float32(256) / (np.float32(1) + exp)) - 128)


def _hard_swish(centred: np.ndarray, scale: float, target: tuple[float, int]) -> np.ndarray:
    """reference_ops::HardSwish, in 16-bit fixed point."""
    fine_scale = np.float32(1.0 / 128.0) * np.float32(scale)
    out_multiplier, out_shift = quantize_multiplier(float(fine_scale / np.float32(target[0])))
    relu_multiplier, relu_shift = quantize_multiplier(float(fine_scale / (np.float32(3.0) / np.float32(32768.0))))
    fine = centred << 7
    preshift = _high_mul16(fine, _halve(out_multiplier))
    gate = fine
    if relu_shift < 0:
        gate = _saturate16(gate << (-relu_shift - 1))
    gate = _high_mul16(gate, _halve(relu_multiplier))
    if relu_shift < 0:
        gate = _saturate16(gate << 1)
    gate = (rounding_shift(gate, max(relu_shift, 0)) + (1 << 15)) >> 1
    product = gate * preshift
    truncated = np.sign(product) * (np.abs(product) >> 15)
    return _clip(rounding_shift(truncated, out_shift) + target[1])


def _high_mul16(a: np.ndarray, b: int) -> np.ndarray:
    """SaturatingRoundingDoublingHighMul of int16."""
    product = a * b
    nudged = product + np.where(product >= 0, 1 << 14, 1 - (1 << 14))
    return np.sign(nudged) * (np.abs(nudged) >> 15)


def _saturate16(x: np.ndarray) -> np.ndarray:
    return np.clip(x, -(1 << 15), (1 << 15) - 1)


def _halve(multiplier: int) -> int:
    """DownScaleInt32ToInt16Multiplier"""
    return (1 << 15) - 1 if multiplier >= ONE - (1 << 15) else (multiplier + (1 << 15)) >> 16


def _clip(x: np.ndarray) -> np.ndarray:
    return np.clip(x, LOWEST, HIGHEST).astype(np.int8)


def _divide(a: float, b: float) -> float:
    """In float32, as most kernels divide two scales."""
    return float(np.float32(a) / np.float32(b))


def _ratio(a: float, b: float) -> float:
    """In double, as QUANTIZE does."""
    return float(np.float32(a)) / float(np.float32(b))


def _round(x: Any) -> np.ndarray:
    """int64, to the nearest, halves away from 0; TfLiteRound."""
    whole = np.trunc(x)
    return (whole + np.where(np.abs(x - whole) >= 0.5, np.sign(x), 0)).astype(np.int64)
