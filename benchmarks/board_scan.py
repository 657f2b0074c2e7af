"""Whether the Arduino sketch of a network that locates finds the face in its camera's frame, and nothing else.

    uv run python benchmarks/board_scan.py b0-nano-locate --data csv:faces@test

The sketch itself, built for this computer, gets frames of 160x120 RGB565 pixels: a face whose crop has 50 to 94 pixels
somewhere on a smooth random background, held for as long as a scan takes; and as many frames without a face, half of
them background alone and half with the picture's tiles shuffled. Writes board_scan_MODEL.md: faces found, how well
their crops overlap the true ones, the error in degrees beside that of the true crops, and false faces.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

from hpe.data.faces import Faces, load_faces
from hpe.deploy.sketch import run_deploy
from hpe.inference.predictor import HeadPosePredictor
from hpe.inference.tracking import overlap
from hpe.io.environment import commit, processor
from hpe.io.files import write_text
from hpe.io.progress import progress_bar
from hpe.pose.crop import IMAGE_SIZE, STORED_SIZE, Box, narrow
from tests.sketches import build_c_sketch, film

WIDTH, HEIGHT = 160, 120
LONGEST_SCAN = 8
"""Frames: the crops of a scan, eight a frame, and a second look."""
SMALLEST, LARGEST = 50, 94
"""Sides in pixels of the standard crop; a picture has a quarter more, and the frame 120 rows."""
TILES = 5


@dataclass(frozen=True)
class Options:
    """Faces in the frames of a board's camera."""

    model: tyro.conf.Positional[str]
    """Int8 file or released model that locates."""
    data: str = "csv:faces@test"
    """Faces with real pixels around the standard crop."""
    count: int = 100
    """Frames with a face, and as many without."""
    out: Path = Path("benchmarks/results")
    """Folder of the table."""


@dataclass(frozen=True)
class Scene:
    """A frame, and where the face is in it."""

    frame: np.ndarray
    """uint8 (120, 160, 3)"""
    crop: tuple[int, int, int] | None
    """Left, top and side of the standard crop; None where there is no face."""


def background(rng: np.random.Generator) -> np.ndarray:
    """uint8 (120, 160, 3): random colours in 4x5 places, smooth between, and a little noise."""
    few = Image.fromarray(rng.integers(0, 256, (4, 5, 3), np.uint8))
    smooth = np.asarray(few.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), np.float32)
    return np.clip(smooth + rng.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)


def with_picture(picture: np.ndarray, rng: np.random.Generator) -> Scene:
    """A picture (80, 80, 3) somewhere in a frame; the crop is that of its middle 64 pixels."""
    side = int(rng.integers(SMALLEST, LARGEST + 1))
    whole = round(side * STORED_SIZE / IMAGE_SIZE)
    x, y = (int(rng.integers(0, room + 1)) for room in (WIDTH - whole, HEIGHT - whole))
    frame = background(rng)
    frame[y : y + whole, x : x + whole] = Image.fromarray(picture).resize((whole, whole), Image.Resampling.BILINEAR)
    margin = (whole - side) // 2
    return Scene(frame, (x + margin, y + margin, side))


def without_face(picture: np.ndarray, rng: np.random.Generator) -> Scene:
    """Background alone, or, as often, a picture whose tiles are shuffled."""
    if rng.random() < 0.5:
        return Scene(background(rng), None)
    side = STORED_SIZE // TILES
    tiles = picture.reshape(TILES, side, TILES, side, 3).swapaxes(1, 2).reshape(TILES * TILES, side, side, 3)
    shuffled = rng.permutation(tiles).reshape(TILES, TILES, side, side, 3).swapaxes(1, 2)
    return Scene(with_picture(shuffled.reshape(STORED_SIZE, STORED_SIZE, 3), rng).frame, None)


def answer(lines: list[str]) -> tuple[Box, np.ndarray] | None:
    """The crop that the sketch found (a box) and the last pose (3,) it printed; None where it found no face."""
    found = [m for m in (re.match(r"# face found at (\d+),(\d+), side (\d+)", line) for line in lines) if m]
    poses = [line for line in lines if line and not line.startswith("#")]
    if not found or not poses:
        return None
    x, y, side = map(int, found[0].groups())
    return (x, y, x + side, y + side), np.array([float(value) for value in poses[-1].split(",")[:3]])


@dataclass(frozen=True)
class Tally:
    """What was found in `count` frames with a face, and in as many without."""

    count: int
    errors_deg: list[float]
    """Of the poses told, a number for each face found."""
    exact_deg: list[float]
    """Of the same faces in their true crops."""
    overlaps: list[float]
    """Intersection over union of the crop found with the true one."""
    false: int


def measure(model: str, faces: Faces, count: int) -> Tally:
    """Put faces into frames and show them to the sketch."""
    rng, predictor = np.random.default_rng(0), HeadPosePredictor(model)
    errors, exact, overlaps, false = [], [], [], 0
    with tempfile.TemporaryDirectory() as folder, progress_bar("frames", 2 * count) as advance:
        sketch = Path(folder) / "head_pose"
        run_deploy(model, sketch, "nano33ble", "c")
        program = build_c_sketch(sketch, "-DHEAD_POSE_CAMERA=1")
        for index in rng.permutation(len(faces))[:count]:
            picture, pose = np.asarray(faces.images[index]), faces.pose_deg[index]
            scene = with_picture(picture, rng)
            assert scene.crop is not None
            x, y, side = scene.crop
            told = answer(film(program, Path(folder), [scene.frame] * LONGEST_SCAN))
            if told is not None:
                overlaps.append(overlap(told[0], (x, y, x + side, y + side)))
                errors.append(float(np.abs(told[1] - pose).mean()))
                true = predictor.look(scene.frame, narrow((x, y, x + side, y + side)), looks=1)
                exact.append(float(np.abs(true.pose_deg - pose).mean()))
            advance()
            false += answer(film(program, Path(folder), [without_face(picture, rng).frame] * LONGEST_SCAN)) is not None
            advance()
    return Tally(count, errors, exact, overlaps, false)


def table(name: str, tally: Tally) -> str:
    """Markdown."""
    frames = f"frames of {WIDTH}x{HEIGHT} with a face of {SMALLEST} to {LARGEST} pixels"
    return f"""# {name} in the frames of a board's camera

`python benchmarks/board_scan.py {name} --count {tally.count}`: the sketch on this computer.
{tally.count} {frames}, as many without.

- faces found within {LONGEST_SCAN} frames: {len(tally.errors_deg)} of {tally.count}
- overlap of the crop found with the true one: {np.mean(tally.overlaps):.2f}, at least {min(tally.overlaps):.2f}
- error: {np.mean(tally.errors_deg):.2f} degrees; of the same faces in true crops {np.mean(tally.exact_deg):.2f}
- frames without a face in which one was found: {tally.false} of {tally.count}

{processor()}, commit {commit()}.
"""


def main(options: Options) -> None:
    tally = measure(options.model, load_faces(options.data), options.count)
    if not tally.errors_deg:
        raise SystemExit("board_scan.py: no face was found")
    text = table(Path(options.model).stem, tally)
    path = options.out / f"board_scan_{Path(options.model).stem}.md"
    write_text(path, text)
    print(f"{text}\nwritten: {path}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
