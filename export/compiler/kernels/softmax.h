/* SOFTMAX over the last axis, in fixed point as the reference kernel computes it. */
#ifndef SOFTMAX_H
#define SOFTMAX_H

#include "common.h"

typedef struct {
    const int32_t *exponentials; /* [256]: exp of each distance from the greatest input, in Q0.31; 0: too far */
    int32_t rows, depth;
} softmax_t;

KERNEL void softmax(const softmax_t *p, const int8_t *in, int8_t *out);

#endif
