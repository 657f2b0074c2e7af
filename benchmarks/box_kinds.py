"""The picture in README of which box is meant, from a synthetic head: python benchmarks/box_kinds.py OUT.png"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hpe.inference.detector import FaceDetector
from hpe.pose.crop import Box, crop_face, narrow
from hpe.synthetic import render

SIDE, BORDER = 230, 70
"""Of the head's standard crop, and what is shown around it, in pixels."""
LANDMARKS, DETECTOR, CROP = (80, 220, 100), (255, 150, 40), (255, 255, 255)


def main() -> None:
    images, pose_deg = render([int(sys.argv[2]) if len(sys.argv) > 2 else 7], 0, "easy", size=SIDE, margin=BORDER)
    pixels = images[0]
    box = narrow((BORDER, BORDER, BORDER + SIDE, BORDER + SIDE))
    found = FaceDetector()(pixels)
    crop = Image.fromarray(crop_face(pixels, box, margin=0)).resize((SIDE, SIDE), Image.Resampling.NEAREST)
    side = SIDE + 2 * BORDER
    sheet = Image.new("RGB", (side + SIDE + 90, side), (32, 34, 38))
    sheet.paste(Image.fromarray(pixels), (0, 0))
    sheet.paste(crop, (side + 45, BORDER))
    draw = ImageDraw.Draw(sheet)
    outline(draw, (BORDER, BORDER, BORDER + SIDE, BORDER + SIDE), CROP, "what the network sees", above=True)
    outline(draw, box, LANDMARKS, "--box-kind landmarks", above=False)
    if found:
        face = found[0]
        rough = (face.left, face.top, face.left + face.width, face.top + face.height)
        outline(draw, rough, DETECTOR, "--box-kind detector", above=True)
        print("landmarks", np.round(box), "detector", np.round(rough), "mapped", np.round(face.box()))
    draw.text((side + 45, BORDER - 22), "64x64, as the network sees it", CROP, font(14))
    print("pose", pose_deg[0])
    sheet.save(Path(sys.argv[1]), optimize=True)


def outline(draw: ImageDraw.ImageDraw, box: Box, colour: tuple[int, int, int], text: str, above: bool) -> None:
    draw.rectangle(box, outline=colour, width=2)
    draw.text((box[0] + 3, box[1] - 19 if above else box[3] + 3), text, colour, font(14))


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


if __name__ == "__main__":
    main()
