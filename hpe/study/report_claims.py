"""Every "A is better than B" of a report: between rows of a study, and the paper's own beside ours."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpe.study.paper import PaperRow, Setting, Settings, best_of_each, distinct, paper_noise, quantising_noise
from hpe.study.report_rows import Groups, Row, reference_lines
from hpe.study.statistics import Comparison, Draws, Files, variance

EQUAL = {"int8_bytes": "int8 bytes", "int8_gzip_bytes": "int8 bytes after gzip", "flash": "flash",
         "macs": "multiply-accumulates", "cycles": "cycles"}  # fmt: skip
TABLE, SCHEDULE = "the best rows (Table I)", "polynomial against constant"
WINDOW, FIRST = "epochs 0 to 60 against another window", "a first sparsity above 0"
CONTROL = "a control against its row"
QUANTISE = "quantising against float"
BEST_WINDOW: Settings = ("polynomial", 0.0, 0.5, 0, 60)
"""The paper's best row."""


@dataclass(frozen=True)
class Claim:
    """A against B among our rows, by the error of the int8 files."""

    question: str
    """Why these two are compared."""
    a: str
    """A row."""
    b: str
    """Another row."""
    seeds: tuple[int, int]
    """How many of each."""
    result: Comparison | None
    """None where no poses were noted face by face."""


@dataclass(frozen=True)
class PaperClaim:
    """A against B in the paper, and in the rows that repeat it."""

    question: str
    """Which of the paper's questions it answers."""
    a: str
    """Settings in words."""
    b: str
    """Settings in words."""
    paper_deg: float
    """Published error of A less that of B."""
    limit_deg: float
    """Differences up to this are inside the paper's own noise."""
    ours: Comparison | None
    """None where it was not repeated."""
    seeds: tuple[int, int]
    """How many of ours; (0, 0) where it was not repeated."""

    @property
    def inside(self) -> bool:
        """Whether the published difference is inside the paper's noise."""
        return abs(self.paper_deg) <= self.limit_deg

    @property
    def verdict(self) -> str:
        """Whether ours agree."""
        if self.ours is None:
            return "not repeated"
        if not self.ours.decided:
            return "undecided here"
        return "agrees" if (self.ours.difference_deg < 0) == (self.paper_deg < 0) else "does not agree"


def study_claims(rows: Sequence[Row], draws: Draws | None) -> list[Claim]:
    """Twins against the rows that they are twins of, and against each other, one by one and in the mean of all that
    differ in their row alone; rows against those that they name; the best of each family against the others' best.

    The best are chosen by validation faces where rows know an error on them (`make_rows`).
    """
    by_name = {row["model"]: row for row in rows}
    twins = _twin_pairs(by_name)
    asked = [(question + _share(by_name[a], by_name[b]), a, b, [(a, b)]) for question, a, b in twins]
    asked += [(CONTROL, row["model"], row["against"], [(row["model"], row["against"])])
              for row in rows if row["against"] in by_name]  # fmt: skip
    best = _best_of_families(rows)
    asked += [("the best of each family", best[0], other, [(best[0], other)]) for other in best[1:]]
    together: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for question, a, b in twins:
        row = by_name[a]["twin"]["of"]
        together.setdefault((question, a.replace(row, "*"), b.replace(row, "*")), []).append((a, b))
    asked += [(f"{q}, mean of {len(of)}", a, b, of) for (q, a, b), of in together.items() if len(of) > 1]
    claims = []
    for question, a, b, of in asked:
        one, other = (sum(by_name[name]["n"] for name in set(names)) for names in zip(*of, strict=True))
        result = compared(draws, *(((mine, "int8"), (theirs, "int8")) for mine, theirs in of))
        claims.append(Claim(question, a, b, (one, other), result))
    return claims


def _best_of_families(rows: Sequence[Row]) -> list[str]:
    """The best row of each family, controls left out; the best of all first."""
    best: dict[str, Row] = {}
    for row in rows:
        error = row["choice_mae_deg"]
        if row["int8_mae_deg"] is not None and row["role"] != "control":
            known = best.get(row["family"])
            best[row["family"]] = row if known is None or error < known["choice_mae_deg"] else known
    return [row["model"] for row in sorted(best.values(), key=lambda row: row["choice_mae_deg"])]


def _twin_pairs(rows: Mapping[str, Row]) -> list[tuple[str, str, str]]:
    """In what they are equal, a twin, and its row, or another twin of that row with another role."""
    twins = [row for row in rows.values() if row["twin"]]
    pairs = [(row, row["twin"]["of"]) for row in twins if row["twin"]["of"] in rows]
    pairs += [
        (a, b["model"])
        for a, b in itertools.product(twins, twins)
        if a["role"] == "twin" != b["role"] and a["twin"] == b["twin"]
    ]
    return [(f"at equal {EQUAL[a['twin']['equal']]}", a["model"], b) for a, b in pairs]


def _share(a: Row, b: Row) -> str:
    """What a twin has of the measure in which it was to equal b, as a share of b's, where both were measured."""
    mine, other = _figure(a["twin"]["equal"], a, b), _figure(a["twin"]["equal"], b, a)
    return f" (A has {mine / other:.3f} of B's)" if mine and other else ""


def _figure(measure: str, row: Row, beside: Row) -> float | None:
    """What a row has of a twin's measure; flash and cycles as C, on the first board by name that both know."""
    if measure in ("flash", "cycles"):
        key = "flash_bytes" if measure == "flash" else "cycles"
        boards = [b for b, engines in row["boards"].items() if "c" in engines and "c" in beside["boards"].get(b, {})]
        return row["boards"][min(boards)]["c"][key] if boards else None
    return row[{"int8_bytes": "int8_mb", "int8_gzip_bytes": "int8_gzip_mb", "macs": "nonzero_macs"}[measure]]


def compared(draws: Draws | None, *pairs: tuple[Files, Files]) -> Comparison | None:
    """A against B in the mean of all pairs; None where one of them was not drawn."""
    if draws is None or not all(files in draws.drawn for pair in pairs for files in pair):
        return None
    return draws.compare(*pairs)


def our_rows(groups: Groups, grid: Sequence[PaperRow]) -> dict[Settings, str]:
    """Which of our rows repeats which published settings; the first, where several do."""
    by_line = {row.line: row.settings for row in grid}
    found = {}
    for name, by_seed in groups.items():
        for line in reference_lines(next(iter(by_seed.values())).study):
            if line in by_line:
                found.setdefault(by_line[line], name)
    return found


def paper_claims(grid: Sequence[PaperRow], groups: Groups, draws: Draws | None) -> list[PaperClaim]:
    """What the paper concludes from its grid, each with its noise and with our rows."""
    claims = _between_rows(
        [(question, a.name, b.name, [(a, b)]) for question, a, b in _pairs(grid)], grid, groups, draws
    )
    ours, quantising = our_rows(groups, grid), quantising_noise(grid)
    for setting in distinct(grid).values():
        name = ours.get(setting.settings)
        kind = "dynamic" if draws is not None and (name, "dynamic") in draws.drawn else "int8"
        result = compared(draws, ((name, kind), (name, "float"))) if name else None
        cost = setting.mae("quantized") - setting.mae("pruned")
        times = len(setting.rows)
        limit = quantising.limit_deg(1 / times)  # one cost against zero, not against another
        seeds = _seeds(groups, name), _seeds(groups, name)
        claims.append(PaperClaim(QUANTISE, f"{setting.name}, quantised", "float", cost, limit, result, seeds))
    return claims


def paper_means(grid: Sequence[PaperRow], groups: Groups, draws: Draws | None) -> list[PaperClaim]:
    """The same comparisons between rows, in the mean of all with one question and one last sparsity."""
    together: dict[tuple[str, float], list[tuple[Setting, Setting]]] = {}
    for question, a, b in _pairs(grid):
        if question != TABLE:
            together.setdefault((question, a.settings[2]), []).append((a, b))
    asked = [
        (question, f"to {last * 100:g} %, mean of {len(pairs)}", "-", pairs)
        for (question, last), pairs in together.items()
        if len(pairs) > 1
    ]
    return _between_rows(asked, grid, groups, draws)


def _between_rows(
    asked: Sequence[tuple[str, str, str, Sequence[tuple[Setting, Setting]]]],
    grid: Sequence[PaperRow],
    groups: Groups,
    draws: Draws | None,
) -> list[PaperClaim]:
    """For each question, A and B in words, and pairs of rows: a claim about the mean of the pairs."""
    ours, noise = our_rows(groups, grid), paper_noise(grid)
    claims = []
    for question, a, b, pairs in asked:
        runs = {setting.settings: len(setting.rows) for pair in pairs for setting in pair}
        limit = noise.limit_deg(variance([(one.settings, other.settings) for one, other in pairs], runs.__getitem__))
        difference = sum(one.mae() - other.mae() for one, other in pairs) / len(pairs)
        names = [(ours.get(one.settings, ""), ours.get(other.settings, "")) for one, other in pairs]
        result = compared(draws, *(((mine, "float"), (theirs, "float")) for mine, theirs in names))
        first, second = (sum(_seeds(groups, name) for name in set(side)) for side in zip(*names, strict=True))
        claims.append(PaperClaim(question, a, b, difference, limit, result, (first, second)))
    return claims


def _pairs(grid: Sequence[PaperRow]) -> list[tuple[str, Setting, Setting]]:
    """Which published settings are compared, and why."""
    settings, table = distinct(grid), best_of_each(grid)
    pairs = [(TABLE, a, b) for a, b in zip(table[::2], table[1::2], strict=True)]
    for key, setting in settings.items():
        schedule, first, last, begin, end = key
        constant = settings.get(("constant", 0.0, last, begin, end))
        if schedule == "polynomial" and first == 0 and constant:
            pairs.append((SCHEDULE, setting, constant))
    best = settings[BEST_WINDOW]
    pairs += [(WINDOW, best, s) for key, s in settings.items() if key[:3] == BEST_WINDOW[:3] and s is not best]
    for key, setting in settings.items():
        if key[0] == "polynomial" and key[1] > 0:
            pairs.append((FIRST, setting, settings[("polynomial", 0.0, *key[2:])]))
    return pairs


def _seeds(groups: Groups, name: Any) -> int:
    return len(groups[name]) if name in groups else 0


def count(claims: Sequence[PaperClaim]) -> list[dict[str, Any]]:
    """How many claims of each question are inside the noise, and how many ours agree with."""
    counts = []
    for question in dict.fromkeys(claim.question for claim in claims):
        mine = [claim for claim in claims if claim.question == question]
        verdicts = [claim.verdict for claim in mine]
        row = {"question": question, "comparisons": len(mine), "inside_noise": sum(claim.inside for claim in mine)}
        row |= {name: verdicts.count(name) for name in ("agrees", "does not agree", "undecided here", "not repeated")}
        counts.append(row)
    return counts
