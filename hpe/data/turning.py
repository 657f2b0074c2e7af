"""Faces turned further out of the picture's plane, as a data set of its own: wide poses from real photographs.

`hpe.synthetic.relief` turns a face; here it is chosen which, and how far. Turns go on in the direction that a face
looks already: the other way it would show what the photograph hides.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hpe.io.errors import ConfigError, require
from hpe.io.files import write_json, write_text
from hpe.io.progress import progress_bar
from hpe.pose.crop import IMAGE_SIZE, STORED_SIZE

if TYPE_CHECKING:
    from PIL import Image

    from hpe.data.faces import Faces

MOST_YAW_DEG, MOST_PITCH_DEG = 75.0, 50.0
"""No face is turned beyond."""
UNDECIDED_DEG = 8.0
"""A face that looks less far to one side may turn to either."""
LEAST_TURN_DEG = 4.0
"""A smaller turn in yaw and pitch together is not worth a picture."""
COLUMNS = ("file", "split", "source", "person", "yaw", "pitch", "roll", "spread", "yaw_turn", "pitch_turn")


@dataclass(frozen=True)
class TurnConfig:
    """How faces are turned."""

    yaw_deg: float = 25.0
    """Largest turn to the side."""
    pitch_deg: float = 20.0
    """Largest turn up or down."""
    copies: int = 1
    """Turned pictures of each face."""
    seed: int = 0
    """What the turns are drawn from."""

    def __post_init__(self) -> None:
        require(0 <= self.yaw_deg <= 45, f"--yaw-deg is {self.yaw_deg}; it must lie between 0 and 45")
        require(0 <= self.pitch_deg <= 45, f"--pitch-deg is {self.pitch_deg}; it must lie between 0 and 45")
        far = math.hypot(self.yaw_deg, self.pitch_deg) >= LEAST_TURN_DEG
        require(far, f"--yaw-deg and --pitch-deg: turns below {LEAST_TURN_DEG:g} degrees are not worth a picture")
        require(1 <= self.copies <= 100, f"--copies is {self.copies}; it must be 1 to 100")


def draw_turns(pose_deg: np.ndarray, config: TurnConfig, copy: int = 0) -> np.ndarray:
    """Turns (N, 2) in yaw and pitch, degrees, for poses (N, 3); one that is too small to be made is zero."""
    rng = np.random.default_rng([config.seed, copy])
    most = np.array([config.yaw_deg, config.pitch_deg])
    way = np.where(rng.random((len(pose_deg), 2)) < 0.5, -1.0, 1.0)
    way = np.where(np.abs(pose_deg[:, :2]) > UNDECIDED_DEG, np.sign(pose_deg[:, :2]), way)
    room = np.maximum([MOST_YAW_DEG, MOST_PITCH_DEG] - way * pose_deg[:, :2], 0)
    turns = way * np.minimum(rng.random((len(pose_deg), 2)) * most, room)
    return np.where(np.hypot(*turns.T)[:, None] < LEAST_TURN_DEG, 0.0, turns)


def write_turned(data: str, out: Path, config: TurnConfig, report: Callable[[str], None] = print) -> int:
    """Write turned copies of the faces of SPEC `data` as a csv folder `out`; returns how many.

    labels.csv is written last: a folder without it is not whole.

    Raises:
        ConfigError: if `out` exists with anything in it.
    """
    from hpe.data.faces import load_faces

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out}: exists; give a new folder, or delete it")
    faces = load_faces(data)
    rows = []
    with progress_bar("turning", len(faces) * config.copies) as advance:
        for row, picture in _turned_faces(faces, config, advance):
            path = out / row["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path, quality=95, subsampling=0)
            rows.append(row)
    require(bool(rows), f"{data}: no face is left to turn; all look further than {MOST_YAW_DEG:g} degrees")
    write_json(out / "dataset.json", {"central_crop": IMAGE_SIZE / STORED_SIZE, "turned_from": data})
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(out / "labels.csv", table.getvalue())
    report(f"{out}: {len(rows):,} turned faces of {len(faces):,}")
    return len(rows)


def _turned_faces(
    faces: Faces, config: TurnConfig, advance: Callable[[], object]
) -> Iterator[tuple[dict[str, str], Image.Image]]:
    """The row of labels.csv and the picture of each turned face."""
    from PIL import Image

    from hpe.synthetic.relief import turned, turned_pose

    true = np.asarray(faces.pose_deg, np.float64)
    for copy in range(config.copies):
        turns = draw_turns(true, config, copy)
        poses = turned_pose(true, turns)
        for i, (turn, pose) in enumerate(zip(turns, poses, strict=True)):
            advance()
            if not turn.any() or np.abs(true[i, 0]) > MOST_YAW_DEG:
                continue
            picture = turned(np.asarray(faces.images[i]), true[i], turn, IMAGE_SIZE)
            row = {"file": f"{i // 1000:03}/{i:06}_{copy}.jpg", "source": faces.ids[i]}
            row |= {"split": _of(faces, "split", i) or "train"}
            row |= {"person": _of(faces, "person", i), "spread": _of(faces, "spread", i)}
            angles = [f"{angle:.2f}" for angle in (*pose, *turn)]
            row |= dict(zip(("yaw", "pitch", "roll", "yaw_turn", "pitch_turn"), angles, strict=True))
            yield row, Image.fromarray(picture)


def _of(faces: Faces, column: str, i: int) -> str:
    """What a further column says of a face; nothing where it is not known."""
    value = str(faces.extra[column][i]) if column in faces.extra else ""
    return "" if value == "nan" else value
