"""The published grid (TENCON 2022, 39 rows), its own noise, and where it contradicts itself. Errors in degrees."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpe.study.statistics import Noise, pooled

GRID = Path(__file__).parent / "tencon2022_grid.csv"
KINDS = {"pruned": "pruned", "sparsity": "sparsity-optimised", "quantized": "quantised"}
"""The columns of the grid: the paper's kinds of file."""
BASELINE_DEG = 8.63
"""The paper's network before pruning; that its grid does not hold it is why it stands here."""
EPOCHS = 80
"""Of each published run."""

Settings = tuple[str, float, float, int, int]
"""schedule, first and last sparsity, first and last epoch of pruning."""


@dataclass(frozen=True)
class PaperRow:
    """One published run."""

    line: int
    """Its row in the grid, from 1."""
    settings: Settings
    """What tells it from others."""
    mae_deg: dict[str, float]
    """Mean error by kind of file."""
    raw_mb: dict[str, float]
    """Size by kind of file."""
    gzip_mb: dict[str, float]
    """Size after gzip by kind of file."""


@dataclass(frozen=True)
class Setting:
    """All published runs with the same settings: one, or two where a row stands twice."""

    settings: Settings
    """schedule, first and last sparsity, first and last epoch of pruning."""
    rows: tuple[PaperRow, ...]
    """In the order of the grid."""

    @property
    def name(self) -> str:
        """The settings in words."""
        return setting_name(self.settings)

    def mae(self, kind: str = "pruned") -> float:
        """Mean error of its runs."""
        return sum(row.mae_deg[kind] for row in self.rows) / len(self.rows)

    def mb(self, kind: str, gzip: bool) -> float:
        """Mean size of its runs."""
        return sum((row.gzip_mb if gzip else row.raw_mb)[kind] for row in self.rows) / len(self.rows)


def setting_name(settings: Settings) -> str:
    """Settings in words, as `polynomial 0 to 75 %, epochs 0 to 60`."""
    schedule, first, last, begin, end = settings
    start = f"{first * 100:g} to " if schedule == "polynomial" else ""
    return f"{schedule} {start}{last * 100:g} %, epochs {begin} to {end}"


def read_grid(path: Path = GRID) -> list[PaperRow]:
    """The published rows in their order."""
    rows = []
    with path.open(encoding="utf-8") as file:
        for line, row in enumerate(csv.DictReader(file), 1):
            sparsities = float(row["initial_sparsity"]), float(row["final_sparsity"])
            settings = (row["schedule"], *sparsities, int(row["begin_epoch"]), int(row["end_epoch"]))
            figures = [
                {kind: float(row[f"{kind}_{name}"]) for kind in KINDS} for name in ("mae_mean", "raw_mb", "gzip_mb")
            ]
            rows.append(PaperRow(line, settings, *figures))
    return rows


def distinct(rows: Sequence[PaperRow]) -> dict[Settings, Setting]:
    """The rows by their settings."""
    by_settings: dict[Settings, list[PaperRow]] = {}
    for row in rows:
        by_settings.setdefault(row.settings, []).append(row)
    return {settings: Setting(settings, tuple(same)) for settings, same in by_settings.items()}


def paper_noise(rows: Sequence[PaperRow], kind: str = "pruned") -> Noise:
    """The spread of a published run, from the settings that were run twice."""
    return pooled([row.mae_deg[kind] for row in setting.rows] for setting in distinct(rows).values())


def quantising_noise(rows: Sequence[PaperRow]) -> Noise:
    """The spread of what quantising costs, from the same settings: both files come from one network."""
    settings = distinct(rows).values()
    return pooled([row.mae_deg["quantized"] - row.mae_deg["pruned"] for row in setting.rows] for setting in settings)


def best_of_each(rows: Sequence[PaperRow]) -> list[Setting]:
    """The settings with the least error of each last sparsity and schedule, polynomial first."""
    best: dict[tuple[float, str], Setting] = {}
    for setting in distinct(rows).values():
        key = setting.settings[2], setting.settings[0]
        if key not in best or setting.mae() < best[key].mae():
            best[key] = setting
    return [best[key] for key in sorted(best, key=lambda key: (key[0], key[1] != "polynomial"))]


def contradictions(rows: Sequence[PaperRow]) -> list[str]:
    """What cannot be so in the grid, each found by comparing its columns; and what does not fit its text."""
    larger = [row.line for row in rows if row.gzip_mb["sparsity"] > row.raw_mb["sparsity"]]
    copied = [row.line for row in rows if row.mae_deg["pruned"] != row.mae_deg["sparsity"] == row.mae_deg["quantized"]]
    dense = [row.line for row in rows if row.gzip_mb["pruned"] > 0.9 * row.raw_mb["pruned"]]
    best = min((row for row in rows if row.settings[2] == 0.875), key=lambda row: row.mae_deg["pruned"])
    found = [
        f"In {len(larger)} rows the sparsity-optimised file is larger after gzip than before (rows {_list(larger)}): "
        "a raw size was copied there from another row.",
        f"The sparsity-optimised file computes what the pruned one does, but row {_list(copied)} gives it the error of "
        "the quantised file: a copying slip.",
        f"Row {_list(dense)} says that half of the weights are zero; its gzipped size says that none is.",
        f"The best 87.5 % row ({setting_name(best.settings)}: {best.mae_deg['pruned']:.2f}, quantised "
        f"{best.mae_deg['quantized']:.2f} degrees at {best.gzip_mb['quantized']:.2f} MB after gzip) is not the one in "
        "the paper's Table I.",
        "The 110 MB of the unpruned network are a training file with the optimiser's two slots; as TFLite it has "
        f"{rows[0].raw_mb['pruned']} MB, so that the factor by which files shrink is 3 times too large.",
    ]
    return found


def _list(lines: Sequence[int]) -> str:
    """Row numbers in words, runs of them joined: 1 to 18, 25."""
    spans: list[list[int]] = []
    for line in lines:
        if spans and line == spans[-1][-1] + 1:
            spans[-1] = [spans[-1][0], line]
        else:
            spans.append([line])
    return ", ".join(" to ".join(str(end) for end in span) for span in spans)
