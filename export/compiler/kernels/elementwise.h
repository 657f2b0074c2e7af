/* Operators that treat each value by itself. Every output may be the same memory as an input of the same size. */
#ifndef ELEMENTWISE_H
#define ELEMENTWISE_H

#include "common.h"

/* TFLite's ADD: both inputs are shifted left by 20, rescaled, added, and the sum is rescaled. */
typedef struct {
    int32_t zero_a, multiplier_a, shift_a; /* zero points of the inputs; right shifts, 0 or more */
    int32_t zero_b, multiplier_b, shift_b;
    int32_t zero_point, multiplier, shift; /* of the output */
    int32_t low, high;                     /* the fused activation */
} add_t;

/* TFLite's MUL. */
typedef struct {
    int32_t zero_a, zero_b;
    int32_t zero_point, multiplier, shift;
    int32_t low, high;
} multiply_t;

KERNEL void add_images(const add_t *p, const int8_t *a, const int8_t *b, int8_t *out, int count);

KERNEL void multiply_images(const multiply_t *p, const int8_t *a, const int8_t *b, int8_t *out, int count);

/* Each pixel of `a` times the same vector `gate` of one value a channel (squeeze and excitation). */
KERNEL void gate_image(const multiply_t *p, const int8_t *a, const int8_t *gate, int8_t *out, int pixels, int channels);

/* out = table[in + 128] */
KERNEL void lookup(const int8_t *table, const int8_t *in, int8_t *out, int count);

/* Rows in place: `middle` is the table's entry for a centred 0; entries are centred values of the function. */
KERNEL void lookup_rows(const int16_t *middle, int16_t *row, int channels, int width, int row_stride);

#endif
