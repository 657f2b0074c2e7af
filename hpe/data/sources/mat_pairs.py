"""AFLW2000-3D and 300W-LP: a jpg and a .mat beside it with pose and landmarks (Zhu et al., CVPR 2016).

Pose_Para holds pitch, yaw, roll in radians. The face box is that of the 68 landmarks: pt3d_68 in AFLW2000 (its pt2d has
21 points, absent ones -1), pt2d in 300W-LP. The box is widened on all sides at once, not edge after edge as in
Hopenet's code, which makes the crop 9 % wider and moves the face to the left.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from hpe.data.sources.items import BadItem, Chunk, Item, Source, fingerprint, read_items
from hpe.data.sources.matfile import MatError, read_arrays
from hpe.data.spec import DataError, Fault, Part
from hpe.io.files import open_regular
from hpe.pose.crop import Box

SUBSETS = ("AFW", "AFW_Flip", "HELEN", "HELEN_Flip", "IBUG", "IBUG_Flip", "LFPW", "LFPW_Flip")
"""The folders of 300W-LP that hold samples; its other folders (Code, landmarks) do not."""
MAX_MAT_BYTES = 2_000_000
"""A larger .mat is refused; real ones have a few kilobytes."""
LANDMARKS = {"aflw2000": "pt3d_68", "300w-lp": "pt2d"}


def list_aflw2000(part: Part) -> Source:
    """All jpg and mat pairs of the folder."""
    if part.split:
        raise DataError(f"'{part}': AFLW2000 has no splits; leave '@{part.split}' out.")
    return _source(part, [part.path])


def list_300w_lp(part: Part) -> Source:
    """All subsets with their flips, or only the one named as the split (`@AFW_Flip`)."""
    names = [name for name in SUBSETS if not part.split or name.lower() == part.split.lower()]
    if not names:
        raise DataError(f"'{part}': 300W-LP has no split '{part.split}'; choose from {', '.join(SUBSETS)}.")
    folders = [part.path / name for name in names if (part.path / name).is_dir()]
    if not folders:
        wanted = ", ".join(names)
        raise DataError(f"{part.path}: there is no folder {wanted}; give the folder 300W_LP that holds them.")
    return _source(part, folders)


def _source(part: Part, folders: Sequence[Path]) -> Source:
    items: list[Item] = []
    faults: list[Fault] = []
    for folder in folders:
        names = {entry.name for entry in os.scandir(folder)}
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)
            image, mat = folder / f"{stem}.jpg", folder / f"{stem}.mat"
            if suffix == ".jpg" and mat.name in names:
                identity = str(image.relative_to(part.path))
                items.append(Item(identity, image, str(mat), labels=mat))
            elif suffix == ".jpg":
                faults.append(Fault(str(image), "there is no .mat beside it", "copy it again or remove the image"))
            elif suffix == ".mat" and image.name not in names:
                faults.append(Fault(str(mat), "there is no .jpg beside it", "copy it again or remove the .mat"))
    if not items and not faults:
        raise DataError(f"{part.path}: there are no .jpg and .mat pairs; unpack the dataset there.")
    files = [path for item in items for path in (item.image, item.labels)]
    read = partial(read_mat_items, landmarks=LANDMARKS[part.kind])
    return Source(items, read, [item.id for item in items], fingerprint(files), faults)


def read_mat_items(items: Sequence[Item], landmarks: str) -> Chunk:
    """Read images and .mat files; `landmarks` names the array that holds the 68 points."""
    return read_items(items, lambda item: read_mat(item.labels, landmarks))


def read_mat(path: Path, landmarks: str) -> tuple[np.ndarray, Box]:
    """Pose (yaw, pitch, roll) in degrees and the box of the landmarks; BadItem where the file does not hold them."""
    content = _load(path, ("Pose_Para", landmarks))
    pose_para = _numbers(path, content, "Pose_Para")
    if pose_para.size < 3:
        raise BadItem(path, f"Pose_Para has {pose_para.size} numbers instead of 7", "copy it again or remove the pair")
    pitch, yaw, roll = (math.degrees(value) for value in pose_para.ravel()[:3])
    points = _numbers(path, content, landmarks)
    if points.ndim != 2 or points.shape[0] < 2 or points.shape[1] != 68:
        what = f"{landmarks} has the shape {points.shape} instead of (2 or 3, 68)"
        raise BadItem(path, what, "copy it again or remove the pair")
    x, y = points[0], points[1]
    return np.array([yaw, pitch, roll]), (float(x.min()), float(y.min()), float(x.max()), float(y.max()))


def _load(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The named arrays of a .mat file; BadItem where it cannot be read."""
    try:
        with open_regular(path) as file:
            content = file.read(MAX_MAT_BYTES + 1)
        if len(content) > MAX_MAT_BYTES:
            raise BadItem(path, f"the file has more than {MAX_MAT_BYTES:,} bytes", "remove the pair")
        return read_arrays(content, names)
    except (MatError, OSError) as error:
        raise BadItem(path, f"cannot be read as .mat ({error})", "copy it again or remove the pair") from None


def _numbers(path: Path, content: dict[str, np.ndarray], name: str) -> np.ndarray:
    """A finite array of the file."""
    if name not in content:
        raise BadItem(path, f"there is no array {name} in it", "copy it again or remove the pair")
    array = content[name]
    if not array.size or not np.isfinite(array).all():
        raise BadItem(path, f"{name} holds values that are not finite, or none", "copy it again or remove the pair")
    return array
