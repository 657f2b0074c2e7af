"""The kernels' own C files, cut to the functions that one model needs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

KERNELS = Path(__file__).parent / "kernels"
_LOCAL = re.compile(r'#include "(?:\.\./)?(\w+)\.h"')
_FUNCTION = re.compile(r"^(?:KERNEL|ASSEMBLY|ONE_COPY|static inline)\b[^(]*?(\w+)\(", re.MULTILINE)
_CALL = re.compile(r"\b(\w+)\(")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_WORD = re.compile(r"\w+")
_PIECE = re.compile(r"^#ifndef (\w+)\n#define \1 1\n#endif$", re.MULTILINE)


@dataclass(frozen=True)
class _Part:
    """A top-level piece of a file: a function, a prototype, or anything else (name is empty: it always stays)."""

    name: str
    text: str


def kernel_source(functions: set[str], pieces: set[str] | None = None) -> str:
    """C text that defines these kernel functions, and what they need, in an order that compiles.

    pieces: those of their pieces that are wanted (see KEEP of kernels/common.h); None: all.
    """
    functions = needed_functions(functions)
    units = [unit for unit in _units() if functions & _defined(unit)]
    ordered: list[str] = []
    for unit in units:
        _add_with_needs(unit, ordered)
    text = "\n\n".join(_unit_text(unit, functions) for unit in ordered)
    spared = [] if pieces is None else [piece for piece in _PIECE.findall(text) if piece not in pieces]
    return "\n".join([*(f"#define {piece} 0" for piece in spared), "", text]).lstrip("\n")


def needed_functions(functions: set[str]) -> set[str]:
    """The functions, and those of other units that they call."""
    everything = {name: unit for unit in _units() for name in _defined(unit)}
    found, new = set(functions), set(functions)
    while new:
        units = {everything[name] for name in new if name in everything}
        text = " ".join(
            part.text
            for unit in units
            for kind in ("dsp", "portable")
            for part in _needed(_parts(KERNELS / kind / f"{unit}.c"), found)
            if part.name
        )
        new = (set(_CALL.findall(_COMMENT.sub("", text))) & set(everything)) - found
        found |= new
    return found


@cache
def _units() -> list[str]:
    return sorted(path.stem for path in KERNELS.glob("*.h") if path.stem != "common")


@cache
def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


@cache
def _defined(unit: str) -> frozenset[str]:
    return frozenset(part.name for part in _parts(KERNELS / f"{unit}.h") if part.name)


def _add_with_needs(unit: str, ordered: list[str]) -> None:
    if unit in ordered:
        return
    for needed in _LOCAL.findall(_read(KERNELS / f"{unit}.h")):
        _add_with_needs(needed, ordered)
    ordered.append(unit)


@cache
def _parts(path: Path) -> tuple[_Part, ...]:
    """Cut at blank lines outside of braces; includes of local files and include guards are left out."""
    parts, lines, depth = [], [], 0
    text = _read(path)
    guard = re.search(r"#ifndef (\w+)\n#define \1\n", text)
    if guard:
        text = text[: guard.start()] + text[guard.end() :].rstrip().removesuffix("#endif")
    for line in [*text.splitlines(), ""]:
        if _LOCAL.match(line):
            continue
        if not line.strip() and depth == 0:
            if lines:
                parts.append(_part("\n".join(lines)))
            lines = []
        else:
            lines.append(line)
            depth += line.count("{") - line.count("}")
    return tuple(parts)


def _part(text: str) -> _Part:
    match = _FUNCTION.search(text)
    return _Part(match[1] if match and not text.startswith("#") else "", text)


def _unit_text(unit: str, functions: set[str]) -> str:
    header = _parts(KERNELS / f"{unit}.h")
    bodies = [_parts(KERNELS / kind / f"{unit}.c") for kind in ("dsp", "portable")]
    if unit == "common":
        return "\n\n".join(part.text for part in header)
    dsp, portable = ([part.text for part in _needed(body, functions)] for body in bodies)
    texts = [part.text for part in header if not part.name or part.name in functions]
    if dsp and portable:
        texts += ["#if DSP_KERNELS", *dsp, "#else", *portable, "#endif"]
    else:
        texts += portable
    return "\n\n".join(texts)


def _needed(parts: tuple[_Part, ...], functions: set[str]) -> list[_Part]:
    """What is in `functions` and what that mentions, in file order."""
    names = {part.name: part for part in parts if part.name}
    wanted = [name for name in names if name in functions]
    kept: set[str] = set()
    unnamed = " ".join(part.text for part in parts if not part.name)
    while wanted:
        name = wanted.pop()
        if name not in kept:
            kept.add(name)
            wanted += [word for word in _WORD.findall(names[name].text + " " + unnamed) if word in names]
    return [part for part in parts if not part.name or part.name in kept]
