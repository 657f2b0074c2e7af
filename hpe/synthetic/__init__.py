"""Synthetic heads with exact poses: procedural portraits for training, tests and demos.

    images, pose_deg = render(range(64), seed=0, preset="full", margin=8)

A head is a lofted surface with morphs (surface, morphs), dressed with parts (body, hair, accessories), painted (skin),
lit (light, shading), seen (camera, raster), put before a backdrop (backdrop) and degraded (degradation); `scene` joins
the steps. Loops over surfels and pixels are compiled (raster, shading, filters, surfels, parts); all else is numpy.
Proportions are published anthropometry (anatomy). An image depends on (seed, index, preset) and the size alone.
"""

from collections.abc import Iterable

import numpy as np

from hpe.io.errors import require
from hpe.synthetic.presets import PRESETS

__all__ = ["PRESETS", "prepare", "render"]


def render(
    indices: Iterable[int], seed: int, preset: str, size: int = 64, margin: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Render heads: uint8 (N, size + 2 margin, size + 2 margin, 3) RGB and float32 (N, 3) yaw, pitch, roll in degrees.

    The middle size x size pixels are the standard crop (k = 0.2 around the 68 landmarks). The pose is in the
    convention of 300W-LP (see `hpe.pose.rotation`). One image takes 2 to 3 ms on one core; the first of a process takes
    2 seconds more, and the first ever about 15, to compile the loops (see `compiled`). Run chunks of indices in several
    processes to use more cores.
    Raises ConfigError, a ValueError, for an unknown preset, a bad size, or negative seed or index. Needs numba.
    """
    from hpe.synthetic.scene import Scene

    known = ", ".join(PRESETS)
    require(preset in PRESETS, f"unknown synthetic preset '{preset}': use one of {known}")
    require(
        16 <= size <= 512 and 0 <= margin <= size,
        f"synthetic size {size} with margin {margin}: size must be 16..512 and margin 0..size",
    )
    numbers = [int(index) for index in indices]
    require(min([seed, *numbers]) >= 0, f"synthetic seed {seed} and indices must not be negative")
    side = size + 2 * margin
    images = np.empty((len(numbers), side, side, 3), np.uint8)
    pose_deg = np.empty((len(numbers), 3), np.float32)
    for place, number in enumerate(numbers):
        scene = Scene.draw(seed, number, PRESETS[preset])
        images[place], pose_deg[place] = scene.paint(size, margin), scene.pose_deg
    return images, pose_deg


def prepare() -> None:
    """Compile all loops, or load them: before a pool starts, so that its processes do not each compile them."""
    render(range(24), 0, "full", margin=8)  # these heads wear everything
