"""Data specifications (`csv:DIR@train+synthetic:full:20000`) and the faults that data can have."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hpe.io.errors import HpeError

KINDS = ("csv", "aflw2000", "300w-lp", "biwi", "synthetic")


class DataError(HpeError, ValueError):
    """Data that cannot be used; the message names the file and row and says what to do."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a data source."""

    source: str
    """The file, and the row where there is one."""
    what: str
    """What is wrong with it."""
    remedy: str
    """What to do."""

    def __str__(self) -> str:
        return f"{self.source}: {self.what}; {self.remedy}"


@dataclass(frozen=True)
class Part:
    """One source of a specification."""

    kind: str
    """csv, aflw2000, 300w-lp, biwi or synthetic."""
    path: Path = Path()
    """The folder; not used by synthetic."""
    split: str = ""
    """Which split, or all where empty."""
    preset: str = ""
    """synthetic: the kind of heads."""
    count: int = 0
    """synthetic: how many images."""
    seed: int = 0
    """synthetic: the seed they are drawn from."""
    subset: int = 0
    """Only this many of the samples, or all where 0."""

    def __str__(self) -> str:
        if self.kind == "synthetic":
            return f"synthetic:{self.preset}:{self.count}:{self.seed}"
        split = f"@{self.split}" if self.split else "/" if {"@", "#"} & set(self.path.name) else ""
        return f"{self.kind}:{self.path}{split}" + (f"#{self.subset}" if self.subset else "")


def parse_spec(spec: str) -> list[Part]:
    """The parts of `KIND:DIR[@split][#COUNT]` or `synthetic:PRESET:COUNT[:SEED]`, joined by `+`.

    `#COUNT` takes a subset, always the same (`hpe.data.faces.subset`). A `+` separates only before a kind and its
    colon. `DIR@NAME` is the split NAME of DIR, unless a folder DIR@NAME is there and no folder DIR; `DIR@NAME/` is the
    folder in any case.
    """
    texts = re.split(rf"\+(?=(?:{'|'.join(KINDS)}):)", spec.strip())
    return [_parse_part(text) for text in texts]


def _parse_part(text: str) -> Part:
    kind, colon, rest = text.partition(":")
    if kind not in KINDS or not colon or not rest:
        forms = "csv:DIR, aflw2000:DIR, 300w-lp:DIR, biwi:DIR (each with an optional @split) or synthetic:PRESET:COUNT"
        raise DataError(f"'{text}' is no data specification; write {forms}[:SEED], several joined by '+'.")
    if kind == "synthetic":
        return _parse_synthetic(text, rest)
    rest, subset = _split_subset(text, rest)
    folder, at, split = rest.rpartition("@")
    if not at or "/" in split or not folder or (_is_folder(rest) and not _is_folder(folder)):
        folder, split = rest, ""
    elif not split:
        raise DataError(
            f"'{text}' ends in '@'; name the split after it, end the name of a folder with '/', or leave the '@' out."
        )
    try:
        return Part(kind, Path(folder).expanduser(), split, subset=subset)
    except RuntimeError:
        raise DataError(f"'{text}': there is no user of the name after '~'; write the whole path.") from None


def _split_subset(text: str, rest: str) -> tuple[str, int]:
    """What stands before `#COUNT`, and the count; 0 where there is none, or where it belongs to a folder's name."""
    before, mark, count = rest.rpartition("#")
    if not mark or "/" in count or _is_folder(rest):
        return rest, 0
    if not count.isdecimal() or not int(count):
        raise DataError(f"'{text}': after '#' comes the number of samples to take, or end the folder's name with '/'.")
    return before, int(count)


def _is_folder(text: str) -> bool:
    try:
        return Path(text).expanduser().is_dir()
    except (OSError, RuntimeError, ValueError):  # a name too long, no such user, a zero byte
        return False


def _parse_synthetic(text: str, rest: str) -> Part:
    from hpe.synthetic import PRESETS

    preset, *numbers = rest.split(":")
    if preset not in PRESETS:
        raise DataError(f"'{text}': there is no preset '{preset}'; choose from {', '.join(PRESETS)}.")
    if len(numbers) not in (1, 2) or not all(number.isdecimal() for number in numbers):
        raise DataError(f"'{text}': write synthetic:{preset}:COUNT or synthetic:{preset}:COUNT:SEED, in whole numbers.")
    count, seed = int(numbers[0]), int(numbers[1]) if len(numbers) == 2 else 0
    if not 1 <= count <= 10_000_000:
        raise DataError(f"'{text}': the number of images must lie between 1 and 10,000,000, not {count}.")
    return Part("synthetic", preset=preset, count=count, seed=seed)
