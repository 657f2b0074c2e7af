/* Depthwise convolutions on rows: SMLAD takes two neighbouring pixels at a time. */
#ifndef DEPTHWISE_H
#define DEPTHWISE_H

#include "common.h"

typedef struct {
    const void *weights;            /* [channel][kernel row][8 bytes, size 5: 5], see README.md */
    const fast_channel_t *channels; /* size 3: biases doubled */
    int16_t count;      /* channels */
    int16_t width;      /* outputs in a row */
    int16_t row_stride; /* halfwords from channel to channel in a row of the input */
    uint8_t size, stride, pad_left;
    int32_t zero_point; /* of the output */
} depthwise_t;

typedef struct {
    const int8_t *weights; /* [channel][pixels above, level, below][on the left, on the right, in the middle], and a byte more */
    const fast_channel_t *channels;
    int16_t count;
    int32_t zero_point;
} map4_t;

/* One row of outputs -> (width + 3) / 4 tiles. rows[0] to rows[rows_in - 1] are the input rows under kernel rows first to
   first + rows_in - 1; the other kernel rows are outside the image. An odd last channel gets 0 as its partner. */
KERNEL void depthwise_to_tiles(const depthwise_t *p, const int16_t *const *rows, int first, int rows_in, int16_t *tiles);

/* The same -> strips. The row's pixels are groups of 4; group g goes to half (group + g) % 2 of strip (group + g) / 2. */
KERNEL void depthwise_to_strips(const depthwise_t *p, const int16_t *const *rows, int first, int rows_in, int16_t *strips,
                                int group);

/* A whole image of 2 x 2 pixels, [channel][4] -> one tile of 2 x 2 pixels. */
KERNEL void depthwise_map4(const map4_t *p, const int16_t *map4, int16_t *tile);

#endif
