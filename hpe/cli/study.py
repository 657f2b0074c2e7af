"""`hpe study`: run grids of trainings from a TOML, see how far they are, and report them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, Positional, arg

from hpe.cli.output import Json, write_result
from hpe.io.processes import say
from hpe.study.where import Where

Toml = Annotated[Path, arg(metavar="FILE.toml")]
Folder = Annotated[Path, arg(metavar="DIR")]


def run(file: Positional[Toml], out: Path, where: OmitArgPrefixes[Where] = Where()) -> None:  # noqa: B008
    """Run what is missing of a study. Example: hpe study run benchmarks/studies/smoke.toml --out runs/smoke

    What it costs is printed first. It may be stopped or killed at any moment; the same command goes on. Exit code 1
    where a run failed: its log is in DIR/failed, and the run is tried again when the log is deleted.

    Args:
        file: The study.
        out: Folder of the study; it must be new, or hold this study.
    """
    from hpe.io.interrupts import endings_interrupt, signal_of
    from hpe.study.progress import summary
    from hpe.study.run import run_study

    try:
        with endings_interrupt():
            counts = run_study(file, out, where, report=say)
    except KeyboardInterrupt as interrupt:
        print(f"hpe: interrupted; the same command goes on with {out}", file=sys.stderr)
        sys.exit(128 + signal_of(interrupt))
    say(f"{out}: {summary(counts)}")
    say(f"next: hpe study report {out} --out page")
    if counts.failed or counts.blocked:
        sys.exit(1)


def status(folder: Positional[Folder]) -> None:
    """Say which runs of a study are done, running, failed or to come.

    Args:
        folder: The study's folder.
    """
    from hpe.study.folder import StudyFolder
    from hpe.study.plan import read_plan
    from hpe.study.progress import status_lines

    place = StudyFolder(folder)
    for line in status_lines(read_plan(place), place):
        say(line)


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
    "run": run,
    "status": status,
    "report": report,
}
