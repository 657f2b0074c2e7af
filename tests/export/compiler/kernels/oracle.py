"""Plain numpy twins of the kernels, with TFLite's double rounding, and the tables that the kernels read."""

from __future__ import annotations

import numpy as np


def high_product(a: np.ndarray, b: np.ndarray | int) -> np.ndarray:
    """SaturatingRoundingDoublingHighMul of gemmlowp, in 64 bits."""
    product = np.asarray(a, np.int64) * b
    nudge = np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    total = product + nudge
    return np.where(total >= 0, total >> 31, -(-total >> 31))  # C's division: towards 0


def rounding_shift(x: np.ndarray, exponent: np.ndarray | int) -> np.ndarray:
    """RoundingDivideByPOT of gemmlowp."""
    mask = (np.int64(1) << exponent) - 1
    remainder, threshold = x & mask, (mask >> 1) + (x < 0)
    return (x >> exponent) + (remainder > threshold)


def requantise(sums: np.ndarray, multiplier: np.ndarray, shift: np.ndarray, zero_point: int) -> np.ndarray:
    """int8 outputs of sums whose last axis is the channel; `shift` is a right shift."""
    left, right = np.maximum(-shift, 0), np.maximum(shift, 0)
    scaled = rounding_shift(high_product(sums << left, multiplier), right)
    return np.clip(scaled + zero_point, -128, 127).astype(np.int8)


def channel_table(bias: np.ndarray, multiplier: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """channel_t records, (channels, 3) int32."""
    return np.stack([bias, multiplier, shift], 1).astype(np.int32)


def fast_table(bias: np.ndarray, multiplier: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """fast_channel_t records, (channels, 2) int32."""
    return np.stack([multiplier, bias * 256 + shift], 1).astype(np.int32)


def to_even(array: np.ndarray, axis: int, repeat: bool = False) -> np.ndarray:
    """The array with an even length along an axis: padded with zeros, or with its last entry."""
    width = [(0, array.shape[i] % 2 if i == axis else 0) for i in range(array.ndim)]
    return np.pad(array, width, mode="edge" if repeat else "constant")


def pack_dense(weights: np.ndarray) -> np.ndarray:
    """int8 (outputs, inputs) -> the words that dense reads: halfwords 256 * w(c + 1, k) + w(c, k)."""
    even = to_even(to_even(weights.astype(np.int16), 0), 1)
    pairs = even[1::2] * 256 + even[0::2]  # (outputs / 2, inputs)
    return pairs.astype("<i2")


def to_tile(image: np.ndarray) -> np.ndarray:
    """int8 (4 pixels, channels) -> int16 (channels / 2, 4, 2)."""
    even = to_even(image.astype(np.int16), 1)
    return even.reshape(len(image), -1, 2).transpose(1, 0, 2)


def random_channels(rng: np.random.Generator, count: int, inputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Biases, multipliers and right shifts that fill the int8 range, some of them at their ends."""
    bias = rng.integers(-10000, 10000, count)
    multiplier = rng.integers(1 << 30, (1 << 31) - 1, count, endpoint=True)
    multiplier[rng.random(count) < 0.2] = rng.choice([1 << 30, (1 << 31) - 1])
    shift = rng.integers(6, 11, count) + int(np.log2(max(inputs, 1))) // 2
    shift[rng.random(count) < 0.1] = rng.choice([1, 2, 22])
    return bias, multiplier, shift


def pack_depthwise(weights: np.ndarray, stride: int, pad_left: int) -> np.ndarray:
    """int8 (channels, size, size) -> what depthwise reads: four int16 a kernel row, doubled, or five int8."""
    ahead = pad_left % 2
    if weights.shape[1] == 3:
        taps = np.pad(weights, ((0, 0), (0, 0), (ahead, 3 - ahead)))  # zeros around
        order = [0, 1, 2, 3] if stride == 2 else [ahead, ahead + 1, ahead + 1, ahead + 2]
        return (2 * taps[:, :, order]).astype(np.int16)
    order = [1, 3, 2, 4, 0] if stride == 2 and ahead else [0, 2, 1, 3, 4]
    return weights[:, :, order].astype(np.int8)


def row_stride(width: int, outputs: int, size: int, stride: int, pad_left: int) -> int:
    """Halfwords from channel to channel in the layout `rows`."""
    needed = max(2 + -(-width // 4) * 4, 2 - pad_left + stride * (-(-outputs // 4) * 4 - 1) + size + 1)
    return needed + needed % 2


def depthwise_row(
    rows: np.ndarray, weights: np.ndarray, first: int, stride: int, pad_left: int, outputs: int
) -> np.ndarray:
    """Sums of one output row (outputs, channels) of centred rows (rows_in, channels, width)."""
    size = weights.shape[1]
    right = max(0, (outputs - 1) * stride + size - pad_left - rows.shape[2])
    padded = np.pad(rows.astype(np.int64), ((0, 0), (0, 0), (pad_left, right)))
    taps = weights[:, first : first + len(rows)].astype(np.int64)
    windows = np.stack([padded[:, :, x * stride : x * stride + size] for x in range(outputs)])
    return np.einsum("xrck,crk->xc", windows, taps)


def pack_sparse(weights: np.ndarray, entry_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """(outputs, inputs) -> entries and their counts; an output without weights has one entry of value 0.

    entry_bytes 3: two entries in three bytes, byte by byte as kernels/sparse.h says, without counts.
    """
    if entry_bytes == 3:
        stream = [byte for row in weights for byte in pairs_of_row(row)]
        return np.array([*stream, 0xAA], np.uint8), np.zeros(1, np.uint16)  # the byte after the last may be anything
    entries, counts = [], []
    for row in weights:
        inputs = np.flatnonzero(row) if row.any() else np.zeros(1, int)
        counts.append(len(inputs))
        entries.append((row[inputs].astype(np.int64) & 0xFFFF) | inputs << 20)
    return np.concatenate(entries).astype("<u4"), np.array(counts, np.uint16)


def pairs_of_row(row: np.ndarray) -> list[int]:
    """One output's bytes; the second entry stands alone where an even number is left after the first."""
    here, entries = 0, []  # (gap, value); the first gap is the input itself
    for place in np.flatnonzero(row).tolist() or [0]:
        while place - here > (16 if entries else 255):
            step = 16 if entries else 255
            entries.append((step - 1 if entries else step, 0))
            here += step
        entries.append((place - here - 1 if entries else place, int(row[place]) & 0xFF))
        here = place
    first, *rest = entries
    head = [len(rest), *first]
    if len(rest) % 2:
        head += rest.pop(0)
    pairs = [(a[1], a[0] | b[0] << 4, b[1]) for a, b in zip(rest[::2], rest[1::2], strict=True)]
    return head + [byte for pair in pairs for byte in pair]
