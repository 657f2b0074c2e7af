"""How a face cascade's square relates to the box of 68 landmarks, and what finding the face costs in degrees.

    python benchmarks/face_boxes.py ../shared/data/faces ../shared/data/aflw2000_mat --model RUN/model_fp32.tflite

Fits on half of AFLW's faces in `faces` (split train): their crops are known to be the standard ones, and the black
border shows the aspect of the source, which the crop squeezed. Tests on the other half, and on whole pictures with
their .mat files. The constants go into hpe/inference/detector.py by hand.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hpe.data.sources.mat_pairs import read_mat
from hpe.inference.detector import LARGEST_YAW_DEG, LOOKS, FaceDetector, Found
from hpe.inference.predictor import load_predictor
from hpe.inference.tracking import overlap
from hpe.pose.crop import Box, crop_face

ENLARGED_PX = 240
"""Height of an enlarged 80x80 picture."""
PROFILE_DEG = 15.0
"""The profile cascade is fitted on faces turned by more than this."""


@dataclass(frozen=True)
class Options:
    """Measure the cascades' squares against landmark boxes."""

    faces: tyro.conf.Positional[Path]
    """Folder of labels.csv with 80x80 pictures, whose central 64x64 is the standard crop."""
    pairs: tyro.conf.Positional[Path]
    """Folder of AFLW2000 jpg and mat pairs."""
    model: Path
    """Estimates the pose."""
    count: int = 600
    """Faces, half of them to fit."""


@dataclass(frozen=True)
class Sample:
    """A picture with the box of its landmarks and its pose in degrees."""

    pixels: np.ndarray  # (H, W, 3)
    box: Box
    pose_deg: np.ndarray  # (3,)


def aflw_samples(folder: Path, count: int) -> list[Sample]:
    """Pictures of AFLW whose four borders are all black, so that the source's aspect shows; half of them mirrored."""
    with (folder / "labels.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == "train" and row["source"] == "AFLW"]
    samples: list[Sample] = []
    for index in np.random.default_rng(0).permutation(len(rows)):
        pixels = np.asarray(Image.open(folder / rows[index]["file"]).convert("RGB"))
        light = pixels.max(axis=2)
        columns, lines = (np.flatnonzero(np.quantile(light, 0.9, axis=axis) > 24) for axis in (0, 1))
        if min(columns[0], lines[0]) < 2 or max(columns[-1], lines[-1]) > 77:
            continue
        squeeze = (columns[-1] + 1 - columns[0]) / (lines[-1] + 1 - lines[0])
        pose = np.array([float(rows[index][name]) for name in ("yaw", "pitch", "roll")])
        samples.append(_sample(pixels, squeeze, pose, mirrored=len(samples) % 2 == 1))
        if len(samples) == count:
            break
    return samples


def _sample(pixels: np.ndarray, squeeze: float, pose: np.ndarray, mirrored: bool) -> Sample:
    """The 80x80 crop enlarged and stretched back to the proportions of its source."""
    scale = ENLARGED_PX / 80
    wide = round(ENLARGED_PX / squeeze)
    image = Image.fromarray(pixels).resize((wide, ENLARGED_PX), Image.Resampling.BICUBIC)
    width, height = 64 / 1.8, 64 / 1.52  # the crop is the box plus 0.4 on three sides and 0.12 below
    box = [(8 + 0.4 * width) / 80 * wide, (8 + 0.4 * height) * scale]
    box += [(8 + 1.4 * width) / 80 * wide, (8 + 1.4 * height) * scale]
    if mirrored:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        box[0], box[2] = wide - box[2], wide - box[0]
        pose = pose * (-1, 1, -1)
    return Sample(np.asarray(image), (box[0], box[1], box[2], box[3]), pose)


def pair_samples(folder: Path) -> list[Sample]:
    samples = []
    for mat in sorted(folder.glob("*.mat")):
        pose, box = read_mat(mat, "pt3d_68")
        samples.append(Sample(np.asarray(Image.open(mat.with_suffix(".jpg")).convert("RGB")), box, pose))
    return samples


def best(detector: FaceDetector, sample: Sample, looks: Sequence[int] = LOOKS) -> Found | None:
    """The found face that is the labelled one."""
    faces = [face for face in detector(sample.pixels, looks) if overlap(face.box(), sample.box) > 0.3]
    return max(faces, key=lambda face: overlap(face.box(), sample.box), default=None)


def fit_shape(samples: list[Sample], found: list[Found | None], side: bool) -> None:
    """Print the constants of hpe/inference/detector.py for the frontal (or profile) cascade."""
    rows = []
    for sample, face in zip(samples, found, strict=True):
        if face is not None:
            left, right = (edge - face.left for edge in (sample.box[0], sample.box[2]))
            middle = (left + right) / 2 / face.side
            mirrored = face.look < 0
            yaw = np.clip(sample.pose_deg[0] * (-1 if mirrored else 1), -LARGEST_YAW_DEG, LARGEST_YAW_DEG)
            edges = [(edge - face.top) / face.side for edge in (sample.box[1], sample.box[3])]
            rows.append([yaw, 1 - middle if mirrored else middle, (right - left) / face.side, *edges])
    table = np.array(rows)
    slope, centre = np.polyfit(table[:, 0], table[:, 1], 1)
    rest = np.std(table[:, 1] - np.polyval([slope, centre], table[:, 0]))
    names = ("width", "top", "bottom")
    numbers = ", ".join(f"{name} {value:.3f}" for name, value in zip(names, np.median(table[:, 2:], 0), strict=True))
    print(
        f"  {'profile' if side else 'frontal'} n={len(table)}: centre {centre:.3f}, per_degree {slope:.4f}, {numbers}"
    )
    print(f"    median yaw {np.median(table[:, 0]):.0f}; the centre deviates by {rest:.3f} of the side")


def report(name: str, samples: list[Sample], found: list[Found | None], model: Path) -> None:
    """Print how many were found, how well the boxes agree, and the pose error with each kind of box."""
    predict = load_predictor(model)
    pairs = [(sample, face) for sample, face in zip(samples, found, strict=True) if face is not None]
    truth = np.stack([sample.pose_deg for sample, _ in pairs])

    def poses(boxes: list[Box]) -> np.ndarray:
        crops = [crop_face(sample.pixels, box, margin=0) for (sample, _), box in zip(pairs, boxes, strict=True)]
        return predict(np.stack(crops))

    raw: list[Box] = [(f.left, f.top, f.left + f.side, f.top + f.side) for _, f in pairs]
    first = [face.box() for _, face in pairs]
    yaws = poses(first)[:, 0]
    second = [face.box(float(yaw)) for (_, face), yaw in zip(pairs, yaws, strict=True)]
    print(f"{name}: found {len(pairs)} of {len(samples)}")
    kinds = {"landmarks": [s.box for s, _ in pairs], "square as it is": raw, "mapped": first, "mapped twice": second}
    for kind, boxes in kinds.items():
        ious = [overlap(box, sample.box) for box, (sample, _) in zip(boxes, pairs, strict=True)]
        mae = np.abs(poses(boxes) - truth).mean(axis=0)
        print(f"  {kind:16} IoU median {np.median(ious):.3f}, least {min(ious):.3f}; MAE {mae.mean():.2f} "
              f"(yaw {mae[0]:.2f}, pitch {mae[1]:.2f}, roll {mae[2]:.2f})")  # fmt: skip


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    detector = FaceDetector()
    samples = aflw_samples(options.faces, options.count)
    found = [best(detector, sample) for sample in samples]
    half = len(samples) // 2
    print(f"fitted on {half} faces of AFLW")
    fit_shape(samples[:half], [best(detector, sample, (0,)) for sample in samples[:half]], side=False)
    turned = [sample for sample in samples[:half] if abs(sample.pose_deg[0]) > PROFILE_DEG]
    looks = [(1,) if sample.pose_deg[0] > 0 else (-1,) for sample in turned]
    fit_shape(turned, [best(detector, *pair) for pair in zip(turned, looks, strict=True)], side=True)
    report("AFLW, the other half", samples[half:], found[half:], options.model)
    whole = pair_samples(options.pairs)
    report("AFLW2000 pictures", whole, [best(detector, sample) for sample in whole], options.model)


if __name__ == "__main__":
    main()
