/* Operators with a sliding window, for any shape: plain loops over images. */
#ifndef WINDOW_H
#define WINDOW_H

#include "common.h"

typedef struct {
    int32_t height, width, inputs; /* the image that is read */
    int32_t rows, columns, outputs; /* the image that is written */
    uint8_t size_y, size_x, stride_y, stride_x, pad_top, pad_left;
    int8_t low, high; /* the fused activation */
    int32_t zero_in, zero_out;
} window_t;

#endif
