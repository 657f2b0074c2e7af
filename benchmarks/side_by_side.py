"""Released models, or runs, and FSA-Net on the same faces: which errs less, and is the difference more than chance?

python benchmarks/side_by_side.py csv:faces@test aflw2000:aflw2000_mat --peers peers
"""

import platform
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import tyro
from fsa_net import load_fsa_net

from hpe.data.faces import load_faces
from hpe.inference.predictor import HeadPosePredictor
from hpe.io.environment import commit, processor
from hpe.io.files import write_text
from hpe.io.markdown import markdown_table
from hpe.model.cards import cards
from hpe.pose.crop import IMAGE_SIZE, MARGIN, centre_crop, narrow
from hpe.pose.rotation import flip_pose, wrap_deg

SAMPLES = 10_000
RIVAL = "FSA-Net"
PROTOCOL = f"""The standard crop (k = 0.2), angles beyond 99 degrees left out, mean absolute error. Intervals hold
95 % of {SAMPLES:,} bootstrap samples of the faces, drawn alike for all models, so that differences are paired. The
slope is that of the answer on the truth: below 1, the model underestimates. Two looks are those of `hpe predict`: the
second at the mirror image of the crop that the model corrected. Mirrored too: the mean with the mirror image's."""
Read = Callable[[np.ndarray], np.ndarray]
"""Pictures (N, 80, 80, 3) with the standard crop in the middle, to poses (N, 3) in degrees."""
HEADER = ("model", "MAE deg", "95 %", "yaw", "pitch", "roll", f"less than {RIVAL}", "95 %", "slope of pitch")


def table(errors: dict[str, np.ndarray], slopes: dict[str, float]) -> str:
    """Markdown of absolute errors (N, 3) in degrees by model."""
    n = len(errors[RIVAL])
    drawn = np.random.default_rng(0).integers(0, n, (SAMPLES, n))
    means = {name: each.mean(axis=1)[drawn].mean(axis=1) for name, each in errors.items()}  # (SAMPLES,)
    rows = []
    for name, each in errors.items():
        cells = [name, f"{each.mean():.2f}", interval(means[name]), *(f"{value:.2f}" for value in each.mean(axis=0))]
        difference = errors[RIVAL].mean() - each.mean()
        cells += ["", ""] if name == RIVAL else [f"{difference:.2f}", interval(means[RIVAL] - means[name])]
        rows.append([*cells, f"{slopes[name]:.2f}"])
    return markdown_table(HEADER, rows)


def interval(values: np.ndarray) -> str:
    """The middle 95 % of the values."""
    low, high = np.percentile(values, (2.5, 97.5))
    return f"{low:.2f} to {high:.2f}"


def one_look(read: Read) -> Read:
    """`read`, which takes crops (N, 64, 64, 3), for the pictures."""
    return lambda pictures: read(centre_crop(pictures))


def mirrored_too(read: Read) -> Read:
    """`read`, averaged with what it says of the mirror image."""
    return lambda pictures: (read(pictures) + flip_pose(read(np.ascontiguousarray(pictures[:, :, ::-1])))) / 2


def one_by_one(predictor: HeadPosePredictor) -> Read:
    """What a model says of crops (N, 64, 64, 3)."""
    return lambda crops: np.stack([predictor(crop) for crop in crops])


def two_looks(predictor: HeadPosePredictor) -> Read:
    """What `hpe predict` tells where the box is exact."""
    exact = narrow((MARGIN, MARGIN, MARGIN + IMAGE_SIZE, MARGIN + IMAGE_SIZE))
    return lambda pictures: np.stack([predictor.look(picture, exact).pose_deg for picture in pictures])


def main(
    data: tyro.conf.Positional[tuple[str, ...]],
    peers: Path,
    models: tuple[str, ...] = (),
    out: Path = Path("benchmarks/results"),
) -> None:
    """Write a page with one table for each data SPEC.

    Args:
        data: data SPECs, as in hpe evaluate
        peers: folder with fsanet-1x1-iter-688590.onnx and fsanet-var-iter-688590.onnx
        models: runs, files or released models; left out: all released ones
        out: folder of the page
    """
    predictors = {Path(name).name: HeadPosePredictor(name) for name in models or tuple(cards())}
    rivals = {RIVAL: one_look(load_fsa_net(peers))}
    rivals |= {name: one_look(one_by_one(each)) for name, each in predictors.items()}
    rivals[f"{RIVAL}, mirrored too"] = mirrored_too(rivals[RIVAL])
    rivals |= {f"{name}, two looks": two_looks(each) for name, each in predictors.items() if each.locates}
    sections = [f"# {RIVAL} and {', '.join(models) or 'the models that are released'}", PROTOCOL]
    for spec in data:
        faces = load_faces(spec)
        poses = {name: read(faces.images) for name, read in rivals.items()}
        errors = {name: np.abs(wrap_deg(pose - faces.pose_deg)) for name, pose in poses.items()}
        slopes = {name: float(np.polyfit(faces.pose_deg[:, 1], p[:, 1], 1)[0]) for name, p in poses.items()}
        sections += [f"{len(faces)} faces of `{spec}`:", table(errors, slopes)]
        print("\n\n".join(sections[-2:]), flush=True)
    sections.append(f"{processor()}, commit {commit()}; the errors depend on no clock.")
    page = out / f"side_by_side_{platform.machine()}_{date.today():%Y%m}.md"
    print(f"wrote {write_text(page, chr(10).join(f'{section}{chr(10)}' for section in sections))}")


if __name__ == "__main__":
    tyro.cli(main)
