"""Which surfel is seen at each pixel: projection, z-buffer, and the closing of holes."""

import numpy as np

from hpe.synthetic.compiled import compiled

_f32 = np.float32
_ID_BITS = 16  # a word of the z-buffer is (depth, surfel number): the nearer surfel wins a maximum
_DEPTH_RANGE = _f32(800)  # mm in front of and behind the neck that the z-buffer can tell apart
_LEVELS_PER_MM = _f32((2**15 - 1) / (2 * 800))
_STEP = np.int32(int(10 * _LEVELS_PER_MM) << _ID_BITS)  # a hole shows something at least 10 mm farther away
_NEAREST = np.int32(2**31 - 1)


@compiled
def project(points, distance, scale, shift):
    """Column and row, (n,) each, of points (3, n) seen by a pinhole camera at `distance` mm; float32 throughout.

    `scale` and `shift` (2,) take mm right and down on the plane of the neck to columns and rows.
    """
    column, row = np.empty(points.shape[1], np.float32), np.empty(points.shape[1], np.float32)
    x, y, z = points[0], points[1], points[2]
    for i in range(column.size):
        nearness = distance / (distance - z[i])
        column[i] = x[i] * nearness * scale[0] + shift[0]
        row[i] = shift[1] - y[i] * nearness * scale[1]
    return column, row


@compiled
def splat(depth, column, row, side, reach):
    """The pixels of a side x side picture that are covered (m,), and the number of the nearest surfel at each (m,).

    A surfel covers one pixel. Holes up to 2 * reach pixels wide, where the background or a farther surface shows
    between neighbours, are then closed by a morphological closing of the z-buffer, which leaves silhouettes alone.
    """
    frame = 2 * reach  # pixels around the picture that closing needs
    nearest = _z_buffer(depth, column, row, side + 2 * frame, frame)
    closed = _NEAREST - _highest_around(_NEAREST - _highest_around(nearest, reach), reach)
    covered, number = np.empty(side * side, np.int64), np.empty(side * side, np.int64)
    count = 0
    for y in range(side):
        for x in range(side):
            word = nearest[y + frame, x + frame]
            if closed[y, x] - word > _STEP:
                word = closed[y, x]
            if word > 0:
                covered[count], number[count] = y * side + x, word & (2**_ID_BITS - 1)
                count += 1
    return covered[:count], number[:count]


@compiled
def _z_buffer(depth, column, row, width, frame):
    """The word of the nearest surfel at each pixel, int32 (width, width), 0 where there is none."""
    buffer = np.zeros((width, width), np.int32)
    start, end = _f32(frame), _f32(width)
    for i in range(depth.size):
        x, y = column[i] + start, row[i] + start
        if 0 <= x < end and 0 <= y < end:
            word = (np.int32((depth[i] + _DEPTH_RANGE) * _LEVELS_PER_MM) << _ID_BITS) | np.int32(i)
            x, y = np.uint32(x), np.uint32(y)
            buffer[y, x] = max(buffer[y, x], word)
    return buffer


@compiled
def _highest_around(buffer, reach):
    """The maximum over squares of 2 * reach + 1 pixels, which leaves `reach` pixels less at each edge."""
    height, width = buffer.shape[0] - 2 * reach, buffer.shape[1] - 2 * reach
    across = np.zeros((buffer.shape[0], width), np.int32)
    for y in range(buffer.shape[0]):
        for step in range(2 * reach + 1):
            _raise_to(across[y], buffer[y, step:])
    highest = np.zeros((height, width), np.int32)
    for y in range(height):
        for step in range(2 * reach + 1):
            _raise_to(highest[y], across[y + step])
    return highest


@compiled
def _raise_to(row, other):
    for x in range(row.size):
        row[x] = max(row[x], other[x])
