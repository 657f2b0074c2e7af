"""What is known about the three benchmark datasets: how to obtain them, and how many samples a complete copy has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hpe.data.sources.biwi import SPLITS
from hpe.data.spec import Part

W300LP_COUNTS = {"AFW": 5_207, "HELEN": 37_676, "IBUG": 1_786, "LFPW": 16_556}
"""Samples of each subset of 300W-LP, 61,225 together
(tensorflow.org/datasets/catalog/the300w_lp); its flips double them
to 122,450, if each has one (not verified against the source)."""
AFLW2000_COUNT = 2_000
"""Of these 31 have an angle beyond 99 degrees (github.com/natanielruiz/deep-head-pose, issue 41)."""
BIWI_COUNT = 15_678
"""Frames of all 24 sequences. The card of huggingface.co/datasets/ETHZurich/biwi_kinect_head_pose has the 24 sequences
and says "15K images of 20 people"; the exact number was not found at the source."""

OBTAIN = {
    "csv": """csv:DIR reads your own faces: DIR/labels.csv with the columns file,yaw,pitch,roll (degrees).
Optional columns: split, person, spread, and a face box x0,y0,x1,y1 in pixels of the upright image (EXIF orientation is
applied). Without a box each image must be a crop;
DIR/dataset.json {"central_crop": 0.8} says that only its central 80 % are the crop.""",
    "aflw2000": """AFLW2000-3D (2,000 photos, the usual test set) is free for research.
Download AFLW2000-3D.zip from http://www.cbsr.ia.ac.cn/users/xiangyuzhu/projects/3DDFA/main.htm and unpack it.
Then aflw2000:DIR, where DIR holds image00002.jpg, image00002.mat and so on.""",
    "300w-lp": """300W-LP (122,450 synthesised views, the usual training set) is free for research.
Download 300W-LP.zip from http://www.cbsr.ia.ac.cn/users/xiangyuzhu/projects/3DDFA/main.htm and unpack it.
Then 300w-lp:DIR, where DIR holds AFW, AFW_Flip, HELEN, HELEN_Flip, IBUG, IBUG_Flip, LFPW, LFPW_Flip.
300w-lp:DIR@IBUG reads one of them.""",
    "biwi": """BIWI Kinect Head Pose (15,678 frames of 20 persons) is free for non-commercial research.
Ask for kinect_head_pose_db.tgz (6 GB) at https://icu.ee.ethz.ch/research/datsets.html, or take the copy on Kaggle
(kmader/biwi-kinect-head-pose-database), and unpack it.
Then biwi:DIR, where DIR is the folder hpdb that holds 01 to 24; biwi:DIR@train and biwi:DIR@test are a 70/30 split by
sequence with no person in both.""",
    "synthetic": """synthetic:PRESET:COUNT[:SEED] renders heads; there is nothing to download.""",
}


def describe(kind: str = "") -> str:
    """How to obtain a kind of data and how to name it in a specification; all kinds where none is given."""
    return OBTAIN[kind] if kind else "\n\n".join(OBTAIN.values())


def missing_samples(part: Part, ids: Sequence[str]) -> list[str]:
    """What the listed samples of a benchmark dataset lack of (or have beyond) a complete copy, as messages."""
    found = Counter(name.partition("/")[0] for name in ids)
    if part.kind == "300w-lp":
        expected = {subset + flip: count for subset, count in W300LP_COUNTS.items() for flip in ("", "_Flip")}
        wanted = {name: n for name, n in expected.items() if not part.split or name.lower() == part.split.lower()}
        return [f"{name} has {found[name]:,} samples of {n:,}" for name, n in wanted.items() if found[name] != n]
    if part.kind == "aflw2000" and len(ids) != AFLW2000_COUNT:
        return [f"AFLW2000-3D has {len(ids):,} samples of {AFLW2000_COUNT:,}"]
    if part.kind == "biwi":
        return _missing_of_biwi(part, found)
    return []


def _missing_of_biwi(part: Part, found: Counter[str]) -> list[str]:
    absent = [name for name in SPLITS[part.split] if not found[name]]
    if absent:
        return [f"BIWI lacks the sequences {', '.join(absent)}"]
    if not part.split and found.total() != BIWI_COUNT:
        return [f"BIWI has {found.total():,} frames of {BIWI_COUNT:,}"]
    return []
