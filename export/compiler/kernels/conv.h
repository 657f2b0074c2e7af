/* CONV_2D of any kernel, stride and grouping. */
#ifndef CONV_H
#define CONV_H

#include "window.h"

typedef struct {
    window_t window;
    const int8_t *weights; /* [outputs][size_y][size_x][inputs of a group] */
    const channel_t *channels;
    int32_t group_inputs;
} conv_t;

KERNEL void conv(const conv_t *p, const int8_t *in, int8_t *out);

#endif
