"""A face of ellipses that OpenCV's frontal cascade takes for one, and pictures and videos with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

MODEL = Path(__file__).parent / "data" / "tiny_relu6_se.tflite"
"""Untrained, but 64x64x3 in and three numbers out."""


def face(side: int = 160) -> Image.Image:
    image = Image.new("RGB", (side, side), (70, 90, 110))
    draw = ImageDraw.Draw(image)

    def at(*edges: float) -> list[float]:
        return [edge * side for edge in edges]

    draw.ellipse(at(0.12, 0.02, 0.88, 0.98), fill=(60, 40, 30))  # hair
    draw.ellipse(at(0.18, 0.1, 0.82, 0.98), fill=(224, 180, 150))
    for x in (0.34, 0.66):
        draw.ellipse(at(x - 0.11, 0.36, x + 0.11, 0.47), fill=(150, 105, 85))
        draw.ellipse(at(x - 0.07, 0.39, x + 0.07, 0.45), fill=(240, 240, 240))
        draw.ellipse(at(x - 0.03, 0.385, x + 0.03, 0.455), fill=(30, 20, 20))
        draw.rectangle(at(x - 0.12, 0.31, x + 0.12, 0.345), fill=(70, 45, 30))
    draw.polygon(at(0.5, 0.42, 0.44, 0.62, 0.56, 0.62), fill=(240, 200, 170))
    draw.rectangle(at(0.43, 0.62, 0.57, 0.645), fill=(150, 100, 80))
    draw.ellipse(at(0.36, 0.72, 0.64, 0.8), fill=(160, 60, 60))
    return image.filter(ImageFilter.GaussianBlur(side / 80))


def picture(*places: tuple[int, int, int], size: tuple[int, int] = (480, 320)) -> np.ndarray:
    """RGB uint8 (H, W, 3) with a face of each (left, top, side)."""
    canvas = Image.new("RGB", size, (90, 110, 130))
    for left, top, side in places:
        canvas.paste(face(side), (left, top))
    return np.asarray(canvas)


def drawn_name(stem: str) -> str:
    """What a drawn video is called: its suffix is that of the codec that OpenCV can write."""
    from hpe.inference.annotation import video_format

    return f"{stem}{video_format()[0]}"


def frames_of(path: Path) -> int:
    """How many frames can be read from a video."""
    import cv2

    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.read()[0]:
        count += 1
    capture.release()
    return count


def video(path: Path, count: int = 12) -> Path:
    """A motion-JPEG file in which a face moves 2 pixels to the right each frame, at 10 a second."""
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    for index in range(count):
        pixels = picture((40 + 2 * index, 50, 130), size=(320, 240))
        writer.write(np.ascontiguousarray(pixels[..., ::-1]))
    writer.release()
    return path
