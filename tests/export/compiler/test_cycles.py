"""Rough cycles: the rules on a made-up log, and the count of instructions against the emulator's own clock."""

from export.compiler.emulator import build, run
from export.compiler.emulator.cycles import estimate_cycles, price
from tests.export.compiler.emulated import needs_emulator

LOG = """----------------
IN: loop
0x00000100:  6801       ldr      r1, [r0]
0x00000102:  6842       ldr      r2, [r0, #4]
0x00000104:  e9d0 3400  ldrd     r3, r4, [r0]
0x00000108:  fb21 5502  smlad    r5, r1, r2, r5
0x0000010c:  b5f0       push     {r4-r7, lr}
0x0000010e:  3801       subs     r0, #1
0x00000110:  d1f6       bne      #0x100

Trace 0: 0x7f00 [00000000/00000100/00000110/ff000000] loop
Trace 0: 0x7f00 [00000000/00000100/00000110/ff000000] loop
----------------
IN: after
0x00000112:  fb01 f002  mul      r0, r1, r2
0x00000116:  bdf0       pop      {r4-r7, pc}

Trace 0: 0x7f80 [00000000/00000112/00000110/ff000000] after
"""
PROGRAM = """
#include "emulator.h"

int main(void) {
    volatile uint32_t sum = 0;
    const uint32_t start = emulator_clock();
    for (uint32_t i = 0; i < 1000000; ++i) sum += i;
    emulator_count_since(start);
    return 0;
}
"""


def test_rules():
    loop = 2 + 1 + 3 + 1 + 6 + 1  # load, load after a load, LDRD, SMLAD, 5 registers, SUBS
    estimate = price(LOG.splitlines())
    assert estimate.instructions == 7 + 7 + 2
    assert estimate.cycles == loop + 3 + loop + 1 + 1 + (1 + 5 + 3)  # taken; not taken; MUL; POP with pc


@needs_emulator
def test_instructions_of_the_log_are_those_of_the_clock(tmp_path):
    source = tmp_path / "program.c"
    source.write_text(PROGRAM)
    program = build([source], tmp_path / "program.elf")
    (counted,) = run(program).counts
    estimate = estimate_cycles(program)
    assert counted < estimate.instructions < counted + 3000
    assert counted < estimate.cycles < 3 * counted
