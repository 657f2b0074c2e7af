/* ADD and MUL whose inputs have different shapes: each is read with strides, 0 along the axes where it repeats. */
#ifndef BROADCAST_H
#define BROADCAST_H

#include "elementwise.h"

typedef struct {
    int32_t sides[4], steps_a[4], steps_b[4];
} broadcast_t;

KERNEL void add_broadcast(const add_t *p, const broadcast_t *shape, const int8_t *a, const int8_t *b, int8_t *out);

KERNEL void multiply_broadcast(const multiply_t *p, const broadcast_t *shape, const int8_t *a, const int8_t *b, int8_t *out);

#endif
