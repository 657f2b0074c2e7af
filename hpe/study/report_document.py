"""A report as chapters of texts, tables and drawings, and the three ways of writing it: HTML, Markdown, LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpe.study.page import Section, bullets, figure, folded, paragraphs, picture
from hpe.study.report_tables import Table, latex_text


@dataclass(frozen=True)
class Drawing:
    """A plot, or a picture."""

    title: str
    """What it shows."""
    file: Path
    """PNG, from the report's folder."""
    svg: str = ""
    """As part of a page; empty for a picture that is only a PNG."""


@dataclass(frozen=True)
class Folded:
    """What the page shows after a click."""

    title: str
    """What is in it."""
    table: Table
    """It."""


Item = str | list[str] | Table | Drawing | Folded | list[Drawing]
"""A paragraph, a list of remarks, a table, a drawing, something folded, or drawings side by side."""


@dataclass(frozen=True)
class Chapter:
    """A part of the report."""

    name: str
    """Its anchor."""
    title: str
    """Its heading."""
    items: Sequence[Item]
    """In order."""


def section(chapter: Chapter, folder: Path) -> Section:
    """The chapter as HTML; pictures are read from `folder`."""
    return Section(chapter.name, chapter.title, "".join(_html(item, folder) for item in chapter.items))


def _html(item: Item, folder: Path) -> str:
    if isinstance(item, str):
        return paragraphs(item)
    if isinstance(item, Table):
        return item.html()
    if isinstance(item, Folded):
        return folded(item.title, item.table.html())
    if isinstance(item, Drawing):
        return figure(item.title, item.svg) if item.svg else picture(folder / item.file, item.title)
    drawings = [entry for entry in item if isinstance(entry, Drawing)]
    if drawings:
        return '<div class="plots">' + "".join(_html(drawing, folder) for drawing in drawings) + "</div>"
    return bullets([str(entry) for entry in item])


def markdown(title: str, lead: Sequence[str], chapters: Sequence[Chapter]) -> str:
    """The report as Markdown."""
    text = f"# {title}\n\n" + "".join(f"{line}\n\n" for line in lead if line)
    for chapter in chapters:
        text += f"## {chapter.title}\n\n" + "".join(_markdown(item) + "\n" for item in chapter.items)
    return text.rstrip() + "\n"


def _markdown(item: Item) -> str:
    if isinstance(item, str):
        return f"{item}\n"
    if isinstance(item, Folded):
        return f"{item.title}:\n\n{_markdown(item.table)}"
    if isinstance(item, Table):
        return (f"{item.note}\n\n" if item.note else "") + item.markdown()
    if isinstance(item, Drawing):
        return f"![{item.title}]({item.file.as_posix()})\n"
    return "\n".join(_markdown(entry) if isinstance(entry, Drawing) else f"- {entry}" for entry in item) + "\n"


def latex(title: str, lead: Sequence[str], chapters: Sequence[Chapter]) -> str:
    """The report as a LaTeX document; its tables can be taken out of it one by one."""
    text = "\\documentclass{article}\n\\usepackage[utf8]{inputenc}\n\\usepackage{booktabs,graphicx}\n"
    text += f"\\title{{{latex_text(title)}}}\n\\date{{}}\n\\begin{{document}}\n\\maketitle\n"
    text += "".join(f"{latex_text(line)}\n\n" for line in lead if line)
    for chapter in chapters:
        text += f"\\section{{{latex_text(chapter.title)}}}\n" + "".join(_latex(item) + "\n" for item in chapter.items)
    return text + "\\end{document}\n"


def _latex(item: Item) -> str:
    if isinstance(item, str):
        return latex_text(item) + "\n"
    if isinstance(item, Folded):
        return item.table.latex()
    if isinstance(item, Table):
        return item.latex()
    if isinstance(item, Drawing):
        image = f"\\includegraphics[width=\\linewidth]{{{item.file.as_posix()}}}"
        return f"\\begin{{figure}}\n\\centering\n{image}\n\\caption{{{latex_text(item.title)}}}\n\\end{{figure}}\n"
    if any(isinstance(entry, Drawing) for entry in item):
        return "".join(_latex(entry) for entry in item)
    return "\\begin{itemize}\n" + "".join(f"\\item {latex_text(str(entry))}\n" for entry in item) + "\\end{itemize}\n"


def tables(chapters: Sequence[Chapter]) -> list[Table]:
    """Every table of the report."""
    items = [item for chapter in chapters for item in chapter.items]
    return [item.table if isinstance(item, Folded) else item for item in items if isinstance(item, (Table, Folded))]
