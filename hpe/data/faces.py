"""Faces with known pose, from any source, ready for training: specification -> cached uint8 crops."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from hpe.data.cache import Cached, open_or_build
from hpe.data.catalog import describe, missing_samples
from hpe.data.reading import read_faults
from hpe.data.sources import list_source
from hpe.data.spec import DataError, Fault, Part, parse_spec
from hpe.io.files import default_cache_dir

__all__ = [
    "DataError",
    "Faces",
    "Fault",
    "Part",
    "Prepared",
    "check_data",
    "describe",
    "load_faces",
    "parse_spec",
    "prepare",
]

MAX_ANGLE_DEG = 99.0
"""Samples with an angle beyond this are left out, as in the literature (AFLW2000: 1,969 of 2,000 stay)."""


@dataclass(frozen=True)
class Faces:
    """Face crops and their poses."""

    images: np.ndarray
    """uint8 (N, 80, 80, 3) RGB; the central 64x64 is the standard k = 0.2 crop. Memory-mapped if from one source."""
    pose_deg: np.ndarray
    """float32 (N, 3): yaw, pitch, roll."""
    ids: list[str]
    """Names the sample: the file inside its folder, or synthetic:PRESET:SEED:INDEX."""
    dropped: int = 0
    """Samples left out because an angle is beyond the limit."""
    skipped: int = 0
    """Samples left out because they cannot be used (only with skip_bad)."""
    extra: dict[str, np.ndarray] = field(default_factory=dict)
    """Further columns where known: spread (degrees that a label may be off), person, split."""

    def __len__(self) -> int:
        return len(self.images)

    def digest(self) -> str:
        """SHA-256 of names and poses: tells whether these are the faces of before, with the labels of before."""
        poses = np.ascontiguousarray(self.pose_deg, np.float32).tobytes()
        return hashlib.sha256("\n".join(self.ids).encode() + b"\0" + poses).hexdigest()


def load_faces(
    spec: str, *, cache_dir: str | Path | None = None, skip_bad: bool = False, max_angle_deg: float = MAX_ANGLE_DEG
) -> Faces:
    """The faces of a specification; the first call decodes and caches them, later ones open the cache.

    Raises DataError, naming the first faults, if any sample is bad, unless `skip_bad`. Reading many samples starts
    processes, so a script that calls this needs the usual `if __name__ == "__main__":`.
    """
    directory = Path(cache_dir) if cache_dir else default_cache_dir()
    loaded: list[Cached] = []
    faults: list[Fault] = []
    for part in parse_spec(spec):
        whole = _whole(part)
        cached = open_or_build(directory, str(whole), list_source(whole), max_angle_deg)
        faults += cached.faults
        loaded.append(subset(cached, part) if part.subset else cached)
    if faults and not skip_bad:
        raise DataError(_refusal(spec, faults))
    faces = _join(loaded)
    if not len(faces):
        raise DataError(
            f"'{spec}': no usable sample is left ({len(faults)} bad, {faces.dropped} beyond the angle limit)."
        )
    return faces


def subset(cached: Cached, part: Part) -> Cached:
    """`part.subset` of the usable samples, in their order: those whose name has the least SHA-256.

    So the choice is the same on every machine, whatever the order of the files; a smaller subset lies in a larger one,
    and most of it stays where samples are added. Of what was asked for nothing was left out.
    """
    if part.subset > len(cached.ids):
        raise DataError(f"'{part}': there are {len(cached.ids)} usable samples; take as many or fewer.")
    digests = [hashlib.sha256(os.fsencode(name)).digest() for name in cached.ids]
    rows = np.sort(sorted(range(len(digests)), key=lambda row: digests[row])[: part.subset])
    return replace(
        cached,
        images=cached.images[rows],
        pose_deg=cached.pose_deg[rows],
        ids=[cached.ids[row] for row in rows],
        dropped=0,
        faults=[],
        extra={name: values[rows] for name, values in cached.extra.items()},
    )


@dataclass(frozen=True)
class Prepared:
    """What `prepare` did with one part of a specification."""

    spec: str
    """The part."""
    samples: int
    """Usable samples that the part takes; the cache holds all of the folder's."""
    dropped: int
    """Samples of the folder left out because an angle is beyond the limit."""
    faults: list[Fault]
    """Samples of the folder left out because they cannot be used."""
    missing: list[str]
    """How the listing differs from a complete copy of a benchmark dataset; empty when it is complete or not known."""

    def __str__(self) -> str:
        text = (
            f"{self.spec}: {self.samples:,} samples, {self.dropped:,} beyond the angle limit, {len(self.faults):,} bad"
        )
        return "\n  ".join([text, *self.missing])


def prepare(spec: str, *, cache_dir: str | Path | None = None, max_angle_deg: float = MAX_ANGLE_DEG) -> list[Prepared]:
    """Build the caches of a specification, going on where an interrupted call stopped, and count what is there.

    Bad samples are reported and left out; a source that cannot be listed raises DataError, with how to obtain it.
    """
    directory = Path(cache_dir) if cache_dir else default_cache_dir()
    summary = []
    for part in parse_spec(spec):
        whole = _whole(part)
        try:
            source = list_source(whole)
        except DataError as error:
            raise DataError(f"{error}\n{describe(part.kind)}") from None
        cached = open_or_build(directory, str(whole), source, max_angle_deg)
        missing = missing_samples(part, source.ids)
        usable = subset(cached, part) if part.subset else cached
        summary.append(Prepared(str(part), len(usable.ids), cached.dropped, cached.faults, missing))
    return summary


def check_data(spec: str) -> list[Fault]:
    """Read every sample of a specification and return everything that is wrong with it; empty when all is well."""
    faults: list[Fault] = []
    for part in parse_spec(spec):
        try:
            source = list_source(part)
        except DataError as error:
            where, _, rest = str(error).partition(": ")
            what, _, remedy = rest.rstrip(".").partition("; ")
            faults.append(Fault(where, what, remedy))
            continue
        faults += source.faults + read_faults(source, f"Checking {part.kind}")
    return faults


def _whole(part: Part) -> Part:
    """All samples of the part, its folder made absolute: the same data have one cache wherever a command runs."""
    return part if part.kind == "synthetic" else Part(part.kind, Path(os.path.realpath(part.path)), part.split)


def _refusal(spec: str, faults: Sequence[Fault]) -> str:
    shown = "\n".join(f"  {fault}" for fault in faults[:5])
    more = f"\n  and {len(faults) - 5} more" if len(faults) > 5 else ""
    count = "1 sample" if len(faults) == 1 else f"{len(faults)} samples"
    return f"'{spec}': {count} cannot be used; fix them (`hpe data check` lists all) or pass --skip-bad:\n{shown}{more}"


def _join(parts: Sequence[Cached]) -> Faces:
    """One Faces of several caches; the images of a mixture are copied into memory."""
    names = list(dict.fromkeys(name for part in parts for name in part.extra))
    return Faces(
        images=parts[0].images if len(parts) == 1 else np.concatenate([part.images for part in parts]),
        pose_deg=np.concatenate([part.pose_deg for part in parts]),
        ids=[name for part in parts for name in part.ids],
        dropped=sum(part.dropped for part in parts),
        skipped=sum(len(part.faults) for part in parts),
        extra={name: np.concatenate([_column(part, name, parts) for part in parts]) for name in names},
    )


def _column(part: Cached, name: str, parts: Sequence[Cached]) -> np.ndarray:
    """A column of one source; NaN or empty text where the source does not have it."""
    if name in part.extra:
        return part.extra[name]
    like = next(other.extra[name] for other in parts if name in other.extra)
    return np.full(len(part.ids), np.nan if like.dtype.kind == "f" else "", like.dtype)
