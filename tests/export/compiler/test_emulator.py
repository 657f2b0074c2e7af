"""The emulated Cortex-M4: bytes in, bytes out, instructions counted one by one."""

import pytest

from export import ExportError
from export.compiler.emulator import build, run, run_c, section_sizes
from tests.export.compiler.emulated import needs_emulator

pytestmark = needs_emulator

PROGRAM = """
#include "emulator.h"

/* 2 instructions a turn, and the branch back */
__attribute__((noinline, naked)) static void turn(uint32_t turns) {
    (void)turns;
    __asm__ volatile("1: subs r0, r0, #1\\n bne 1b\\n bx lr\\n");
}

int main(void) {
    for (uint32_t turns = 1; turns < 50; ++turns) {
        const uint32_t start = emulator_clock();
        turn(turns);
        emulator_count_since(start);
    }
    emulator_output(emulator_input(), emulator_input_size());
    emulator_output("!", 1);
    return 0;
}
"""


def test_output_is_what_the_program_writes_and_every_instruction_counts(tmp_path):
    source = tmp_path / "program.c"
    source.write_text(PROGRAM)
    outcome = run_c([source], b"some bytes")
    assert outcome.output == b"some bytes!"
    steps = [later - earlier for earlier, later in zip(outcome.counts, outcome.counts[1:], strict=False)]
    assert steps == [2] * 48
    assert 4 <= outcome.counts[0] <= 8  # the loop's two, the branch back, the call and moves of arguments
    assert run_c([source], b"some bytes") == outcome


def test_program_that_fails_or_faults_is_an_error(tmp_path):
    source = tmp_path / "program.c"
    source.write_text("int main(void) { return 1; }")
    with pytest.raises(ExportError, match="qemu-system-arm failed"):
        run_c([source])
    source.write_text("int main(void) { return *(volatile int *)0x90000000; }")
    with pytest.raises(ExportError, match="qemu-system-arm failed"):
        run_c([source])
    source.write_text("int main(void) { for (;;) { } }")
    with pytest.raises(ExportError, match="did not end within 1 s"):
        run(build([source], tmp_path / "program.elf"), timeout_s=1)


def test_warning_is_an_error(tmp_path):
    source = tmp_path / "program.c"
    source.write_text("int main(void) { int unused; return 0; }")
    with pytest.raises(ExportError, match="unused variable"):
        build([source], tmp_path / "program.elf")


def test_sections_count_constants_as_flash_and_variables_as_ram(tmp_path):
    source = tmp_path / "program.c"
    text = (
        "unsigned char buffer[{}]; const int table[{}] = {{1}}; int main(void) {{ return buffer[table[buffer[0]]]; }}"
    )
    source.write_text(text.format(1000, 1))
    small = section_sizes([build([source], tmp_path / "program.elf")])
    source.write_text(text.format(3000, 126))
    large = section_sizes([build([source], tmp_path / "program.elf")])
    assert 500 <= large.flash - small.flash < 520
    assert 2000 <= large.ram - small.ram < 2010
