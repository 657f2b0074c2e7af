"""What a network loses in boxes that are off, what its second look brings back, and whether it knows its own error.

    uv run python benchmarks/rough_boxes.py MODEL [--data csv:faces@val] [--out FOLDER]

The crop of each face is moved by 2, 4 and 6 of its 64 pixels, in eight directions, and made larger and smaller by as
much on each side. A network that locates (`--locate`) corrects the box and looks again. A network that tells spreads
(`--spread`) is asked about the exact crops: faces by the spread that it tells, in fifths, and the plot.
Writes rough_boxes_MODEL.md, and spread_MODEL.png.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from hpe.data.faces import Faces, load_faces
from hpe.inference.predictor import HeadPosePredictor
from hpe.io.files import write_text
from hpe.io.markdown import markdown_table
from hpe.io.progress import progress_bar
from hpe.pose.crop import IMAGE_SIZE, MARGIN, Box, narrow
from hpe.pose.metrics import ANGLES

DISTURBED_PX = (2, 4, 6)
DIRECTIONS = 8
LOOKS = (1, 2, 3)
PARTS = 5


@dataclass(frozen=True)
class Options:
    """Measure a model in boxes that are off."""

    model: tyro.conf.Positional[str]
    """Run folder, model file or released model."""
    data: str = "csv:faces@val"
    """Faces with real pixels around the standard crop."""
    out: Path = Path("benchmarks/results")
    """Folder of the table and the plot."""


def moved_boxes(pixels: float) -> list[Box]:
    """Landmark boxes, in the 80x80 picture, of crops that are moved by `pixels` of the 64 in each direction."""
    angles = [2 * math.pi * i / DIRECTIONS for i in range(DIRECTIONS)] if pixels else [0.0]
    return [_box(pixels * math.cos(angle), pixels * math.sin(angle), 0.0) for angle in angles]


def resized_boxes(pixels: float) -> list[Box]:
    """Likewise, of crops whose sides are moved outwards, or inwards, by `pixels`."""
    return [_box(0.0, 0.0, grown) for grown in (pixels, -pixels)]


def _box(right: float, down: float, grown: float) -> Box:
    left, top = MARGIN + right - grown, MARGIN + down - grown
    return narrow((left, top, left + IMAGE_SIZE + 2 * grown, top + IMAGE_SIZE + 2 * grown))


def error_in(predictor: HeadPosePredictor, faces: Faces, boxes: list[Box], looks: int) -> float:
    """Mean absolute error in degrees over faces, boxes and angles."""
    errors = []
    with progress_bar(f"{looks} looks", len(faces)) as advance:
        for image, pose in zip(faces.images, faces.pose_deg, strict=True):
            found = [predictor.look(np.asarray(image), box, looks).pose_deg for box in boxes]
            errors.append(np.abs(np.stack(found) - pose).mean())
            advance()
    return float(np.mean(errors))


def box_table(predictor: HeadPosePredictor, faces: Faces) -> str:
    """Markdown: a line for each disturbance, a column for each number of looks."""
    looks = LOOKS if predictor.locates else LOOKS[:1]
    rows = []
    kinds = [("exact", moved_boxes(0))]
    kinds += [(f"moved by {pixels} of 64 pixels", moved_boxes(pixels)) for pixels in DISTURBED_PX]
    kinds += [(f"each side moved in or out by {pixels}", resized_boxes(pixels)) for pixels in DISTURBED_PX]
    for name, boxes in kinds:
        errors = [error_in(predictor, faces, boxes, count) for count in looks]
        rows.append([name, *(f"{error:.2f}" for error in errors)])
        print(*rows[-1], flush=True)
    return markdown_table(("crop", *(f"{count} look{'s' * (count > 1)}" for count in looks)), rows)


def errors_and_spreads(predictor: HeadPosePredictor, faces: Faces) -> tuple[np.ndarray, np.ndarray]:
    """Of exact crops, (N, 3) each, in degrees: the error of each angle, and the error that the network expects."""
    (exact,) = moved_boxes(0)
    found = [predictor.look(np.asarray(image), exact, looks=1) for image in faces.images]
    pose_deg = np.stack([face.pose_deg for face in found])
    spread_deg = np.stack([face.spread_deg for face in found if face.spread_deg is not None])
    return np.abs(pose_deg - faces.pose_deg), spread_deg


def spread_table(error: np.ndarray, spread: np.ndarray) -> str:
    """Markdown: faces in fifths by the mean of their spreads, with the error that they have."""
    told, errors = spread.mean(1), error.mean(1)
    order = np.argsort(told)
    rows = []
    for i, part in enumerate(np.array_split(order, PARTS)):
        name = "surest" if i == 0 else "least sure" if i == PARTS - 1 else str(i + 1)
        rows.append((name, f"{told[part].mean():.2f}", f"{errors[part].mean():.2f}"))
    return markdown_table(("fifth", "spread told, degrees", "error, degrees"), rows)


def _rank(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation."""
    return float(np.corrcoef(np.argsort(np.argsort(a)), np.argsort(np.argsort(b)))[0, 1])


def plot_spread(error: np.ndarray, spread: np.ndarray, path: Path) -> None:
    """Error against spread, a point for each face and angle, with the means of ten parts."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(ANGLES), figsize=(9, 3), sharey=True, layout="constrained")
    for i, (name, axis) in enumerate(zip(ANGLES, axes, strict=True)):
        told, off = spread[:, i], error[:, i]
        parts = np.array_split(np.argsort(told), 10)
        axis.scatter(told, off, s=6, alpha=0.35, color="#0072b2", linewidths=0)
        means = [told[part].mean() for part in parts], [off[part].mean() for part in parts]
        axis.plot(*means, "o-", color="#d55e00", markersize=4, label="mean of a tenth")
        most = float(told.max())
        axis.plot([0, most], [0, most], color="gray", linewidth=1, linestyle="--", label="as told")
        axis.set(title=name, xlabel="spread told (degrees)", xlim=(0, None), ylim=(0, 12))
    axes[0].set_ylabel("absolute error (degrees)")
    axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main(options: Options) -> None:
    faces = load_faces(options.data)
    predictor = HeadPosePredictor(options.model)
    name = Path(options.model).stem
    text = [f"# {name} in boxes that are off", "", f"`python benchmarks/rough_boxes.py {name}`: mean absolute error in"]
    text += [f"degrees on {len(faces)} faces ({options.data.partition('@')[2] or 'all'}); moved crops in {DIRECTIONS}"]
    text += ["directions. A further look is at the crop that the network corrected.", "", box_table(predictor, faces)]
    if predictor.tells_spread:
        error, spread = errors_and_spreads(predictor, faces)
        rank = _rank(spread.mean(1), error.mean(1))
        text += ["", f"Faces by the spread that the network tells (rank correlation with the error {rank:.2f}):", ""]
        text.append(spread_table(error, spread))
        plot_spread(error, spread, options.out / f"spread_{name}.png")
    write_text(options.out / f"rough_boxes_{name}.md", "\n".join([*text, ""]))
    print(f"written: {options.out}/rough_boxes_{name}.md")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
