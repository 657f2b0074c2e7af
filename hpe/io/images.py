"""Opens an image file safely, in the same way for training and for prediction."""

from __future__ import annotations

import os
import struct
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from hpe.io.errors import FileError
from hpe.io.files import open_regular

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's other readers are not asked; that of PostScript would run a program."""
MAX_PIXELS = 100_000_000
"""A larger image is refused unread: it would take more than 400 MB."""
SHRINK = f"shrink it to {MAX_PIXELS // 10**6} million pixels or fewer"
MAX_PIXELS_A_BYTE = 10_000
"""More pixels for each byte of the file cannot be: PNG reaches 8,256, with one bit a pixel and all of them equal."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green, blue in grey (ITU-R BT.601)."""
ORIENTATION = 0x0112
"""The EXIF tag that says how the camera was held."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF 2.3, tag Orientation: what makes the picture upright."""
DAMAGED = (OSError, ValueError, SyntaxError, EOFError, TypeError, KeyError, IndexError, OverflowError, struct.error)
"""What Pillow's readers raise on damaged files."""


class ImageError(FileError):
    """An image that cannot be used; `what` is wrong with the file, `remedy` says what to do."""

    def __init__(self, path: str | os.PathLike, what: str, remedy: str) -> None:
        self.what, self.remedy = what, remedy
        super().__init__(f"{path}: {what}; {remedy}")


def open_image(path: str | Path) -> Image.Image:
    """The image of a file, in RGB with 8 bits a colour, upright (EXIF), and wholly decoded.

    16-bit grey values are scaled to 8 bits. Sizes are checked before anything is decoded. Raises ImageError.
    """
    try:
        with open_regular(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large images, which are refused here, and of odd EXIF
            return _decode(path, file)
    except FileNotFoundError:
        raise ImageError(path, "no such file", "restore it or correct the path") from None
    except PermissionError:
        raise ImageError(path, "permission denied", "let this user read it (chmod, chown)") from None
    except UnidentifiedImageError:
        what = f"the image cannot be decoded: it is none of the formats that are read ({', '.join(FORMATS)})"
        raise ImageError(path, what, "save it as one of them, or copy it again") from None
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(path, f"the image is too large ({_first_line(error)})", SHRINK) from None
    except DAMAGED as error:
        what = f"the image cannot be decoded ({_first_line(error)})"
        raise ImageError(path, what, "it may be no image or cut short: copy it again") from None
    except MemoryError:
        raise ImageError(path, "the image takes more memory than there is", "shrink it") from None


def _decode(path: str | Path, file: BinaryIO) -> Image.Image:
    with Image.open(file, formats=FORMATS) as image:
        pixels, size_bytes = image.width * image.height, os.fstat(file.fileno()).st_size
        if pixels > MAX_PIXELS:
            what = f"the image has {image.width}x{image.height} pixels"
            raise ImageError(path, what, SHRINK)
        if pixels > MAX_PIXELS_A_BYTE * size_bytes:
            what = f"{size_bytes} bytes cannot hold the {image.width}x{image.height} pixels that the image claims"
            raise ImageError(path, what, "copy it again")
        image.load()
        turn = _turn(image)  # only now: loading a TIFF turns it, and takes the tag away
        upright = image if turn is None else image.transpose(turn)
        return _to_rgb(path, upright)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What makes the image upright; None where it is, or where its EXIF cannot be read."""
    try:
        return TURNS.get(image.getexif().get(ORIENTATION, 1))
    except DAMAGED:
        return None


def _to_rgb(path: str | Path, image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ImageError(path, "the image holds floating-point values", "save it with 8 or 16 bits a pixel")
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.int64)  # (H, W)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ImageError(path, "the image holds 32-bit values", "save it with 8 or 16 bits a pixel")
        image = Image.fromarray(((values * 255 + 0x7FFF) // 0xFFFF).astype(np.uint8))
    return image if image.mode == "RGB" else image.convert("RGB")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].removesuffix(".") if lines else type(error).__name__
