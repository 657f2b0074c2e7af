"""Rough cycles of a program: the emulator's list of executed instructions, priced by the Cortex-M4's reference manual.

Rules (Arm's Technical Reference Manual, table 3-1; memory answers at once, as flash of a real board often does not):

- loads 2 cycles, 1 where the instruction before is a load or store, too; stores 1 (write buffer); LDRD and STRD 3;
- LDM, STM, PUSH, POP: 1 and 1 a register;
- branches that are taken 3 (1 and the refill of the pipeline), not taken 1; a load of pc or a table branch 5;
- MLA and MLS 2; other multiplications, also SMLAD and SMMLAR, 1; divisions 7; floating point 1 (divisions 14);
- everything else 1.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from export.compiler import emulator
from export.errors import ExportError

_INSTRUCTION = re.compile(r"0x([0-9a-f]+):\s+(?:[0-9a-f]{4} ?){1,2}\s+(\S+)\s*(.*)")
_EXECUTED = re.compile(r"\[[0-9a-f]+/([0-9a-f]+)/")
_CONDITIONAL = re.compile(r"(b(eq|ne|cs|cc|hs|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)|cbn?z)$")
_LISTS = ("ldm", "stm", "push", "pop", "vldm", "vstm", "vpush", "vpop")


@dataclass(frozen=True)
class Estimate:
    """The whole program, its start included."""

    instructions: int
    cycles: int


@dataclass
class _Block:
    """Instructions that the emulator executes without a branch between."""

    cycles: int
    """Of all but a conditional branch at its end."""
    count: int
    branch_follower: int = 0
    """The address after a conditional branch at the end; 0: there is none."""


def estimate_cycles(program: Path, data: bytes = b"", timeout_s: float = 600) -> Estimate:
    """Run a linked program on the emulated board, slowly, and price what it executes."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*emulator.command(program, data, Path(folder)), "-d", "in_asm,exec,nochain"]
        with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, errors="replace") as process:
            assert process.stderr is not None
            estimate = price(process.stderr)
            if process.wait(timeout_s):
                raise ExportError(f"{command[0]} failed with {process.returncode} on {program.name}")
    return estimate


def price(log: Iterable[str]) -> Estimate:
    """Cycles of a log of qemu's `-d in_asm,exec,nochain`."""
    blocks: dict[int, _Block] = {}
    runs: Counter[tuple[int, int]] = Counter()
    listed: list[tuple[int, str, str]] = []
    last = -1
    for line in log:
        if line.startswith("Trace"):
            if listed:
                blocks[listed[0][0]] = _block(listed)
                listed = []
            match = _EXECUTED.search(line)
            if match:
                address = int(match[1], 16)
                runs[last, address] += 1
                last = address
        elif line.startswith("0x"):
            match = _INSTRUCTION.match(line)
            if match:
                listed.append((int(match[1], 16), match[2], match[3]))
        elif line.startswith("IN:") and listed:
            blocks[listed[0][0]] = _block(listed)
            listed = []
    instructions = cycles = 0
    for (before, address), times in runs.items():
        block, previous = blocks.get(address), blocks.get(before)
        if block:
            instructions += times * block.count
            cycles += times * block.cycles
        if previous and previous.branch_follower:
            cycles += times * (1 if previous.branch_follower == address else 3)
    return Estimate(instructions, cycles)


def _block(listed: list[tuple[int, str, str]]) -> _Block:
    cycles, memory_before, follower = 0, False, 0
    for i, (address, name, arguments) in enumerate(listed):
        operation = name.split(".")[0]
        if _CONDITIONAL.match(operation) and i == len(listed) - 1:
            follower = address + (4 if name.endswith(".w") else 2)
            continue
        cycles += _cycles(operation, arguments, memory_before)
        memory_before = operation.startswith(("ldr", "str")) and operation not in ("ldrd", "strd")
    return _Block(cycles, len(listed), follower)


def _cycles(operation: str, arguments: str, memory_before: bool) -> int:
    to_pc = arguments.startswith("pc")
    if operation in ("ldrd", "strd"):
        return 3
    if operation.startswith(_LISTS):
        return 1 + _registers(arguments) + (3 if "pc" in arguments else 0)
    if operation.startswith("ldr"):
        return 5 if to_pc else 1 if memory_before else 2
    if operation.startswith("str"):
        return 1
    if operation.startswith(("vldr", "vstr")):
        return 2
    if operation.startswith(("vdiv", "vsqrt")):
        return 14
    if operation in ("sdiv", "udiv"):
        return 7
    if operation in ("tbb", "tbh"):
        return 5
    if (
        operation in ("b", "bl", "bx", "blx")
        or _CONDITIONAL.match(operation)
        or (to_pc and operation in ("add", "mov"))
    ):
        return 3
    return 2 if operation in ("mla", "mls") else 1


def _registers(arguments: str) -> int:
    """How many a list like {r0, r4-r7, lr} has."""
    names = re.search(r"\{(.*)\}", arguments)
    count = 0
    for part in (names[1] if names else "").split(","):
        first, dash, last = part.strip().partition("-")
        numbers = [int(re.sub(r"\D", "", text) or 0) for text in (first, last)] if dash else [0, 0]
        count += 1 + numbers[1] - numbers[0]
    return count
