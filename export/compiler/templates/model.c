/* $title

   $facts */
#include "$name.h"

#include <string.h>

$kernels

/* Constants of the operators */

$tables

/* All that the model keeps in RAM */
static union {
    int32_t alignment;
    int8_t bytes[${macro}_RAM_BYTES];
} memory;

#ifdef POISON_FREE_MEMORY
/* Ranges {step, first byte, bytes} that nobody may read at that step: a debug build fills them with rubbish. */
static const int32_t free_ranges[][3] = {
$free_ranges
};

static void poison(int32_t step) {
    for (unsigned i = 0; i < sizeof free_ranges / sizeof *free_ranges; ++i) {
        if (free_ranges[i][0] == step) {
            memset(memory.bytes + free_ranges[i][1], 0x5a, (size_t)free_ranges[i][2]);
        }
    }
}
#else
#define poison(step) ((void)0)
#endif

$input_type *${name}_input(void) {
    return ($input_type *)(memory.bytes + $input_offset);
}

/* All layers but the last. */
static void layers(const int8_t *input) {
    int8_t *m = memory.bytes;
    if (input != m + $input_offset) {
        memcpy(m + $input_offset, input, ${macro}_INPUT_BYTES);
    }
$layers
}

int ${name}_run(const $input_type *input, $output_type *output) {
    int8_t *m = memory.bytes;
    if (!input || !output) {
        return 1;
    }
    layers((const int8_t *)input);
$last
    memcpy(output, m + $output_offset, ${macro}_OUTPUT_BYTES);
    return 0;
}$fine_definition
