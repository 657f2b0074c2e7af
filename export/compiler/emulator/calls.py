"""Single kernels on the emulated Cortex-M4: arrays in, arrays out, instructions of each call.

board = Board(["dense"])
tile = board.put(np.zeros(64, np.int16))
board.call("dense_to_image", board.struct(weights, channels, ...), tile, 4, image)
counts = board.run()
board.get(image)
"""

from __future__ import annotations

import re
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from export.compiler import emulator

KERNELS = emulator.FOLDER.parent / "kernels"
MEMORY_AHEAD = 1 << 18
"""Bytes of the input before the memory: the list of calls, padded, so that addresses are known from the start."""
ARGUMENTS = 8


def unit_functions(unit: str) -> list[str]:
    """The kernels that a unit's header declares."""
    return re.findall(r"^KERNEL \w+ \**(\w+)\(", (KERNELS / f"{unit}.h").read_text(), re.MULTILINE)


class Board:
    """Memory and a list of calls; `run` makes the calls on the emulated board.

    Attributes:
        memory: what the calls read and write; addresses are absolute.
        counts: instructions of each call, in order, after `run`. A call itself takes some ten of them.
    """

    def __init__(self, units: Sequence[str], flags: Sequence[str] = ("-O2",), kind: str = "dsp"):
        """`kind`: the folder of kernels/ to take units from; where it lacks one, the portable one is taken."""
        self.kind = kind
        self.functions = [name for unit in units for name in unit_functions(unit)]
        self.units, self.flags = list(units), tuple(flags)
        self.memory = bytearray()
        self.calls: list[tuple[int, ...]] = []
        self.shapes: dict[int, tuple[tuple[int, ...], np.dtype]] = {}
        self.counts: tuple[int, ...] = ()

    def put(self, array: np.ndarray, guard: int = 0) -> int:
        """Copy an array into memory, on a multiple of 4, with `guard` bytes of 0x55 after it; returns its address."""
        self.memory += b"\x55" * (-len(self.memory) % 4)
        address = emulator.INPUT_ADDRESS + 16 + MEMORY_AHEAD + len(self.memory)
        self.memory += np.ascontiguousarray(array).tobytes() + b"\x55" * guard
        self.shapes[address] = ((*array.shape,), array.dtype)
        return address

    def struct(self, layout: str, *values: int) -> int:
        """Copy a C struct into memory; `layout` as in Python's struct, aligned as C does. Returns its address."""
        return self.put(np.frombuffer(struct.pack("@" + layout.replace("P", "I"), *values), np.uint8))

    def get(self, address: int, guard: int = 0) -> np.ndarray:
        """The array at an address of `put`, as it is now; raises ValueError where its guard bytes have changed."""
        shape, dtype = self.shapes[address]
        start = address - emulator.INPUT_ADDRESS - 16 - MEMORY_AHEAD
        end = start + int(np.prod(shape)) * dtype.itemsize
        if bytes(self.memory[end : end + guard]) != b"\x55" * guard:
            raise ValueError("a kernel wrote past the end of its output")
        return np.frombuffer(bytes(self.memory[start:end]), dtype).reshape(shape)

    def call(self, function: str, *arguments: int) -> None:
        """Add a call; arguments are numbers and addresses."""
        words = [value & 0xFFFFFFFF for value in arguments] + [0] * (ARGUMENTS - len(arguments))
        self.calls.append((self.functions.index(function), *words))

    def run(self) -> tuple[int, ...]:
        """Make all calls, in order; returns the instructions of each."""
        with tempfile.TemporaryDirectory() as folder:
            program = build_calls(self.units, Path(folder), self.flags, self.kind)
            listed = struct.pack(f"<{1 + 9 * len(self.calls)}I", len(self.calls), *(w for c in self.calls for w in c))
            outcome = emulator.run(program, listed + bytes(MEMORY_AHEAD - len(listed)) + bytes(self.memory))
        ahead = MEMORY_AHEAD - len(listed)
        self.memory = bytearray(outcome.output[ahead:])
        self.counts = outcome.counts
        return self.counts


def build_calls(units: Sequence[str], folder: Path, flags: Sequence[str], kind: str = "dsp") -> Path:
    """A program that calls the kernels of `units` as its input says."""
    source = ["#define KERNEL"]
    for unit in units:
        best = KERNELS / kind / f"{unit}.c"
        source.append(f'#include "{best if best.exists() else KERNELS / "portable" / f"{unit}.c"}"')
    names = [name for unit in units for name in unit_functions(unit)]
    source.append("typedef void (*call_t)(int32_t, int32_t, int32_t, int32_t, int32_t, int32_t, int32_t, int32_t);")
    source.append("extern const call_t kernel_table[];")
    source.append("const call_t kernel_table[] = {" + ", ".join(f"(call_t)(uintptr_t){name}" for name in names) + "};")
    table = folder / "kernels.c"
    table.write_text("\n".join(source) + "\n")
    return emulator.build([table, emulator.FOLDER / "calls.c"], folder / "calls.elf", flags)
