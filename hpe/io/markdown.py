"""Tables in Markdown, for reports, cards and benchmarks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]], text: int = 1) -> str:
    """A heading and one line a row, without a newline at the end; columns after the first `text` stand to the right.

    Bars and newlines in cells are written so that they stay in theirs; ValueError for a row of another width.
    """
    rule = "|" + "---|" * text + "---:|" * (len(headings) - text)
    lines = [_line(headings), rule]
    for row in rows:
        if len(row) != len(headings):
            raise ValueError(f"{len(row)} cells under {len(headings)} headings: {list(row)}")
        lines.append(_line(row))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
