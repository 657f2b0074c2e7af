/* A compiled model on one input after the other: outputs, instructions of each run and of each step, depth of the stack.

   MODEL_HEADER, MODEL_RUN, INPUT_BYTES, OUTPUT_BYTES and STEPS come from the command line. Counts: for each input the
   instructions of the run, then of its steps (where the model was built with a call of step_begins for each). Output: the
   model's bytes of each input, and at the end a word, the bytes of stack that runs took. */
#include MODEL_HEADER
#include "emulator.h"

#define STACK_PAINTED 16384u
#define PAINT 0x5c5c5c5cu

static uint32_t begins[STEPS + 1];

void step_begins(int step);

void step_begins(int step) { begins[step] = emulator_clock(); }

/* Paints the memory below the stack pointer, or counts how much of the paint is gone. */
static __attribute__((noinline)) uint32_t stack_used(int paint) {
  uint32_t here;
  __asm__ volatile("mov %0, sp" : "=r"(here));
  const uint32_t end = here - 64;
  volatile uint32_t *top = (volatile uint32_t *)end, *bottom = (volatile uint32_t *)(end - STACK_PAINTED);
  if (paint) {
    for (volatile uint32_t *word = bottom; word < top; ++word) *word = PAINT;
    return 0;
  }
  while (bottom < top && *bottom == PAINT) ++bottom;
  return (uint32_t)(top - bottom) * 4;
}

int main(void) {
  static uint8_t output[OUTPUT_BYTES];
  const uint8_t *input = emulator_input(), *end = input + emulator_input_size();
  stack_used(1);
  for (; input < end; input += INPUT_BYTES) {
    const uint32_t start = emulator_clock();
    if (MODEL_RUN((const void *)input, (void *)output) != 0) return 1;
    const uint32_t stop = emulator_clock();
    begins[STEPS] = stop;
    emulator_output(output, OUTPUT_BYTES);
    uint32_t total = stop - start - EMULATOR_CLOCK_COST;
    if (begins[0] != 0) { /* the clock was called for each step: leave that out */
      total -= STEPS * EMULATOR_CLOCK_COST;
      emulator_count(total);
      for (int i = 0; i < STEPS; ++i) emulator_count(begins[i + 1] - begins[i] - EMULATOR_CLOCK_COST);
    } else {
      emulator_count(total);
    }
  }
  const uint32_t used = stack_used(0);
  emulator_output(&used, sizeof used);
  return 0;
}
