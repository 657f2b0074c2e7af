"""BIWI Kinect Head Pose: frame_*_rgb.png, and the head's rotation and position in a text file (Fanelli, IJCV 2013).

A sequence is a folder 01 to 24 with rgb.cal. frame_*_pose.txt holds a 3x3 rotation and, below it, the head's centre in
millimetres, both seen by the depth camera (x right, y down, z away). Turned into our axes (y up, z to the camera) this
is the angle formula that FSA-Net and 6DRepNet use; like theirs, it leaves out the degree between the two cameras.

Crops need no face detector: the head's centre is projected into the colour image by rgb.cal, and a landmark box of
140 x 130 mm at its distance (adult faces: Farkas 1994, zy-zy 130-137 mm; n-gn 111-125 mm, and the brows above it) is
laid so that the k = 0.2 crop around it is centred there. It does not depend on the pose and cannot give it away.

The literature draws its 70/30 split of the sequences at random. Ours is fixed: 8 sequences for testing, of persons who
are in no other sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hpe.data.sources.items import BadItem, Chunk, Item, Source, fingerprint, read_items
from hpe.data.spec import DataError, Fault, Part
from hpe.io.files import open_regular
from hpe.pose.crop import Box
from hpe.pose.rotation import matrix_to_euler

SEQUENCES = tuple(f"{number:02d}" for number in range(1, 25))
TEST_SEQUENCES = ("04", "06", "08", "10", "12", "14", "16", "20")
"""2 women and 6 men recorded once."""
AGAIN = {"21": "02", "15": "03", "18": "05", "22": "07"}
"""Sequences of a person who is in an earlier one, too."""
SPLITS = {"": SEQUENCES, "train": tuple(s for s in SEQUENCES if s not in TEST_SEQUENCES), "test": TEST_SEQUENCES}

MAX_TEXT_BYTES = 10_000
"""What is read of a pose file or rgb.cal; real ones have a few hundred bytes."""
FACE_WIDTH_MM, FACE_HEIGHT_MM = 140.0, 130.0
CROP_CENTRE = (1 + 0.6 * 0.2 - 2 * 0.2) / 2
"""How far below the top of the face box the k = 0.2 crop has its middle, in box heights (hpe.pose.crop.widen)."""
AXES = np.diag([1.0, -1.0, -1.0])
"""Camera axes (x right, y down, z away) to ours (x right, y up, z to the camera) and back."""


class Camera(NamedTuple):
    """The colour camera, from rgb.cal."""

    intrinsics: np.ndarray
    """(3, 3), pixels"""
    rotation: np.ndarray
    """(3, 3), from the depth camera's frame to this one"""
    translation_mm: np.ndarray
    """(3,), likewise"""


def list_biwi(part: Part) -> Source:
    """All frames, or those of the split train (16 sequences) or test (8)."""
    if part.split not in SPLITS:
        raise DataError(f"'{part}': BIWI has no split '{part.split}'; choose train or test, or leave it out for all.")
    folders = [part.path / name for name in SPLITS[part.split] if (part.path / name).is_dir()]
    if not folders:
        raise DataError(f"{part.path}: there is no folder 01 to 24; give the folder hpdb that holds them.")
    items: list[Item] = []
    faults: list[Fault] = []
    for folder in folders:
        found, wrong = _list_sequence(part.path, folder)
        items += found
        faults += wrong
    if not items and not faults:
        raise DataError(f"{part.path}: there are no frame_*_rgb.png with frame_*_pose.txt; unpack the dataset there.")
    files = [folder / "rgb.cal" for folder in folders] + [path for item in items for path in (item.image, item.labels)]
    persons = np.array([AGAIN.get(item.id[:2], item.id[:2]) for item in items], dtype=str)
    return Source(items, read_biwi_items, [i.id for i in items], fingerprint(files), faults, {"person": persons})


def _list_sequence(root: Path, folder: Path) -> tuple[list[Item], list[Fault]]:
    try:
        read_camera(folder / "rgb.cal")
    except BadItem as bad:
        return [], [bad.fault]
    images = {path.name[: -len("_rgb.png")]: path for path in sorted(folder.glob("frame_*_rgb.png"))}
    poses = {path.name[: -len("_pose.txt")]: path for path in sorted(folder.glob("frame_*_pose.txt"))}
    items = [
        Item(str(images[frame].relative_to(root)), images[frame], str(poses[frame]), labels=poses[frame])
        for frame in images
        if frame in poses
    ]
    remedy = "copy it again or remove the frame"
    faults = [Fault(str(images[f]), f"there is no {f}_pose.txt", remedy) for f in images if f not in poses]
    faults += [Fault(str(poses[f]), f"there is no {f}_rgb.png", remedy) for f in poses if f not in images]
    return items, faults


def read_biwi_items(items: Sequence[Item]) -> Chunk:
    """Read the frames and their pose files."""
    return read_items(items, lambda item: read_pose(item.labels))


def read_pose(path: Path) -> tuple[np.ndarray, Box]:
    """Pose (yaw, pitch, roll) in degrees and the face box in the colour image; BadItem where the file is wrong."""
    rows = _read_rows(path, (3, 3, 3, 3))
    rotation, centre_mm = np.array(rows[:3]), np.array(rows[3])
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 0.02 or np.linalg.det(rotation) < 0:
        raise BadItem(path, "the first three lines are no rotation matrix", "copy it again or remove the frame")
    pose_deg = matrix_to_euler(AXES @ rotation @ AXES)
    return pose_deg, face_box(path, centre_mm, read_camera(path.parent / "rgb.cal"))


def face_box(path: Path, centre_mm: np.ndarray, camera: Camera) -> Box:
    """The landmark box of a face whose head centre (3,) the depth camera sees at `centre_mm`."""
    x, y, z = camera.rotation @ centre_mm + camera.translation_mm
    if z < 100:
        raise BadItem(path, f"the head is {z:.0f} mm from the camera", "copy it again or remove the frame")
    focal_x, focal_y = camera.intrinsics[0, 0], camera.intrinsics[1, 1]
    middle_x, middle_y = camera.intrinsics[0, 2] + focal_x * x / z, camera.intrinsics[1, 2] + focal_y * y / z
    width, height = focal_x * FACE_WIDTH_MM / z, focal_y * FACE_HEIGHT_MM / z
    top = middle_y - CROP_CENTRE * height
    return float(middle_x - width / 2), float(top), float(middle_x + width / 2), float(top + height)


@lru_cache(maxsize=64)
def read_camera(path: Path) -> Camera:
    """The calibration: three lines of intrinsics, one of distortion (zero), three of rotation, one of translation."""
    rows = _read_rows(path, (3, 3, 3, None, 3, 3, 3, 3))
    return Camera(np.array(rows[:3]), np.array(rows[4:7]), np.array(rows[7]))


def _read_rows(path: Path, lengths: Sequence[int | None]) -> list[list[float]]:
    """The first lines of numbers, without empty lines, of the given lengths (None: any)."""
    remedy = "copy it again"
    try:
        with open_regular(path) as file:
            text = file.read(MAX_TEXT_BYTES).decode("ascii")
        lines = [line.split() for line in text.splitlines() if line.strip()]
        rows = [[float(word) for word in line] for line in lines[: len(lengths)]]
    except FileNotFoundError:
        raise BadItem(path, "the file is missing", remedy) from None
    except (OSError, ValueError) as error:
        raise BadItem(path, f"cannot be read as lines of numbers ({error})", remedy) from None
    right = len(rows) == len(lengths) and all(n in (None, len(r)) for r, n in zip(rows, lengths, strict=True))
    if not right or not all(np.isfinite(row).all() for row in rows):
        expected = ", ".join("any" if n is None else str(n) for n in lengths)
        raise BadItem(path, f"does not hold {len(lengths)} lines of {expected} finite numbers", remedy)
    return rows
