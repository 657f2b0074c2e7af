"""`hpe study`: run grids of trainings from a TOML, see how far they are, and report them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from hpe.cli.output import Json, say, write_result

Folder = Annotated[Path, arg(metavar="DIR")]


def report(folder: Positional[Folder], out: Path, json: Json = None) -> None:
    """Make the page of a study: report.html, the same as report.md and report.tex, tables as CSV, plots as PNG and SVG.

    Whatever is complete is reported; the page says what is missing.

    Args:
        folder: The study's folder; plan.json and runs/ID/result.json are enough.
        out: Folder for the page.
        json: Write the rows here.
    """
    from hpe.study.report import print_table, write_study_report

    tables = write_study_report(folder, out)
    for spec, rows in tables.items():
        print_table(rows, f"Data: {spec}")
    write_result(json, tables)
    say(f"open {out / 'report.html'}")


COMMANDS: dict[str, Callable[..., None]] = {
    "report": report,
}
