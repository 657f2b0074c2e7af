"""Which face detector to take: how its boxes relate to the box of 68 landmarks, and what finding the face costs.

    python benchmarks/face_boxes.py faces aflw2000_mat --model b0-nano

For every detector of benchmarks/face_detectors.py that is installed. Fits on half of AFLW's faces in `faces` (split
train): their crops are known to be the standard ones, and the black border shows the aspect of the source, which the
crop squeezed. Tests on the other half; on the same faces small in a large picture; on the split test, whose aspect is
not known; and on whole pictures with their .mat files. The constants go into hpe/inference/found.py by hand.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

from benchmarks.face_detectors import Detect, detectors
from hpe.data.sources.mat_pairs import read_mat
from hpe.inference.detector import load_opencv
from hpe.inference.found import LARGEST_YAW_DEG, Found
from hpe.inference.predictor import HeadPosePredictor
from hpe.inference.tracking import overlap
from hpe.pose.crop import Box

ENLARGED_PX = 240
"""Height of an enlarged 80x80 picture."""
SMALL_PX, SMALL_COUNT = 110, 100
"""Height of the pictures that are put into a large one (the face has about half of it), and how many."""
LARGEST_DEG = 99.0
"""Faces with a larger angle are left out, as the protocol says."""


@dataclass(frozen=True)
class Options:
    """Measure detectors' boxes against landmark boxes."""

    faces: tyro.conf.Positional[Path]
    """Folder of labels.csv with 80x80 pictures, whose central 64x64 is the standard crop."""
    pairs: tyro.conf.Positional[Path]
    """Folder of AFLW2000 jpg and mat pairs."""
    model: str
    """Estimates the pose."""
    count: int = 600
    """Faces, half of them to fit."""
    only: tuple[str, ...] = ()
    """These detectors alone."""
    weights: bool = False
    """Print the weights of the points, too."""


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


def test_samples(folder: Path) -> list[Sample]:
    """The split test, as if its crops had not changed the aspect."""
    with (folder / "labels.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == "test"]
    samples = []
    for row in rows:
        pose = np.array([float(row[name]) for name in ("yaw", "pitch", "roll")])
        if np.abs(pose).max() <= LARGEST_DEG:
            pixels = np.asarray(Image.open(folder / row["file"]).convert("RGB"))
            samples.append(_sample(pixels, 1.0, pose, mirrored=False))
    return samples


def small_samples(samples: Sequence[Sample]) -> list[Sample]:
    """The same pictures, SMALL_PX high, somewhere in a gray one of 640x480."""
    rng = np.random.default_rng(1)
    placed = []
    for sample in samples:
        scale = SMALL_PX / sample.pixels.shape[0]
        image = Image.fromarray(sample.pixels).resize((round(sample.pixels.shape[1] * scale), SMALL_PX))
        x, y = int(rng.integers(0, 640 - image.width)), int(rng.integers(0, 480 - SMALL_PX))
        canvas = Image.new("RGB", (640, 480), (96, 104, 112))
        canvas.paste(image, (x, y))
        left, top, right, bottom = (edge * scale for edge in sample.box)
        placed.append(Sample(np.asarray(canvas), (left + x, top + y, right + x, bottom + y), sample.pose_deg))
    return placed


@dataclass(frozen=True)
class Mapping:
    """From a detector's box to the landmarks' box, in a box of width and height 1."""

    edges: np.ndarray  # (4,): left, top, right, bottom
    per_degree: float
    weights: np.ndarray | None  # (1 + 2 points, 4)


def best(found: list[Found], sample: Sample) -> Found | None:
    """The found face that is the labelled one."""
    faces = [face for face in found if overlap(plain(face), sample.box) > 0.25]
    return max(faces, key=lambda face: overlap(plain(face), sample.box), default=None)


def plain(face: Found) -> Box:
    return (face.left, face.top, face.left + face.width, face.top + face.height)


def inside(face: Found, box: Box) -> np.ndarray:
    """The edges (4,) of a box in the detector's box of width and height 1."""
    corner, size = np.array([face.left, face.top] * 2), np.array([face.width, face.height] * 2)
    return (np.array(box) - corner) / size


def features(face: Found) -> np.ndarray:
    """1, and x and y of each point from the middle of the detector's box."""
    assert face.points is not None
    points = (np.array(face.points) - (face.left, face.top)) / (face.width, face.height) - 0.5
    return np.concatenate([[1.0], points.ravel()])


def mirrored(sample: Sample, face: Found) -> tuple[Sample, Found]:
    """Both in the mirrored picture. The points swap sides: eyes and ears in pairs, of five points the mouth, too."""
    assert face.points is not None
    order = {5: (1, 0, 2, 4, 3), 6: (1, 0, 2, 3, 5, 4)}[len(face.points)]
    points = tuple((-face.points[index][0], face.points[index][1]) for index in order)
    left, top, right, bottom = sample.box
    flipped = Found(-face.left - face.width, face.top, face.width, face.height, points, face.score)
    return Sample(sample.pixels, (-right, top, -left, bottom), sample.pose_deg * (-1, 1, -1)), flipped


def fit(pairs: list[tuple[Sample, Found]]) -> Mapping:
    """Medians for the box alone, the middle by yaw; least squares for the points, over the mirrored faces, too."""
    edges = np.array([inside(face, sample.box) for sample, face in pairs])
    yaw = np.clip([sample.pose_deg[0] for sample, _ in pairs], -LARGEST_YAW_DEG, LARGEST_YAW_DEG)
    middles = edges[:, [0, 2]].mean(1) - 0.5
    half = np.median(edges[:, 2] - edges[:, 0]) / 2
    top, bottom = np.median(edges[:, [1, 3]], axis=0)
    weights = None
    if pairs[0][1].points is not None:
        both = pairs + [mirrored(sample, face) for sample, face in pairs]
        table = np.array([features(face) for _, face in both])
        wanted = np.array([inside(face, sample.box) for sample, face in both])
        centre = table.mean(0) * (np.arange(table.shape[1]) > 0)  # the offset is not held small
        gram = (table - centre).T @ (table - centre) + 0.01 * np.diag(np.arange(table.shape[1]) > 0)
        weights = np.linalg.solve(gram, (table - centre).T @ wanted)
        weights[0] -= centre @ weights
    return Mapping(np.array([0.5 - half, top, 0.5 + half, bottom]), float(middles @ yaw / (yaw @ yaw)), weights)


def mapped(face: Found, mapping: Mapping, yaw_deg: float = 0.0, points: bool = False) -> Box:
    if points:
        assert mapping.weights is not None
        edges = features(face) @ mapping.weights
    else:
        yaw = np.clip(yaw_deg, -LARGEST_YAW_DEG, LARGEST_YAW_DEG)
        edges = mapping.edges + mapping.per_degree * yaw * np.array([1, 0, 1, 0])
    left, top, right, bottom = edges * ([face.width, face.height] * 2) + ([face.left, face.top] * 2)
    return (left, top, right, bottom)


def report(name: str, samples: list[Sample], detect: Detect, mapping: Mapping, model: HeadPosePredictor) -> None:
    """Print how many were found, how well the boxes agree, and the pose error with each kind of box."""
    times, found = [], []
    for sample in samples:
        start = time.process_time()
        faces = detect(sample.pixels)
        times.append((time.process_time() - start) * 1e3)
        found.append(best(faces, sample))
    pairs = [(sample, face) for sample, face in zip(samples, found, strict=True) if face is not None]
    truth = np.stack([sample.pose_deg for sample, _ in pairs])

    def poses(boxes: list[Box]) -> np.ndarray:
        return np.stack([model(sample.pixels, box) for (sample, _), box in zip(pairs, boxes, strict=True)])

    first = [mapped(face, mapping) for _, face in pairs]
    yaws = poses(first)[:, 0]
    kinds = {
        "landmarks": [sample.box for sample, _ in pairs],
        "as it is": [plain(face) for _, face in pairs],
        "mapped": first,
        "mapped twice": [mapped(face, mapping, yaw) for (_, face), yaw in zip(pairs, yaws, strict=True)],
    }
    if mapping.weights is not None:
        kinds["by its points"] = [mapped(face, mapping, points=True) for _, face in pairs]
    print(f"  {name}: found {len(pairs)} of {len(samples)}; median {np.median(times):.1f} ms of one core")
    told = {kind: (boxes, poses(boxes)) for kind, boxes in kinds.items()}
    if model.locates:
        faces = [model.face(sample.pixels, face) for sample, face in pairs]
        told["second look"] = [face.box for face in faces], np.stack([face.pose_deg for face in faces])
    for kind, (boxes, pose_deg) in told.items():
        ious = [overlap(box, sample.box) for box, (sample, _) in zip(boxes, pairs, strict=True)]
        mae = np.abs(pose_deg - truth).mean(axis=0)
        print(f"    {kind:13} IoU median {np.median(ious):.3f}, least {min(ious):.3f}; MAE {mae.mean():.2f} "
              f"(yaw {mae[0]:.2f}, pitch {mae[1]:.2f}, roll {mae[2]:.2f})", flush=True)  # fmt: skip


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    load_opencv().setNumThreads(1)
    samples = aflw_samples(options.faces, options.count)
    half = len(samples) // 2
    sets = {
        "AFLW, the other half": samples[half:],
        "the same, small": small_samples(samples[half : half + SMALL_COUNT]),
        "AFLW2000, split test": test_samples(options.faces),
        "AFLW2000, whole pictures": pair_samples(options.pairs),
    }
    model = HeadPosePredictor(options.model)
    known = detectors()
    for name in options.only or known:
        detect = known[name]()
        answers = [(sample, best(detect(sample.pixels), sample)) for sample in samples[:half]]
        mapping = fit([(sample, face) for sample, face in answers if face is not None])
        edges = ", ".join(f"{edge:.3f}" for edge in mapping.edges)
        print(f"{name}: left, top, right, bottom {edges}; {mapping.per_degree:.4f} per degree", flush=True)
        for title, part in sets.items():
            report(title, part, detect, mapping, model)
        if options.weights and mapping.weights is not None:
            for edge, column in zip(("left", "top", "right", "bottom"), mapping.weights.T, strict=True):
                print(f'    "{edge}": ({column[0]:.4f}, ({", ".join(f"{value:.4f}" for value in column[1:])})),')


if __name__ == "__main__":
    main()
