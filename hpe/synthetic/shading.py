"""The colour of each surfel that is seen: lamps, highlights, and the key lamp's shadow by a shadow map."""

import math

import numpy as np

from hpe.synthetic.compiled import compiled

_f32 = np.float32
_SIDE = 48
_ACROSS_PER_MM, _UP_PER_MM = _f32(_SIDE / 364), _f32(_SIDE / 280)  # the shadow map is so wide and high, in mm
_MIDDLE, _LAST = _f32(_SIDE / 2), _f32(_SIDE - 1.01)
_EVERY = 3  # one surfel in three casts a shadow: the texels of the shadow map are larger than the gaps
_BIAS, _LIFT = _f32(9), _f32(8)  # mm towards the lamp and off the surface, against shadows of itself
# The fields of a Light, which comes as a plain tuple: numba takes those faster than named ones.
_KEY, _ACROSS, _UP, _KEY_COLOUR, _HALF_WAY, _FILL, _FILL_COLOUR, _SKY_COLOUR = range(8)
_WRAP, _SHADOW, _SHINE, _RIM, _EXPOSURE = range(8, 13)
_ZERO, _ONE, _TINY = _f32(0), _f32(1), _f32(1e-6)


@compiled
def draw_over(picture, covered, number, position, normal, albedo, ambient, gloss, light):
    """Colour the covered pixels (m,) of a linear RGB picture (3, f * f), in place; each shows surfel `number` (m,).

    The surfels (3, n) or (n,) are in camera axes. One that several pixels show is shaded once.
    """
    shadow_map = _shadow_map(position, light)
    colours = np.empty((position.shape[1], 3), np.float32)
    shaded = np.zeros(position.shape[1], np.bool_)
    for k in range(covered.size):
        i = number[k]
        if not shaded[i]:
            place = position[0, i], position[1, i], position[2, i]
            facing = _unit_normal(normal[0, i], normal[1, i], normal[2, i])
            diffuse, sky, fill, highlight = _arriving(place, facing, ambient[i], gloss[i], light, shadow_map)
            for channel in range(3):
                arriving = light[_KEY_COLOUR][channel] * diffuse
                arriving += light[_SKY_COLOUR][channel] * sky + light[_FILL_COLOUR][channel] * fill
                bright = albedo[channel, i] * arriving + light[_KEY_COLOUR][channel] * highlight
                colours[i, channel] = min(max(bright * light[_EXPOSURE], _ZERO), _f32(1.5))
            shaded[i] = True
        for channel in range(3):
            picture[channel, covered[k]] = colours[i, channel]


@compiled
def _unit_normal(x, y, z):
    scale = _ONE / (math.sqrt(x * x + y * y + z * z) + _TINY)
    if z * scale < _f32(-0.15):  # seen from behind: a thin sheet, which has two sides
        scale = -scale
    return x * scale, y * scale, z * scale


@compiled
def _arriving(place, facing, ambient, gloss, light, shadow_map):
    """How much light of the key lamp, sky and fill lamp reaches a surfel, and how bright its highlight is."""
    diffuse = max((_dot(light[_KEY], facing) + light[_WRAP]) / (_ONE + light[_WRAP]), _ZERO)
    edge = _ONE - max(facing[2], _ZERO)
    highlight = light[_RIM] * edge * edge * edge
    if diffuse > 0:
        mirrored = max(_dot(light[_HALF_WAY], facing), _ZERO)
        highlight += light[_SHINE] * gloss * mirrored**16
        diffuse *= _ONE - light[_SHADOW] * _shadow(place, facing, light, shadow_map)
    sky = (_f32(0.6) + _f32(0.4) * facing[1]) * ambient
    return diffuse, sky, max(_dot(light[_FILL], facing), _ZERO) * ambient, highlight


@compiled
def _dot(direction, vector):
    return direction[0] * vector[0] + direction[1] * vector[1] + direction[2] * vector[2]


@compiled
def _on_map(light, place):
    """Column and row on the shadow map, and mm towards the lamp, of a point."""
    column = _dot(light[_ACROSS], place) * _ACROSS_PER_MM + _MIDDLE
    row = _dot(light[_UP], place) * _UP_PER_MM + _MIDDLE
    return min(max(column, _ZERO), _LAST), min(max(row, _ZERO), _LAST), _dot(light[_KEY], place)


@compiled
def _shadow_map(position, light):
    """How far towards the lamp the first surfel lies at each texel, mm."""
    nearest = np.full((_SIDE, _SIDE), _f32(-1e4))
    for i in range(0, position.shape[1], _EVERY):
        column, row, towards = _on_map(light, (position[0, i], position[1, i], position[2, i]))
        x, y = np.uint32(column), np.uint32(row)
        nearest[y, x] = max(nearest[y, x], towards)
    return nearest


@compiled
def _shadow(place, facing, light, shadow_map):
    """How far a surfel lies in shadow, 0..1: four texels compared, the answers interpolated."""
    x, y, z = place[0] + _LIFT * facing[0], place[1] + _LIFT * facing[1], place[2] + _LIFT * facing[2]
    column, row, towards = _on_map(light, (x, y, z))
    left, top = np.uint32(column), np.uint32(row)
    u, v = column - _f32(left), row - _f32(top)
    limit = towards + _BIAS
    upper, lower = shadow_map[top], shadow_map[top + 1]
    above = (_ONE - u) * _f32(upper[left] > limit) + u * _f32(upper[left + 1] > limit)
    below = (_ONE - u) * _f32(lower[left] > limit) + u * _f32(lower[left + 1] > limit)
    return (_ONE - v) * above + v * below
