/* Calls of kernels as the input lists them: the kernels that a compiled model has in it, one by one, from outside.

   The input: the number of calls, for each the function's number and 8 arguments, and then memory that arguments may
   point into (its addresses are known to the caller). The whole memory is the output, and one count a call. */
#include "emulator.h"

typedef void (*call_t)(int32_t, int32_t, int32_t, int32_t, int32_t, int32_t, int32_t, int32_t);

extern const call_t kernel_table[]; /* generated: the functions that the caller asks for */

int main(void) {
  uint8_t *input = emulator_input();
  const int32_t *call = (const int32_t *)input + 1;
  const int32_t calls = call[-1];
  for (int32_t i = 0; i < calls; ++i, call += 9) {
    const call_t kernel = kernel_table[call[0]];
    const uint32_t start = emulator_clock();
    kernel(call[1], call[2], call[3], call[4], call[5], call[6], call[7], call[8]);
    emulator_count_since(start);
  }
  const uint8_t *memory = (const uint8_t *)call;
  emulator_output(memory, emulator_input_size() - (uint32_t)(memory - input));
  return 0;
}
