"""Writes tiny datasets in the formats of the real ones."""

from __future__ import annotations

import csv
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat
from scipy.spatial.transform import Rotation

CAMERA_LINES = """517.679 0 320
0 517.679 240.5
0 0 1

0 0 0 0

0.999947 0.00432361 0.00929419
-0.00446314 0.999877 0.0150443
-0.009228 -0.015085 0.999844

-24.0198 5.8896 -13.2308

640 480
"""
"""rgb.cal of the BIWI Kinect dataset, as its authors wrote it."""


def picture(seed: int = 0, size: tuple[int, int] = (120, 100)) -> Image.Image:
    """A smooth random RGB picture of (width, height)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def png(width: int, height: int, *chunks: tuple[bytes, bytes], depth: int = 8, colour: int = 2) -> bytes:
    """A PNG with the given header and further chunks."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, data in ((b"IHDR", header), *chunks):
        parts.append(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))
    return b"".join(parts)


def write_csv_folder(folder: Path, rows: list[dict[str, object]], size: tuple[int, int] = (80, 80)) -> Path:
    """labels.csv with the rows, and a png for each `file`."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(name for row in rows for name in row))
    with open(folder / "labels.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
    for index, row in enumerate(rows):
        image = folder / str(row["file"])
        image.parent.mkdir(parents=True, exist_ok=True)
        picture(index, size).save(image)
    return folder


def csv_rows(count: int, **more: object) -> list[dict[str, object]]:
    """Rows with the poses (i, -i, i / 2)."""
    return [{"file": f"{i:03d}.png", "yaw": i, "pitch": -i, "roll": i / 2, **more} for i in range(count)]


def landmarks(box: tuple[float, float, float, float], seed: int = 0) -> np.ndarray:
    """68 points (2, 68) whose box is `box`."""
    left, top, right, bottom = box
    points = np.random.default_rng(seed).uniform((left, top), (right, bottom), (68, 2)).T
    points[:, 0], points[:, 1] = (left, top), (right, bottom)
    return points


def write_mat_pair(
    folder: Path,
    stem: str,
    pose_deg: tuple[float, float, float],
    box: tuple[float, float, float, float] = (40, 30, 80, 70),
    kind: str = "aflw2000",
) -> Path:
    """STEM.jpg and STEM.mat with the keys, shapes and types of AFLW2000-3D or 300W-LP; returns the .mat."""
    folder.mkdir(parents=True, exist_ok=True)
    yaw, pitch, roll = np.deg2rad(pose_deg)
    points = landmarks(box)
    content: dict[str, np.ndarray] = {
        "Pose_Para": np.array([[pitch, yaw, roll, 60.0, 50.0, -50.0, 0.001]], np.float32),
        "Illum_Para": np.zeros((1, 10)),
        "Color_Para": np.ones((1, 7), np.float32),
        "Tex_Para": np.zeros((199, 1)),
        "Shape_Para": np.zeros((199, 1)),
        "Exp_Para": np.zeros((29, 1)),
        "roi": np.array([[1, 1, 120, 100]], np.int16),
    }
    if kind == "aflw2000":
        content["pt3d_68"] = np.concatenate([points, np.zeros((1, 68))]).astype(np.float32)
        content["pt2d"] = np.full((2, 21), -1.0)  # absent points, which must not enter the box
    else:
        content["pt2d"] = points.astype(np.float32)
    savemat(folder / f"{stem}.mat", content)
    picture(len(stem)).save(folder / f"{stem}.jpg", quality=95)
    return folder / f"{stem}.mat"


def biwi_rotation(pose_deg: tuple[float, float, float]) -> np.ndarray:
    """The rotation (3, 3) that BIWI would write: camera axes x right, y down, z away from the camera."""
    yaw, pitch, roll = pose_deg
    turns = [
        Rotation.from_rotvec(np.deg2rad(angle) * axis)
        for angle, axis in zip((-pitch, -yaw, -roll), np.eye(3), strict=True)
    ]
    ours = (turns[0] * turns[1] * turns[2]).as_matrix()
    flip_y_and_z = np.diag([1.0, -1.0, -1.0])
    return flip_y_and_z @ ours @ flip_y_and_z


def write_biwi_frame(
    root: Path,
    sequence: str,
    frame: int,
    pose_deg: tuple[float, float, float],
    centre_mm: tuple[float, float, float] = (43.4, -30.7, 906.9),
    image: Image.Image | None = None,
) -> Path:
    """One frame of SEQUENCE with its pose file, and rgb.cal; returns the pose file."""
    folder = root / sequence
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rgb.cal").write_text(CAMERA_LINES)
    lines = [" ".join(f"{value:.6f}" for value in row) + " " for row in biwi_rotation(pose_deg)]
    text = "\n".join(lines) + "\n\n" + " ".join(f"{value:.4f}" for value in centre_mm) + " \n"
    pose = folder / f"frame_{frame:05d}_pose.txt"
    pose.write_text(text)
    (image or picture(frame, (640, 480))).save(folder / f"frame_{frame:05d}_rgb.png")
    return pose
