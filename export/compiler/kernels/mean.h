/* MEAN over the middle of a tensor seen as [outer][count][inner]. */
#ifndef MEAN_H
#define MEAN_H

#include "common.h"

typedef struct {
    int32_t outer, count, inner;
    int32_t offset; /* the input's zero point * count */
    int32_t multiplier, shift, zero_point;
} mean_t;

KERNEL void mean(const mean_t *p, const int8_t *in, int8_t *out);

#endif
