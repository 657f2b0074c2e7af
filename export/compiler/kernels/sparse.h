/* 1x1 convolutions whose weights are mostly 0, on strips. */
#ifndef SPARSE_H
#define SPARSE_H

#include "common.h"

typedef struct {
    const void *entries;       /* the weights that are not 0, output by output, inputs ascending */
    const uint16_t *counts;    /* how many entries each output has; sparse3: 0, they stand before the entries */
    const fast_channel_t *channels; /* biases have the input's zero point folded in */
    int16_t inputs, outputs;
    int32_t zero_point; /* of the output */
} sparse_t;

/* sparse3: two entries in three bytes. For each output its entries but one (uint8), the first one's input (uint8) and value
   (int8); if an even number of entries is left, nothing, else the gap (uint8) and value of the next; then pairs: value,
   both gaps (the first in the low half), value. Gap: inputs in between, so that 0 is the next one. Inputs too far away are
   reached by entries of value 0. One byte after the last is read, too. One strip -> 1 to 8 pixels of an image. */
KERNEL void sparse3_to_image(const sparse_t *p, const int16_t *strip, int pixels, int8_t *image);

/* One strip -> pixels 0 to 3 at row + c * row_stride and pixels 4 to 7 at row_step halfwords after it, centred; pixels that
   are not there become 0. Where fewer than 5 are, the second group is not written. */
KERNEL void sparse3_to_rows(const sparse_t *p, const int16_t *strip, int pixels, int16_t *row, int row_stride, int row_step);

/* sparse4: an entry is one uint32, the value in the low half (int16), 16 * input (the byte offset in the strip) in the high. */
KERNEL void sparse4_to_image(const sparse_t *p, const int16_t *strip, int pixels, int8_t *image);

KERNEL void sparse4_to_rows(const sparse_t *p, const int16_t *strip, int pixels, int16_t *row, int row_stride, int row_step);

#endif
