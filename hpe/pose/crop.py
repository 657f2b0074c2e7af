"""Face crops by the rule of the head-pose literature, and pictures whose central part already is such a crop.

The rule (Ruiz et al., Hopenet, CVPRW 2018): the box around the 68 landmarks is widened by 2k of its size to the left,
right and top, by 0.6k at the bottom, and resized to a square; k = 0.2 for evaluation. Numpy and Pillow only.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

IMAGE_SIZE = 64
MARGIN = 8
STORED_SIZE = IMAGE_SIZE + 2 * MARGIN

BASE_K = 0.2
"""The crop margin at which faces are stored and evaluated."""


Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

MIN_FACE_PX = 4.0
"""A face box with a shorter side than this is taken for a mistake."""


def widen(box: Box, k: float = BASE_K) -> Box:
    """The crop of margin `k` around a landmark or face box."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    return left - 2 * k * width, top - 2 * k * height, right + 2 * k * width, bottom + 0.6 * k * height


def narrow(crop: Box, k: float = BASE_K) -> Box:
    """The reverse of `widen`: the landmark box whose crop of margin `k` is `crop`."""
    left, top, right, bottom = crop
    width, height = (right - left) / (1 + 4 * k), (bottom - top) / (1 + 2.6 * k)
    return left + 2 * k * width, top + 2 * k * height, right - 2 * k * width, bottom - 0.6 * k * height


def check_box(box: Box, size: tuple[int, int]) -> None:
    """Raise ValueError unless `box` is finite, not tiny and at least half inside an image of size (width, height)."""
    left, top, right, bottom = box
    if not all(math.isfinite(edge) for edge in box):
        raise ValueError(f"the face box {_rounded(box)} is not finite")
    if right - left < MIN_FACE_PX or bottom - top < MIN_FACE_PX:
        raise ValueError(f"the face box {_rounded(box)} is smaller than {MIN_FACE_PX:.0f} pixels or inside out")
    inside_x = min(right, size[0]) - max(left, 0)
    inside_y = min(bottom, size[1]) - max(top, 0)
    if inside_x < (right - left) / 2 or inside_y < (bottom - top) / 2:
        raise ValueError(f"the face box {_rounded(box)} lies mostly outside the image of {size[0]}x{size[1]} pixels")


def _rounded(box: Box) -> str:
    return "(" + ", ".join(f"{edge:.4g}" for edge in box) + ")"


def crop_face(image: Image.Image | np.ndarray, box: Box, size: int = IMAGE_SIZE, margin: int = MARGIN) -> np.ndarray:
    """The standard crop around a face box, with `margin` more pixels on each side: RGB uint8 (size + 2 margin, ..., 3).

    The image is Pillow's or RGB uint8 (H, W, 3). What lies outside it is black, as in the published protocol.
    A box that makes no sense raises ValueError.
    """
    height, width = image.shape[:2] if isinstance(image, np.ndarray) else (image.height, image.width)
    check_box(box, (width, height))
    left, top, right, bottom = widen(box)
    border_x, border_y = (right - left) * margin / size, (bottom - top) * margin / size
    region = (left - border_x, top - border_y, right + border_x, bottom + border_y)
    return _resample(image, region, size + 2 * margin)


def _resample(image: Image.Image | np.ndarray, region: Box, size: int) -> np.ndarray:
    """The region (fractional pixels; black outside the image) resized to (size, size, 3) uint8."""
    left, top = math.floor(region[0]), math.floor(region[1])
    right, bottom = math.ceil(region[2]), math.ceil(region[3])
    outer = _cut(image, left, top, right, bottom)
    inner = (region[0] - left, region[1] - top, region[2] - left, region[3] - top)
    return np.asarray(outer.resize((size, size), Image.Resampling.BILINEAR, box=inner))  # antialiased when it shrinks


def _cut(image: Image.Image | np.ndarray, left: int, top: int, right: int, bottom: int) -> Image.Image:
    """The rectangle in RGB, black outside the image. Nothing but the rectangle is copied."""
    height, width = image.shape[:2] if isinstance(image, np.ndarray) else (image.height, image.width)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if isinstance(image, np.ndarray):
        inside = as_picture(image[y0:y1, x0:x1])
    else:
        inside = image.crop((x0, y0, x1, y1)).convert("RGB")
    if (x0, y0, x1, y1) == (left, top, right, bottom):
        return inside
    outer = Image.new("RGB", (right - left, bottom - top))
    outer.paste(inside, (x0 - left, y0 - top))
    return outer


def as_picture(pixels: np.ndarray) -> Image.Image:
    """RGB uint8 (H, W, 3) as Pillow's image. Where it is a view of OpenCV's BGR, Pillow reads that as it is."""
    as_read = pixels[..., ::-1]
    if as_read.strides[-1] != 1:
        return Image.fromarray(pixels)
    size = (pixels.shape[1], pixels.shape[0])
    return Image.frombuffer("RGB", size, np.ascontiguousarray(as_read), "raw", "BGR", 0, 1)


def fit_stored(image: Image.Image, central: float) -> np.ndarray:
    """A picture whose `central` fraction is the standard crop, as the stored uint8 (80, 80, 3).

    Border that the picture does not have is reflected.
    """
    available = min(STORED_SIZE, 2 * math.floor(IMAGE_SIZE / central / 2))  # stored pixels that the picture covers
    part = central * available / IMAGE_SIZE  # the fraction of the picture that they show
    width, height = image.size
    region = (width * (1 - part) / 2, height * (1 - part) / 2, width * (1 + part) / 2, height * (1 + part) / 2)
    pixels = _resample(image, region, available)
    border = (STORED_SIZE - available) // 2
    return np.pad(pixels, ((border, border), (border, border), (0, 0)), mode="reflect")


def centre_crop(images: np.ndarray) -> np.ndarray:
    """The standard crops (N, 64, 64, 3) of stored ones (N, 80, 80, 3); a view, nothing is copied."""
    return images[:, MARGIN : MARGIN + IMAGE_SIZE, MARGIN : MARGIN + IMAGE_SIZE]
