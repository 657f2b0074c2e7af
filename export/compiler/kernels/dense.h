/* 1x1 convolutions on tiles, and any convolution on gathered windows. */
#ifndef DENSE_H
#define DENSE_H

#include "common.h"

typedef struct {
    const int8_t *weights;     /* [outputs / 2][inputs / 2][2], both rounded up, halfwords 256 * w(c + 1, k) + w(c, k) */
    const fast_channel_t *channels; /* an even number of them; biases have the input's zero point folded in */
    int16_t inputs, outputs;
    int32_t zero_point; /* of the output */
} dense_t;

/* One tile -> 1 to 4 pixels of an image. */
KERNEL void dense_to_image(const dense_t *p, const int16_t *tile, int pixels, int8_t *image);

/* The same where a pixel of the image has `pitch` channels, of which these are some. */
KERNEL void dense_to_part(const dense_t *p, const int16_t *tile, int pixels, int8_t *image, int pitch);

/* One tile -> 4 halfwords at row + c * row_stride for each channel c, centred; pixels that are not there become 0. */
KERNEL void dense_to_rows(const dense_t *p, const int16_t *tile, int pixels, int16_t *row, int row_stride);

#endif
