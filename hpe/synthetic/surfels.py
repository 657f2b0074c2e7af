"""Loops over surfels, compiled: normals of grids, sums of layers, and the turn into camera axes. Float32 throughout."""

import numpy as np

from hpe.synthetic.compiled import compiled

_f32 = np.float32


@compiled
def grid_normals(points, rows, columns, closed):
    """Normals (3, rows*columns), not normalised, of a grid (3, rows*columns); `closed` joins last column and first.

    They point outward when columns run counter-clockwise seen from above (phi = atan2(x, z)) and rows run downward.
    """
    normals = np.empty_like(points)
    x, y, z = points[0], points[1], points[2]
    for row in range(rows):
        above, below = max(row - 1, 0) * columns, min(row + 1, rows - 1) * columns
        for column in range(columns):
            before, after = column - 1, column + 1
            if column == 0:
                before = columns - 1 if closed else 0
            elif column == columns - 1:
                after = 0 if closed else column
            left, right = row * columns + before, row * columns + after
            up, down = above + column, below + column
            across_x, across_y, across_z = x[right] - x[left], y[right] - y[left], z[right] - z[left]
            down_x, down_y, down_z = x[down] - x[up], y[down] - y[up], z[down] - z[up]
            here = row * columns + column
            normals[0, here] = down_y * across_z - down_z * across_y
            normals[1, here] = down_z * across_x - down_x * across_z
            normals[2, here] = down_x * across_y - down_y * across_x
    return normals


@compiled
def turn_into(target, points, rotation, pivot):
    """rotation (3, 3) @ (points (3, n) - pivot (3,)), into target (3, n)."""
    for axis in range(3):
        a, b, c = rotation[axis, 0], rotation[axis, 1], rotation[axis, 2]
        offset = a * pivot[0] + b * pivot[1] + c * pivot[2]
        x, y, z, turned = points[0], points[1], points[2], target[axis]
        for i in range(turned.size):
            turned[i] = a * x[i] + b * y[i] + c * z[i] - offset


@compiled
def add_layers(target, weights, layers, spans):
    """Add weights (k,) @ layers (k, n) to target (n,), in place; a layer is zero outside its span (start, stop)."""
    for j in range(weights.size):
        part, layer = target[spans[j, 0] : spans[j, 1]], layers[j, spans[j, 0] : spans[j, 1]]
        for i in range(part.size):
            part[i] += weights[j] * layer[i]


@compiled
def lay_over(albedo, cover, colour, shade):
    """Cover albedo (3, n), in place, with a colour (3,) of brightness `shade` (n,), as far as `cover` (n,) says."""
    for channel in range(3):
        paint, tone = albedo[channel], colour[channel]
        for i in range(cover.size):
            paint[i] += cover[i] * (tone * shade[i] - paint[i])


def spans_of(layers: np.ndarray) -> np.ndarray:
    """Where each of the layers (k, n) is more than 1e-4 in size: (k, 2) start and stop."""
    touched = [np.flatnonzero(np.abs(layer) > 1e-4) for layer in layers]
    return np.array([(indices[0], indices[-1] + 1) for indices in touched], np.int64)
