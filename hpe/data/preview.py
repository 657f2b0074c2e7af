"""A sheet of faces with their labels drawn in: what `hpe data preview` writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from hpe.data.faces import load_faces
from hpe.io.errors import require
from hpe.io.files import write_whole
from hpe.pose.crop import centre_crop
from hpe.pose.overlay import contact_sheet


def write_preview(data: str, out: Path, count: int = 64, skip_bad: bool = False) -> int:
    """Draw `count` faces, evenly taken, with their labels as axes into the picture `out`; returns how many."""
    kind = Image.registered_extensions().get(out.suffix.lower())
    require(kind in Image.SAVE, f"--out {out}: its suffix names no kind of picture; give for instance sheet.png")
    require(count >= 1, f"--count is {count}; it must be 1 or more")
    faces = load_faces(data, skip_bad=skip_bad)
    chosen = np.unique(np.linspace(0, len(faces) - 1, count).round().astype(int))
    sheet = contact_sheet(centre_crop(faces.images[chosen]), faces.pose_deg[chosen])
    write_whole(out, sheet.save)
    return len(chosen)
