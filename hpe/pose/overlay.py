"""Poses drawn on faces as the head-pose literature draws them (numpy and Pillow only).

Three axes start at the middle of the face: red to the subject's left, which is the picture's right (x), green down
along the face (minus y), blue out of the face towards where it looks (z).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hpe.pose.rotation import euler_to_matrix

RED, GREEN, BLUE = (255, 48, 48), (40, 220, 60), (60, 120, 255)
TILE = 144
"""Side of a face on the contact sheet, in pixels."""
CAPTION = 30
"""Height of the two lines of numbers below it."""


def axis_ends(pose_deg: np.ndarray | Sequence[float]) -> np.ndarray:
    """Where the axes red, green, blue of unit length end in the picture: (3, 2) of x to the right, y down."""
    rotation = euler_to_matrix(np.asarray(pose_deg, np.float64))  # columns: the head's axes seen by the camera
    ends = np.stack([rotation[:, 0], -rotation[:, 1], rotation[:, 2]])  # (3, 3)
    return ends[:, :2] * (1, -1)


def draw_axes(
    image: Image.Image | np.ndarray,
    pose_deg: np.ndarray | Sequence[float],
    *,
    centre: tuple[float, float] | None = None,
    length: float | None = None,
    width: int | None = None,
) -> Image.Image:
    """A copy of the image (Pillow's, or RGB uint8 (H, W, 3)) with the axes of pose (yaw, pitch, roll) in degrees.

    `centre` is in pixels (default: the middle), `length` that of an axis in the image plane (default: 0.4 of the
    shorter side), `width` that of the lines.
    """
    canvas = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    canvas = canvas.copy() if canvas.mode == "RGB" else canvas.convert("RGB")
    add_axes(canvas, pose_deg, centre=centre, length=length, width=width)
    return canvas


def add_axes(
    canvas: Image.Image,
    pose_deg: np.ndarray | Sequence[float],
    *,
    centre: tuple[float, float] | None = None,
    length: float | None = None,
    width: int | None = None,
) -> None:
    """Draw the axes into the RGB image itself; the arguments are those of `draw_axes`."""
    shorter = min(canvas.size)
    x, y = centre or (canvas.width / 2, canvas.height / 2)
    length = 0.4 * shorter if length is None else length
    width = max(1, round(shorter / 60)) if width is None else width
    draw = ImageDraw.Draw(canvas)
    for (dx, dy), colour in zip(axis_ends(pose_deg), (RED, GREEN, BLUE), strict=True):  # blue last, on top
        draw.line([(x, y), (x + length * dx, y + length * dy)], fill=colour, width=width)


def contact_sheet(images: np.ndarray, pose_deg: np.ndarray, predicted: np.ndarray | None = None) -> Image.Image:
    """Faces uint8 (N, H, W, 3) in rows with their axes and, below each, yaw, pitch and roll (N, 3) in degrees.

    With `predicted` (N, 3) the thick axes and the second line of numbers are the prediction, the thin axes the label.
    """
    if len(images) == 0:
        raise ValueError("A contact sheet needs at least one face.")
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    caption = CAPTION if predicted is not None else CAPTION // 2
    sheet = Image.new("RGB", (columns * TILE, rows * (TILE + caption)), (24, 24, 24))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=11)
    for index, pixels in enumerate(images):
        left, top = index % columns * TILE, index // columns * (TILE + caption)
        tile = Image.fromarray(pixels).resize((TILE, TILE), Image.Resampling.BICUBIC)
        tile = draw_axes(tile, pose_deg[index], width=3 if predicted is None else 1)
        draw.text((left + 4, top + TILE), _numbers("", pose_deg[index]), fill=(235, 235, 235), font=font)
        if predicted is not None:
            tile = draw_axes(tile, predicted[index], width=3)
            draw.text((left + 4, top + TILE + 14), _numbers("net ", predicted[index]), fill=(255, 200, 80), font=font)
        sheet.paste(tile, (left, top))
    return sheet


def _numbers(name: str, pose_deg: np.ndarray) -> str:
    yaw, pitch, roll = pose_deg
    return f"{name}y {yaw:+.0f}  p {pitch:+.0f}  r {roll:+.0f}"
