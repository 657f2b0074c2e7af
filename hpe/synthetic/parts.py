"""The points of eyes, trunk and curtain, and the layer of hair, compiled. Lengths are mm; arrays are float32."""

import math

import numpy as np

from hpe.synthetic.compiled import compiled

_f32 = np.float32


@compiled
def _smoothstep(start, stop, x):
    """0 before `start`, 1 after `stop` (which may be the smaller), a cubic between."""
    t = min(max((x - start) / (stop - start), _f32(0)), _f32(1))
    return t * t * (_f32(3) - _f32(2) * t)


@compiled
def eyeballs(almonds, lid_shadow, middles, opening, gaze, iris, white):
    """Points, normals and albedo, (3, n) each, of two patches (3, n) set at the middles (3, 2) of the lids.

    The iris has the colour `iris` (3,), the rest `white` (3,); the gaze is where it sits off the middle, right and up.
    """
    points, normals, albedo = np.empty_like(almonds), np.empty_like(almonds), np.empty_like(almonds)
    each = almonds.shape[1] // 2
    for i in range(almonds.shape[1]):
        x, y = almonds[0, i], almonds[1, i] * opening
        eye = 0 if i < each else 1
        points[0, i], points[1, i] = x + middles[0, eye], y + middles[1, eye]
        points[2, i] = middles[2, eye] - (x * x + y * y) / _f32(30)  # a flattened ball
        normals[0, i], normals[1, i], normals[2, i] = x / _f32(24), y / _f32(24), _f32(1)
        off_x, off_y = x - gaze[0], y - gaze[1]
        off_iris = math.sqrt(off_x * off_x + off_y * off_y)
        in_iris = _smoothstep(_f32(6.4), _f32(5.2), off_iris)
        light = lid_shadow[i] * (_f32(1) - _f32(0.95) * _smoothstep(_f32(2.9), _f32(1.8), off_iris))  # dark pupil
        for channel in range(3):
            albedo[channel, i] = light * (white[channel] + in_iris * (iris[channel] - white[channel]))
    return points, normals, albedo


@compiled
def trunk(rest, rest_normals, share, turn, neck, shoulder, pivot):
    """Points and normals, (3, n) each, of neck and trunk, which follows `turn` (3, 3) as far as `share` (n,) says.

    `neck` and `shoulder` are factors on the widths; rest points are seen from `pivot` (3,).
    """
    points, normals = np.empty_like(rest), np.empty_like(rest)
    for i in range(share.size):
        part = share[i]
        x, y, z = rest[0, i] * (neck + (shoulder - neck) * part), rest[1, i], rest[2, i]
        nx, ny, nz = rest_normals[0, i], rest_normals[1, i], rest_normals[2, i]
        moved, turned = (x, y, z), (nx, ny, nz)
        for axis in range(3):
            a, b, c = part * turn[axis, 0], part * turn[axis, 1], part * turn[axis, 2]
            points[axis, i] = moved[axis] + a * x + b * y + c * z + pivot[axis]
            normals[axis, i] = turned[axis] + a * nx + b * ny + c * nz
    return points, normals


@compiled
def clothing(height, front, collar, neckline, stripes):
    """Cover of the skin and brightness, (n,) each, of clothes at heights (n,), with a V where `front` (n,) is 1."""
    cover, bright = np.empty_like(height), np.empty_like(height)
    for i in range(height.size):
        cover[i] = _smoothstep(_f32(1.4), _f32(-1.4), height[i] - collar + neckline * front[i])
        bright[i] = _f32(1) - stripes if math.sin(height[i] / _f32(5)) > 0 else _f32(1)
    return cover, bright


@compiled
def hang_curtain(strands, rows, columns, width, end, opening, volume, flare, ripple):
    """Points (3, rows*columns) of a sheet around back and sides, from the crown down to `end`.

    `width` is half that of the head at the ears, `opening` half the gap at the face (radians), `ripple` the depth in mm
    of the strands (n,).
    """
    points = np.empty((3, rows * columns), np.float32)
    for row in range(rows):
        y = _f32(84) + (end - _f32(84)) * _f32(row / (rows - 1))
        crown = _f32(0.45) + _f32(0.55) * _smoothstep(_f32(91), _f32(21), y)
        radius_x = (width + _f32(4) + volume) * crown * (_f32(1) + flare * _smoothstep(_f32(-28), _f32(-168), y))
        radius_z = (_f32(98) + volume) * crown * (_f32(1) - _f32(0.25) * _smoothstep(_f32(-42), _f32(-168), y))
        for column in range(columns):
            angle = _f32(math.pi) + _f32(2 * column / (columns - 1) - 1) * (_f32(math.pi) - opening)
            i = row * columns + column
            depth = ripple * strands[i]
            points[0, i] = (radius_x + depth) * math.sin(angle)
            points[1, i] = y
            points[2, i] = (radius_z + depth) * math.cos(angle) - _f32(73)
    return points


@compiled
def hair_layer(height, border_weights, border, strands, wave, softness, fullness, thickness, top, lift):
    """Coverage 0..1 and depth in mm, (n,) each, of hair above its border; all maps are over the head surface (n,).

    The border's height is `border` (4,) @ `border_weights` (4, n), ragged by `wave` times the strands. The layer has
    the depth `thickness` times `fullness`, and `lift` more at the top.
    """
    cover, depth = np.empty_like(height), np.empty_like(height)
    for i in range(height.size):
        above = height[i] + wave * strands[i]
        for k in range(4):
            above -= border[k] * border_weights[k, i]
        cover[i] = _smoothstep(-softness, _f32(2) * softness, above)
        depth[i] = _smoothstep(_f32(0), _f32(25), above) * thickness * fullness[i] + lift * top[i] * cover[i]
    return cover, depth
