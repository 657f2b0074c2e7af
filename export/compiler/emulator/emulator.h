/* What a program in the emulator has: bytes in, bytes out, and an exact count of its own instructions. */
#ifndef EMULATOR_H
#define EMULATOR_H

#include <stdint.h>

/* The bytes given by the caller; aligned to 16, writable. */
uint8_t *emulator_input(void);
uint32_t emulator_input_size(void);

/* Appends to the bytes that the caller gets back. */
void emulator_output(const void *bytes, uint32_t size);

/* Ends the program; the caller takes any code but 0 for a failure. */
void emulator_exit(int code);

/* The time in instructions (modulo 2^32), exact to one. */
uint32_t emulator_clock(void);

/* Appends a count of instructions to the caller's list. */
void emulator_count(uint32_t instructions);

/* What a call of emulator_clock takes itself: the branch to it, 3 + 40 x 7 instructions, the branch back. */
#define EMULATOR_CLOCK_COST 285u

/* Appends the instructions since `start`, a result of emulator_clock (a move or two that belong to neither are in). */
static inline void emulator_count_since(uint32_t start) {
  emulator_count(emulator_clock() - start - EMULATOR_CLOCK_COST);
}

#endif
