/* A matrix times one vector: FULLY_CONNECTED, and 1x1 convolutions of an image of one pixel. */
#ifndef VECTOR_H
#define VECTOR_H

#include "common.h"

typedef struct {
    const int8_t *weights;     /* [outputs][inputs] */
    const channel_t *channels; /* biases have the input's zero point folded in */
    int32_t inputs, outputs;
    int32_t zero_point; /* of the output */
    int32_t low, high;  /* the fused activation */
} vector_t;

/* CONV_2D rounds twice. */
KERNEL void vector_twice(const vector_t *p, const int8_t *in, int8_t *out);

/* FULLY_CONNECTED rounds once: (sum * multiplier + half) >> (31 + shift). */
KERNEL void vector_once(const vector_t *p, const int8_t *in, int8_t *out);

/* The sums themselves, with their biases, before any scale. */
KERNEL void vector_sums(const vector_t *p, const int8_t *in, int32_t *sums);

#endif
