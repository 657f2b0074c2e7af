/* Between images and the layouts that the fast kernels read; see README.md for the layouts. */
#ifndef CONVERT_H
#define CONVERT_H

#include "common.h"

/* Windows of a convolution, gathered into tiles (im2col). */
typedef struct {
    int16_t height, width, inputs;              /* the image */
    uint8_t size_y, size_x, stride_y, stride_x; /* the window */
    uint8_t pad_top, pad_left;
    int8_t zero_point; /* stands outside the image */
} gather_t;

/* 1 to 4 pixels of an image -> one tile. */
KERNEL void widen_tile(const int8_t *image, int channels, int pixels, int16_t *tile);

/* 1 to 8 pixels of an image -> one strip. */
KERNEL void widen_strip(const int8_t *image, int channels, int pixels, int16_t *strip);

/* One tile -> 1 to 4 pixels of an image; the tile holds values in the int8 range. */
KERNEL void narrow_tile(const int16_t *tile, int channels, int pixels, int8_t *image);

/* One row of an image -> rows, centred. Only the pixels are written, not the padding. */
KERNEL void spread_row(const int8_t *image, int channels, int width, int zero_point, int16_t *row, int row_stride);

/* The windows of outputs (y, x) to (y, x + pixels - 1) -> one tile of size_y * size_x * inputs values a pixel, in the order
   [window row][window column][channel]. */
KERNEL void gather_tile(const gather_t *p, const int8_t *image, int y, int x, int pixels, int16_t *tile);

#endif
