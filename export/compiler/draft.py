"""A block's step while it is made: what the other files of lowering add to."""

from dataclasses import dataclass, field

from export.compiler.graph import Block, Graph
from export.compiler.step import Struct, Table


@dataclass
class Draft:
    """A step while it is made."""

    graph: Graph
    block: Block
    tag: str
    fields: dict[str, str | int] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    structs: list[Struct] = field(default_factory=list)
    functions: set[str] = field(default_factory=set)
    pieces: set[str] = field(default_factory=set)

    def need(self, piece: str, zero_point: int) -> None:
        """An ending: where the zero point is -128, the one that clamps negative results to it."""
        self.pieces.add(piece + ("_POSITIVE" if zero_point == -128 else ""))

    def use(self, stage: str, function: str) -> None:
        self.fields[stage] = function
        self.functions.add(function)


@dataclass
class Kinds:
    """What `choose` says for each convolution; empty: the block has none."""

    expand: str = ""
    project: str = ""

    def __str__(self) -> str:
        return " + ".join(kind for kind in (self.expand, self.project) if kind) or "depthwise"
