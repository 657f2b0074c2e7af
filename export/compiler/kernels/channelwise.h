/* DEPTHWISE_CONV_2D of any kernel, stride and depth multiplier. */
#ifndef CHANNELWISE_H
#define CHANNELWISE_H

#include "window.h"

typedef struct {
    window_t window;
    const int8_t *weights; /* [size_y][size_x][outputs] */
    const channel_t *channels;
} channelwise_t;

KERNEL void channelwise(const channelwise_t *p, const int8_t *in, int8_t *out);

#endif
