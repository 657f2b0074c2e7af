"""`hpe data`: check, look at and prepare data sets."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, Positional, arg

from hpe.cli.output import Data, Json, write_result
from hpe.data.turning import TurnConfig
from hpe.io.processes import say


def check(
    spec: Positional[Data], against: Annotated[str | None, arg(metavar="SPEC")] = None, json: Json = None
) -> None:
    """List everything that is wrong with a data set; exit 1 if anything is.

    Args:
        spec: The data (as in hpe train).
        against: Other data, for instance the test set; list the faces that look like copies of one there, mirrored too.
        json: Write the list here.
    """
    from dataclasses import asdict

    from hpe.data.duplicates import near_duplicates
    from hpe.data.faces import check_data

    faults = check_data(spec)
    for fault in faults:
        say(str(fault))
    say(f"{spec}: {len(faults)} bad" if faults else f"{spec}: nothing wrong")
    pairs = [] if against is None else near_duplicates(spec, against)
    for pair in pairs:
        say(str(pair))
    if against is not None:
        say(f"{spec}: {len(pairs) or 'no'} near-duplicates of {against}")
    write_result(json, {"bad": [asdict(f) for f in faults], "near_duplicates": [asdict(p) for p in pairs]})
    if faults or pairs:
        sys.exit(1)


def preview(spec: Positional[Data], out: Path, count: int = 64, skip_bad: bool = False) -> None:
    """Draw a sheet of the data with each label as axes: red to the subject's left, green down, blue out of the face.

    Args:
        spec: The data (as in hpe train).
        out: The picture to write, for instance sheet.png.
        count: How many faces, taken evenly from the data.
        skip_bad: Leave out samples that cannot be read instead of refusing.
    """
    from hpe.data.preview import write_preview

    shown = write_preview(spec, out, count, skip_bad)
    say(f"{out}: {shown} faces of {spec}")


def prepare(spec: Positional[Data], json: Json = None) -> None:
    """Decode a data set into the cache that training reads, in parallel; goes on where an interrupted call stopped.

    Args:
        spec: The data (as in hpe train). A missing benchmark data set is answered by how to obtain it.
        json: Write the counts here.
    """
    from dataclasses import asdict

    from hpe.data.faces import prepare as prepare_data

    summary = prepare_data(spec)
    for part in summary:
        say(str(part))
    write_result(json, [asdict(part) for part in summary])
    say("next: hpe train --data SPEC --out RUN, with the same SPEC")


def turn(spec: Positional[Data], out: Path, turn: OmitArgPrefixes[TurnConfig] = TurnConfig()) -> None:  # noqa: B008
    """Turn faces further to the side, up or down: a data set of wide poses from real photographs, labels following.

    Example: hpe data turn csv:faces@train --out turned, then hpe train --data csv:faces@train+csv:turned ...

    Args:
        spec: The data (as in hpe train).
        out: Folder for the new data set; it must be new.
    """
    from hpe.data.turning import write_turned

    write_turned(spec, out, turn, report=say)
    say(f"next: hpe data preview csv:{out} --out sheet.png, hpe train --data {spec}+csv:{out} --out RUN")


COMMANDS: dict[str, Callable[..., None]] = {"check": check, "preview": preview, "prepare": prepare, "turn": turn}
