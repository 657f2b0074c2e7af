/* $title

   $facts */
#ifndef ${guard}_H
#define ${guard}_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ${macro}_INPUT_BYTES $input_bytes /* $input_shape */
#define ${macro}_OUTPUT_BYTES $output_bytes /* $output_shape */
#define ${macro}_RAM_BYTES $ram_bytes /* the one static buffer, the input's place in it included */

/* real value = scale * (integer - zero point) */
#define ${macro}_INPUT_SCALE ${input_scale}f
#define ${macro}_INPUT_ZERO_POINT ($input_zero_point)
#define ${macro}_OUTPUT_SCALE ${output_scale}f
#define ${macro}_OUTPUT_ZERO_POINT ($output_zero_point)

/* Where the input may be written, so that nothing need be copied; a run overwrites it. */
$input_type *${name}_input(void);

/* Computes the output. Returns 0, or 1 where a pointer is null. Not to be called from two threads at once. */
int ${name}_run(const $input_type *input, $output_type *output);$fine_declaration

#ifdef __cplusplus
}
#endif

#endif
