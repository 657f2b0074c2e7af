/* 1x1 convolutions whose outputs have at most 16 different weights each: codes of 4 bits and a table take the place of bytes. */
#ifndef CLUSTERED_H
#define CLUSTERED_H

#include "dense.h"

#define CLUSTERED_INPUTS 256 /* at most */

/* weights: for each pair of outputs 16 bytes of the first one's values, 16 of the second one's, and for each input, their number
   rounded up to even, the codes of both (the first one's in the low half). All else, and the results, as in dense.h. */
KERNEL void clustered_to_image(const dense_t *p, const int16_t *tile, int pixels, int8_t *image);

KERNEL void clustered_to_rows(const dense_t *p, const int16_t *tile, int pixels, int16_t *row, int row_stride);

#endif
